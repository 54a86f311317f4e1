package lb

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func TestCheckExpectations(t *testing.T) {
	tests := map[string]struct {
		health Health
		answer http.HandlerFunc
		why    string // "" passes
	}{
		"204 passes":                       {Health{Path: "/up"}, status(204), ""},
		"a redirect does not":              {Health{Path: "/up"}, status(302), "status 302: want 2xx"},
		"the one status asked for":         {Health{Path: "/up", ExpectStatus: statuses("418")}, status(418), ""},
		"another than the one asked for":   {Health{Path: "/up", ExpectStatus: statuses("418")}, status(200), "status 200: want 418"},
		"the first of several":             {Health{Path: "/up", ExpectStatus: statuses("200", "204", "3xx")}, status(200), ""},
		"one of a hundred":                 {Health{Path: "/up", ExpectStatus: statuses("200", "204", "3xx")}, status(399), ""},
		"none of several":                  {Health{Path: "/up", ExpectStatus: statuses("200", "204", "3xx")}, status(202), "status 202: want 200 or 204 or 3xx"},
		"the body has the text":            {Health{Path: "/up", ExpectBody: "ready"}, say("I am ready."), ""},
		"the body lacks the text":          {Health{Path: "/up", ExpectBody: "ready"}, say("starting"), `the body does not match "ready"`},
		"the body matches":                 {Health{Path: "/up", ExpectBody: `"db": *"(ok|slow)"`}, say(`{"db": "slow"}`), ""},
		"the body does not match":          {Health{Path: "/up", ExpectBody: `"db": *"(ok|slow)"`}, say(`{"db": "down"}`), "the body does not match"},
		"the text beyond 64 KiB is unread": {Health{Path: "/up", ExpectBody: "ready"}, say(strings.Repeat(" ", maxHealthBody) + "ready"), "does not match"},
		"a body that never ends is read no further": {Health{Path: "/up", ExpectBody: "ready"}, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 64<<10))
			}
		}, "does not match"},
		"the Host header is as configured": {Health{Path: "/up", Host: "shop.test"}, func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "shop.test" {
				w.WriteHeader(400)
			}
		}, ""},
		"it hangs":                     {Health{Path: "/up", Timeout: ms(30)}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline exceeded"},
		"TCP is enough without a path": {Health{}, status(500), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, test.answer)
			s, err := compile(Config{Health: test.health})
			if err != nil {
				t.Fatal(err)
			}
			p := NewPool("app", nil)
			p.settings = s
			r := newReplica("app", Address(a.address))
			r.record.Store(p.newRecord(r))
			p.refit(r, nil)
			_, err = p.check(t.Context(), r, s)
			if (err == nil) != (test.why == "") || (err != nil && !strings.Contains(err.Error(), test.why)) {
				t.Errorf("%v: want %q", err, test.why)
			}
		})
	}
}

func statuses(words ...string) (list []StatusRange) {
	for _, word := range words {
		list = append(list, must(ParseStatusRange(word)))
	}
	return list
}

func TestASickReplicaTakesNothingAndComesBack(t *testing.T) {
	a, b, c3 := newApp(t, say("a")), newApp(t, say("b")), newApp(t, say("c"))
	p, seen := upPool(t, testConfig(a, b, c3), a, b, c3)
	seen.forget()
	a.healthy.Store(false)
	event := seen.await(t, ReplicaSick, a.address)
	if !strings.Contains(event.Why, "status 500") {
		t.Errorf("why %q: want the status", event.Why)
	}
	before := a.hits.Load()
	for range 20 {
		mustGet(t, p)
	}
	if got := a.hits.Load(); got != before {
		t.Errorf("a sick replica got %d requests", got-before)
	}
	seen.forget()
	a.healthy.Store(true)
	seen.await(t, ReplicaUp, a.address)
	eventually(t, "it serves again", func() bool {
		mustGet(t, p)
		return a.hits.Load() > before
	})
}

func TestWhenMostLookSickHealthIsIgnored(t *testing.T) {
	apps := []*app{newApp(t, say("x")), newApp(t, say("x")), newApp(t, say("x"))}
	c := testConfig(apps...)
	c.SlowStart = 0 // a pool that starts has none: turns are exact
	p, seen := upPool(t, c, apps...)
	apps[0].healthy.Store(false)
	seen.await(t, ReplicaSick, apps[0].address)
	if p.Status().Panic {
		t.Error("panic at one of three")
	}
	apps[1].healthy.Store(false)
	seen.await(t, PanicBegan, "")
	before := apps[0].hits.Load()
	for range 9 {
		if code, _, _ := mustGet(t, p); code != 200 {
			t.Fatalf("status %d in a panic", code)
		}
	}
	if got := apps[0].hits.Load() - before; got != 3 {
		t.Errorf("a sick replica got %d of 9 in a panic: want its turn, 3", got)
	}
	apps[0].healthy.Store(true)
	seen.await(t, PanicEnded, "")
}

func TestBeforeItsFirstPassAReplicaIsAskedOnlyWhenNobodyElseIsThere(t *testing.T) {
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	b.healthy.Store(false)
	c := testConfig(a, b)
	p, seen := upPool(t, c, a)
	for range 10 {
		if _, text, _ := mustGet(t, p); text != "a" {
			t.Fatalf("%q answers before its first pass", text)
		}
	}
	if err := p.Configure(testConfig(b)); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaGone, a.address)
	if code, text, _ := mustGet(t, p); code != 200 || text != "b" {
		t.Errorf("%d %q: want b, though its check fails", code, text)
	}
	if r, _ := replicaOf(p, b.address); r.State != "joining" || !strings.Contains(r.Why, "status 500") {
		t.Errorf("%+v: want it joining, and why", r)
	}
}

func TestAnotherProcessAtTheAddressStartsAfresh(t *testing.T) {
	a := newApp(t, status(500))
	a.version.Store("v1")
	p, seen := upPool(t, testConfig(a), a)
	for range 6 {
		mustGet(t, p)
	}
	before, _ := replicaOf(p, a.address)
	if before.Version != "v1" || before.Failures != 6 {
		t.Fatalf("%+v: want v1 with 6 failures", before)
	}
	changed := make(chan struct{}, 1)
	p.Watch(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	a.answer(say("fine"))
	a.version.Store("v2")
	event := seen.await(t, ReplicaChanged, a.address)
	<-changed
	after, _ := replicaOf(p, a.address)
	if event.Version != "v2" || after.Version != "v2" || after.Failures != 0 || after.ID != before.ID {
		t.Errorf("%+v: want v2, no failures, the same id", after)
	}
	if got := p.Versions(); len(got) != 1 || got[0].ID != before.ID || got[0].Version != "v2" || got[0].Fresh {
		t.Errorf("versions %v", got)
	}
}

func TestAnAnswerTellsAVersionBeforeTheNextCheck(t *testing.T) {
	a := newApp(t, say("x"))
	a.version.Store("v1")
	c := testConfig(a)
	c.Health.Interval = ms(60_000)
	p, _ := upPool(t, c, a)
	a.version.Store("v2")
	_, _, trace := mustGet(t, p)
	if got := p.Versions(); trace.Version != "v2" || got[0].Version != "v2" {
		t.Errorf("trace %s, versions %v: want v2", trace.Version, got)
	}
}

func TestWhatAnOldProcessStillSaysChangesNothing(t *testing.T) {
	p := rotation(t, 1, "random")
	r := p.members["10.0.0.1:3000"]
	p.identify(r, identity{version: "v1"}, p.now())
	p.identify(r, identity{version: "v2"}, p.now())
	asked := r.identity.Load().since - 1 // before v2 showed
	p.identify(r, identity{version: "v1"}, asked)
	if got := r.identity.Load().version; got != "v2" {
		t.Errorf("version %s: want v2", got)
	}
}

// TestABlockedResolverAddsNothingToARequest: names are looked up beside the
// requests, and one that hangs leaves the others alone.
func TestABlockedResolverAddsNothingToARequest(t *testing.T) {
	a := newApp(t, say("hello"))
	_, port, _ := net.SplitHostPort(a.address)
	p := NewPool("app", nil)
	t.Cleanup(func() { _ = p.Close() })
	asked := make(chan struct{}, 1)
	lookups := 0
	p.resolvedEvery = time.Nanosecond
	p.resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
		if lookups++; lookups == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c := testConfig()
	c.Discover = []named.Spec{{Name: "static", Args: []string{"app.test:" + port}}}
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	<-asked // and it hangs now
	if took := usual(9, func() {
		if code, text, _ := mustGet(t, p); code != 200 || text != "hello" {
			t.Errorf("%d %q: want 200 hello", code, text)
		}
	}); took > c.Health.Timeout.D()/2 {
		t.Errorf("the request took %s beside a resolver that hangs", took)
	}
}

func TestALoneReplicaThatRestartsIsWaitedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	serve := func(l net.Listener) *http.Server {
		server := &http.Server{Handler: say("hello")}
		go func() { _ = server.Serve(l) }()
		return server
	}
	server := serve(l)
	c := testConfig(&app{address: address})
	c.Health.Path = ""
	c.Queue.Wait = ms(9000)
	p, seen := upPool(t, c, &app{address: address})
	_ = server.Close()
	// Five refused connections open the breaker; each request is told so.
	for seen.count(BreakerOpened) == 0 && p.Status().Replicas[0].Breaker == "closed" {
		if _, _, _, err := fetch(t.Context(), p, "GET", ""); err == nil {
			t.Fatal("a dead replica answers")
		}
	}
	waiting := background(p)
	eventually(t, "a request waits", func() bool { return p.Status().Queued == 1 })
	l, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server = serve(l)
	defer server.Close()
	// The check that reaches it closes the breaker, long before its 5 s are over.
	if got := <-waiting; got.code != 200 || got.text != "hello" {
		t.Errorf("%+v: want 200 hello", got)
	}
}

func TestTLSReplicas(t *testing.T) {
	server := httptest.NewTLSServer(say("secret"))
	t.Cleanup(server.Close)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // It is told of refused certificates.
	secure := &app{address: server.Listener.Addr().String()}
	c := testConfig(secure)
	c.Transport.TLS, c.Transport.UnsafeSkipVerify = true, true
	p, _ := upPool(t, c, secure)
	if code, text, _ := mustGet(t, p); code != 200 || text != "secret" {
		t.Errorf("%d %q: want 200 secret", code, text)
	}
	c.Transport.UnsafeSkipVerify = false
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := fetch(t.Context(), p, "POST", "x")
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v: want that the certificate is refused", err)
	}
}
