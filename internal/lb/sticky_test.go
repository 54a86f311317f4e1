package lb

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

const (
	oneKey   = "0123456789abcdef0123456789abcdef"
	otherKey = "fedcba9876543210fedcba9876543210"
)

// stickyPool has three replicas that answer with their names.
func stickyPool(t *testing.T, keys ...string) (*Pool, []*app, *events, Config) {
	t.Helper()
	apps := []*app{newApp(t, say("a")), newApp(t, say("b")), newApp(t, say("c"))}
	c := testConfig(apps...)
	c.SlowStart = 0
	c.Policy = named.Spec{Name: "sticky"}
	if len(keys) > 0 {
		c.Policy.Options = map[string][]string{"key": keys}
	}
	p, seen := upPool(t, c, apps...)
	return p, apps, seen, c
}

// visit makes a request with a cookie, or none, and returns who answered and
// the cookie that was set, if any.
func visit(t *testing.T, p *Pool, cookie string) (who, set string) {
	t.Helper()
	req := must(http.NewRequestWithContext(context.Background(), "GET", "https://shop.test/", nil))
	req.Header.Set("X-Forwarded-Proto", "https")
	if cookie != "" {
		req.Header.Set("Cookie", "theme=dark; "+cookie)
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Errorf("GET: %v", err)
		return "", ""
	}
	defer resp.Body.Close()
	buf := make([]byte, 1)
	_, _ = resp.Body.Read(buf)
	for _, c := range resp.Cookies() {
		if c.Name == "edge_replica" {
			set = c.Name + "=" + c.Value
		}
	}
	return string(buf), set
}

func TestAVisitorStaysWhereItWasFirst(t *testing.T) {
	p, _, _, _ := stickyPool(t)
	first, cookie := visit(t, p, "")
	if cookie == "" {
		t.Fatal("no cookie with the first answer")
	}
	for range 20 {
		if who, set := visit(t, p, cookie); who != first || set != "" {
			t.Errorf("went to %s with a new cookie %q: want %s and none", who, set, first)
		}
	}
}

// One of ten that is twenty times as slow has 1/(20·9+1) of the visitors, 0.6 %:
// of 10000, 55 with a deviation of 7; the others 994 each, deviation 30.
func TestVisitorsWithoutAPinAreSpreadBySpeed(t *testing.T) {
	view := row{up: allUp(10), cost: []float64{20, 1, 1, 1, 1, 1, 1, 1, 1, 1}, request: &http.Request{}}
	p, hits := mustPolicy(t, "sticky"), make([]int, 10)
	for range 10_000 {
		hits[p.Pick(view)]++
	}
	for i, n := range hits {
		if (i == 0 && (n < 20 || n > 95)) || (i > 0 && (n < 800 || n > 1200)) {
			t.Errorf("%v: want about 55 at the slow one and 994 at each other", hits)
			break
		}
	}
}

// TestAVisitorIsPinnedAnewExactlyOnce: whichever way its replica stops taking
// requests.
func TestAVisitorIsPinnedAnewExactlyOnce(t *testing.T) {
	find := func(p *Pool, apps []*app, who string) *replica {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.members[Address(apps[who[0]-'a'].address)]
	}
	ways := map[string]func(t *testing.T, p *Pool, r *replica, a *app){
		"drained": func(t *testing.T, p *Pool, r *replica, _ *app) {
			if _, err := p.SetAside(Selection{Replica: r.id}, true); err != nil {
				t.Fatal(err)
			}
		},
		"ejected": func(_ *testing.T, p *Pool, r *replica, _ *app) {
			p.eject(p.view.Load(), r, r.record.Load(), p.now(), "test")
		},
		"breaker open": func(_ *testing.T, _ *Pool, r *replica, _ *app) {
			for range 5 {
				r.record.Load().breaker.Load().report(gateway)
			}
		},
		"sick": func(t *testing.T, _ *Pool, r *replica, a *app) {
			a.healthy.Store(false)
			eventually(t, "sick", func() bool { return r.is() == sick })
		},
		"another process": func(_ *testing.T, p *Pool, r *replica, _ *app) {
			p.identify(r, identity{version: "v1"}, p.now())
			r.identity.Store(&identity{version: "v2"})
		},
	}
	for name, leave := range ways {
		t.Run(name, func(t *testing.T) {
			p, apps, _, _ := stickyPool(t)
			first, cookie := visit(t, p, "")
			leave(t, p, find(p, apps, first), apps[first[0]-'a'])
			var mu sync.Mutex
			next := make(map[string]string) // who: cookie
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					who, set := visit(t, p, cookie)
					mu.Lock()
					defer mu.Unlock()
					next[who] = set
				})
			}
			wg.Wait()
			// All requests under way with the old cookie agree where to go, bounded
			// load aside: eight at once over two may spill to the third.
			if name == "another process" {
				for who, set := range next {
					if set == "" {
						t.Errorf("%s gave no new cookie", who)
					}
				}
			} else if next[first] != "" || len(next) > 2 {
				t.Errorf("went on to %v: want others than %s", next, first)
			}
			who, set := visit(t, p, cookie)
			if set == "" {
				t.Fatal("no new pin")
			}
			for range 10 {
				if again, another := visit(t, p, set); again != who || another != "" {
					t.Errorf("pinned to %s, went to %s with %q: want one change only", who, again, another)
				}
			}
		})
	}
}

func TestABusyReplicaKeepsItsVisitors(t *testing.T) {
	p, apps, _, _ := stickyPool(t)
	first, cookie := visit(t, p, "")
	r := p.members[Address(apps[first[0]-'a'].address)]
	eventually(t, "the first is over", func() bool { return r.inflight.Load() == 0 })
	r.inflight.Add(200)
	if who, set := visit(t, p, cookie); who == first || set != "" {
		t.Errorf("went to %s, new cookie %q: want another, and the pin kept", who, set)
	}
	r.inflight.Add(-200)
	if who, _ := visit(t, p, cookie); who != first {
		t.Errorf("went to %s: want back to %s", who, first)
	}
}

func TestPinsSurviveARestartAndAChangeOfKeys(t *testing.T) {
	p, _, _, c := stickyPool(t, oneKey)
	first, cookie := visit(t, p, "")
	restarted, seen := newTestPool(t, c)
	for _, r := range p.Status().Replicas {
		seen.await(t, ReplicaUp, r.Address)
	}
	if who, set := visit(t, restarted, cookie); who != first || set != "" {
		t.Errorf("after a restart: went to %s with %q: want %s and its pin", who, set, first)
	}
	c.Policy.Options = map[string][]string{"key": {otherKey, oneKey}}
	if err := restarted.Configure(c); err != nil {
		t.Fatal(err)
	}
	who, set := visit(t, restarted, cookie)
	if who != first || set == "" {
		t.Errorf("with a new key first: went to %s with %q: want %s, signed anew", who, set, first)
	}
	c.Policy.Options = map[string][]string{"key": {otherKey}}
	if err := restarted.Configure(c); err != nil {
		t.Fatal(err)
	}
	if who, again := visit(t, restarted, set); who != first || again != "" {
		t.Errorf("without the old key: went to %s with %q: want %s", who, again, first)
	}
	if _, again := visit(t, restarted, cookie); again == "" {
		t.Error("a pin with the old key is still believed")
	}
}

func TestAForgedPinIsNoPin(t *testing.T) {
	p := must(newSticky(named.Spec{Name: "sticky", Options: map[string][]string{"key": {oneKey}}})).(*sticky)
	real := p.write(pin{1, 2})
	stranger := must(newSticky(named.Spec{Name: "sticky", Options: map[string][]string{"key": {otherKey}}})).(*sticky)
	sibling := must(newSticky(named.Spec{Name: "sticky", Options: map[string][]string{"key": {oneKey}, "cookie": {"other"}}})).(*sticky)
	forged := map[string]string{
		"empty": "", "not base64": "!!!", "short": real[:20], "long": real + "AAAA",
		"one bit more":           "A" + real[1:],
		"another key's":          stranger.write(pin{1, 2}),
		"another cookie's":       sibling.write(pin{1, 2}),
		"a signature of nothing": strings.Repeat("A", len(real)),
	}
	for name, value := range forged {
		if value == real {
			continue
		}
		r := &http.Request{Header: http.Header{"Cookie": {"edge_replica=" + value}}}
		if got, _, ok := p.read(r); ok {
			t.Errorf("%s is believed: %+v", name, got)
		}
	}
	both := &http.Request{Header: http.Header{"Cookie": {"edge_replica=AAAA; edge_replica=" + real}}}
	if got, _, ok := p.read(both); !ok || got != (pin{1, 2}) {
		t.Errorf("%+v, %t: want the one that is signed", got, ok)
	}
}

func FuzzStickyCookie(f *testing.F) {
	p := must(newSticky(named.Spec{Name: "sticky", Options: map[string][]string{"key": {oneKey}}})).(*sticky)
	f.Add("edge_replica=" + p.write(pin{3, 4}))
	f.Add("edge_replica=; edge_replica=x")
	f.Fuzz(func(t *testing.T, field string) {
		r := &http.Request{Header: http.Header{"Cookie": {field}}}
		found, _, ok := p.read(r)
		if ok && !strings.Contains(field, p.write(found)) {
			t.Errorf("%q is read as %+v, which was not signed so", field, found)
		}
	})
}

func TestTheCookieIsSafeByDefault(t *testing.T) {
	tests := map[string]struct {
		options map[string][]string
		https   bool
		want    []string
		never   string
	}{
		"over HTTPS":                        {nil, true, []string{"Path=/", "HttpOnly", "Secure", "SameSite=Lax"}, "Domain"},
		"over HTTP, where Secure is lost":   {nil, false, []string{"Path=/", "HttpOnly", "SameSite=Lax"}, "Secure"},
		"strict":                            {map[string][]string{"same_site": {"strict"}}, true, []string{"SameSite=Strict"}, "Expires"},
		"none wants Secure in any case":     {map[string][]string{"same_site": {"none"}}, false, []string{"SameSite=None", "Secure"}, "Max-Age"},
		"a name of the operator's choosing": {map[string][]string{"cookie": {"pin"}}, true, []string{"pin="}, "edge_replica"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := must(newSticky(named.Spec{Name: "sticky", Options: test.options})).(*sticky)
			r := &http.Request{Header: http.Header{}}
			if test.https {
				r.Header.Set("X-Forwarded-Proto", "https")
			}
			answer := http.Header{}
			p.Mark(row{up: allUp(1), request: r}, 0, answer)
			set := answer.Get("Set-Cookie")
			for _, part := range test.want {
				if !strings.Contains(set, part) {
					t.Errorf("%s: want %s", set, part)
				}
			}
			if strings.Contains(set, test.never) || strings.Contains(set, "10.0.0") {
				t.Errorf("%s: want no %s, and no address", set, test.never)
			}
		})
	}
}

func TestMarkable(t *testing.T) {
	tests := map[string]struct {
		header string // name: value
		shared bool
		want   bool
		cache  string // Cache-Control afterwards
	}{
		"an answer that says nothing becomes private":     {"", false, true, "private"},
		"private stays so":                                {"Cache-Control: private, max-age=60", false, true, "private, max-age=60"},
		"so does no-store":                                {"Cache-Control: no-store", true, true, "no-store"},
		"no-cache may be stored: it becomes private":      {"Cache-Control: no-cache", false, true, "no-cache, private"},
		"max-age=0 as well":                               {"Cache-Control: max-age=0", false, true, "max-age=0, private"},
		"public is for all":                               {"Cache-Control: public", false, false, "public"},
		"so is a lifetime":                                {"Cache-Control: max-age=60", false, false, "max-age=60"},
		"and one for shared caches":                       {"Cache-Control: no-cache, s-maxage=5", false, false, "no-cache, s-maxage=5"},
		"and one for CDNs":                                {"CDN-Cache-Control: max-age=60", false, false, ""},
		"and a date":                                      {"Expires: Thu, 01 Dec 2044 16:00:00 GMT", false, false, ""},
		"one that a cache asked for, and may store":       {"", true, false, ""},
		"private for one field leaves the rest to share":  {`Cache-Control: private="set-cookie", max-age=5`, false, false, `private="set-cookie", max-age=5`},
		"words in any case, over two fields, with spaces": {"Cache-Control:  Max-Age=5 ,  PRIVATE", false, true, "Max-Age=5 ,  PRIVATE"},
	}
	for name, test := range tests {
		answer := http.Header{}
		if key, value, found := strings.Cut(test.header, ":"); found {
			answer.Set(key, strings.TrimSpace(value))
		}
		got := markable(answer, test.shared)
		if cache := strings.Join(answer.Values("Cache-Control"), ", "); got != test.want || cache != test.cache {
			t.Errorf("%s: %t with Cache-Control %q: want %t with %q", name, got, cache, test.want, test.cache)
		}
	}
}

func TestStickyReportsEveryMistake(t *testing.T) {
	_, err := newSticky(named.Spec{Name: "sticky", Options: map[string][]string{
		"cookie": {"a b"}, "same_site": {"loose"}, "key": {"short"}, "glue": {"much"},
	}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{`cookie "a b": want a name`, `same_site "loose": want lax, strict or none`, "key 1: has 5 characters: want 32 to 512", `unknown word "glue"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("lacks %q in\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "short\"") {
		t.Error("the key stands in the message")
	}
}
