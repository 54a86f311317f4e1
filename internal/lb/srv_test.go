package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/edgegw/edge/internal/named"
)

// ranks notes the ranks that a discovery gives, beside its reports.
func (r *reports) ranked() Feed {
	feed := r.feed()
	feed.ranks = func(of map[Address]rank) {
		var list []string
		for address, k := range sorted(of) {
			list = append(list, fmt.Sprintf("%s=%.2f/%d", address, k.weight, k.priority))
		}
		r.add(strings.Join(list, " "))
	}
	feed.Found = func([]Address) {}
	return feed
}

func TestRanking(t *testing.T) {
	tests := map[string]struct {
		list []announced
		want string
	}{
		"weights are in proportion to the heaviest": {
			[]announced{{"a:1", 10, 0}, {"b:1", 5, 0}, {"c:1", 20, 0}}, "map[a:1:{0.5 0} b:1:{0.25 0} c:1:{1 0}]",
		},
		"each priority has its own heaviest": {
			[]announced{{"a:1", 10, 1}, {"b:1", 5, 1}, {"c:1", 500, 2}}, "map[a:1:{1 1} b:1:{0.5 1} c:1:{1 2}]",
		},
		"all 0 are equal":              {[]announced{{"a:1", 0, 0}, {"b:1", 0, 0}}, "map[a:1:{1 0} b:1:{1 0}]"},
		"0 among others is little":     {[]announced{{"a:1", 0, 0}, {"b:1", 50, 0}}, "map[a:1:{0.01 0} b:1:{1 0}]"},
		"named twice, it has the sum":  {[]announced{{"a:1", 1, 3}, {"a:1", 1, 2}, {"b:1", 4, 2}}, "map[a:1:{0.5 2} b:1:{1 2}]"},
		"a negative weight is no debt": {[]announced{{"a:1", -4, 0}, {"b:1", 4, 0}}, "map[a:1:{0.01 0} b:1:{1 0}]"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, got := ranking(test.list); fmt.Sprint(got) != test.want {
				t.Errorf("%v: want %s", got, test.want)
			}
		})
	}
}

func TestSRVReadsTargetsWeightsAndPriorities(t *testing.T) {
	hundred := []string{}
	for i := range 100 {
		hundred = append(hundred, fmt.Sprintf("_http._tcp.app.test. 60 IN SRV 1 1 %d app.test.", 3000+i))
	}
	hundred = append(hundred, "app.test. 60 IN A 10.0.0.1")
	tests := map[string]struct {
		records []string
		want    string
	}{
		"weights, a target with two addresses, a fall-back": {[]string{
			"_http._tcp.app.test. 60 IN SRV 1 30 3000 a.test.", "_http._tcp.app.test. 60 IN SRV 1 20 3001 b.test.", "_http._tcp.app.test. 60 IN SRV 9 0 80 c.test.",
			"a.test. 60 IN A 10.0.0.1", "b.test. 60 IN A 10.0.0.2", "b.test. 60 IN AAAA fd00::2", "c.test. 60 IN A 10.0.0.3",
		}, "10.0.0.1:3000=1.00/1 10.0.0.2:3001=0.33/1 10.0.0.3:80=1.00/9 [fd00::2]:3001=0.33/1"},
		"the service is said not to be there": {[]string{"_http._tcp.app.test. 60 IN SRV 0 0 0 ."}, "failed: srv _http._tcp.app.test: the service has no address"},
		"a hundred replicas, all of them":     {hundred, "10.0.0.1:3099=1.00/1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			records := test.records
			s := newNameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
				m := new(dns.Msg).SetReply(q)
				for _, text := range records {
					if rr := must(dns.NewRR(text)); rr.Header().Name == q.Question[0].Name && rr.Header().Rrtype == q.Question[0].Qtype {
						m.Answer = append(m.Answer, rr)
					}
				}
				if w.RemoteAddr().Network() == "udp" {
					m.Truncate(int(q.IsEdns0().UDPSize()))
				}
				_ = w.WriteMsg(m)
			})
			d := must(newSRV(named.Spec{Name: "srv", Args: []string{"_http._tcp.App.test"}, Options: map[string][]string{"resolver": {s.address}}}))
			var seen reports
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); d.Run(ctx, seen.ranked()) }()
			eventually(t, "a report", func() bool { seen.mu.Lock(); defer seen.mu.Unlock(); return len(seen.list) > 0 })
			cancel()
			<-done
			got := seen.news()
			if !strings.Contains(got, test.want) || (len(records) > 100 && strings.Count(got, ":3") != 100) {
				t.Errorf("%s\nwant %s", got, test.want)
			}
		})
	}
}

func TestSRVTargetKeepsWhatWasKnownOfIt(t *testing.T) {
	ip := func(text string) answer {
		return answer{addresses: []netip.Addr{netip.MustParseAddr(text)}, ttl: time.Minute}
	}
	answers := map[string]answer{"a.": ip("10.0.0.1"), "b.": ip("10.0.0.2")}
	var fails error
	d := srvName{name: "svc", lookup: func(_ context.Context, host string) (answer, error) {
		if host == "b." && fails != nil {
			return answer{}, fails
		}
		return answers[host], nil
	}}
	known := make(map[string][]netip.Addr)
	step := func(what, want string) {
		t.Helper()
		s := service{ttl: time.Hour, records: []*dns.SRV{{Target: "a.", Port: 80, Weight: 1}, {Target: "b.", Port: 80, Weight: 1}}}
		list, err := d.resolve(t.Context(), &s, known)
		set, _ := ranking(list)
		if got := fmt.Sprint(set, " ", s.ttl, " ", err); got != want {
			t.Errorf("%s: %s: want %s", what, got, want)
		}
	}
	step("both answer", "[10.0.0.1:80 10.0.0.2:80] 1m0s <nil>")
	fails = errors.New("no answer")
	answers["a."] = ip("10.0.0.9")
	step("one fails, the other moves", "[10.0.0.2:80 10.0.0.9:80] 1m0s no answer")
	fails, answers["b."] = nil, answer{}
	step("one has no address", "[10.0.0.2:80 10.0.0.9:80] 1m0s srv svc: target b. has no address")
}

func TestSRVVanishesTheThirdTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen reports
		ctx, cancel := context.WithCancel(t.Context())
		d := srvName{name: "svc", servers: func() (serverList, error) { return serverList{names: func(string) []string { return nil }}, nil }}
		go d.Run(ctx, seen.feed())
		time.Sleep(3500 * time.Millisecond) // 0s, 1s, 3s
		cancel()
		synctest.Wait()
		if got, want := seen.news(), "failed: srv svc: the service has no address; []"; got != want {
			t.Errorf("%s: want %s", got, want)
		}
	})
}

func TestSRVSharesRequestsByWeightAndFallsBackByPriority(t *testing.T) {
	heavy, light, spare := newApp(t, say("heavy")), newApp(t, say("light")), newApp(t, say("spare"))
	record := func(a *app, priority, weight int) string {
		_, port, _ := strings.Cut(a.address, ":")
		return fmt.Sprintf("_http._tcp.app.test. 1 IN SRV %d %d %s app.test.", priority, weight, port)
	}
	s := newNameServer(t, zone(record(heavy, 1, 30), record(light, 1, 10), record(spare, 2, 100), "app.test. 1 IN A 127.0.0.1"))
	c := testConfig()
	c.Policy.Name = "random"
	c.Discover = []named.Spec{{Name: "srv", Args: []string{"_http._tcp.app.test"}, Options: map[string][]string{"resolver": {s.address}}}}
	p, _ := upPool(t, c, heavy, light, spare)
	for range 2000 {
		mustGet(t, p)
	}
	// Random draws, of which the light one passes on two of three.
	if share := float64(heavy.hits.Load()) / 2000; share < 0.70 || share > 0.80 || spare.hits.Load() != 0 {
		t.Errorf("heavy %d, light %d, spare %d: want three quarters, a quarter, none", heavy.hits.Load(), light.hits.Load(), spare.hits.Load())
	}
	heavy.healthy.Store(false)
	light.healthy.Store(false)
	eventually(t, "the fall-back answers", func() bool { _, text, _ := mustGet(t, p); return text == "spare" })
	light.healthy.Store(true)
	eventually(t, "the first priority has it back", func() bool { _, text, _ := mustGet(t, p); return text == "light" })
}

// TestAResolverThatHangsAddsNothingToAnyRequest holds every question back while
// requests are made: none of them may wait for an answer.
func TestAResolverThatHangsAddsNothingToAnyRequest(t *testing.T) {
	a := newApp(t, say("hello"))
	_, port, _ := strings.Cut(a.address, ":")
	for kind, arg := range map[string]string{"dns": "app.test:" + port, "srv": "_http._tcp.app.test"} {
		t.Run(kind, func(t *testing.T) {
			good := zone("app.test. 1 IN A 127.0.0.1", "_http._tcp.app.test. 1 IN SRV 0 0 "+port+" app.test.")
			var hangs atomic.Bool
			held, release := make(chan struct{}, 100), make(chan struct{})
			s := newNameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
				if hangs.Load() {
					held <- struct{}{}
					<-release
				}
				good(w, q)
			})
			t.Cleanup(func() { close(release) })
			c := testConfig()
			c.Discover = []named.Spec{{Name: kind, Args: []string{arg}, Options: map[string][]string{"resolver": {s.address}}}}
			p, seen := upPool(t, c, a)
			hangs.Store(true)
			<-held
			if took := usual(200, func() {
				if code, text, _ := mustGet(t, p); code != 200 || text != "hello" {
					t.Fatalf("%d %q", code, text)
				}
			}); took > dnsTimeout/2 {
				t.Errorf("a request took %s while the resolver hung", took)
			}
			seen.await(t, DiscoveryFailed, "")
			if r, ok := replicaOf(p, a.address); !ok || r.State != "up" {
				t.Errorf("after the lookup failed the replica is %+v: want it up", r)
			}
			mustGet(t, p)
		})
	}
}
