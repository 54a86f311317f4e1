package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/edgegw/edge/internal/named"
)

// nameServer is a DNS server on loopback, over UDP and TCP at one port.
type nameServer struct {
	address string

	mu     sync.Mutex
	answer func(w dns.ResponseWriter, q *dns.Msg) // may be replaced
	asked  []string                               // "udp A app.test. edns"
}

func newNameServer(t *testing.T, answer func(w dns.ResponseWriter, q *dns.Msg)) *nameServer {
	t.Helper()
	s := &nameServer{answer: answer}
	stream, packets := bothAtOnePort(t)
	s.address = stream.Addr().String()
	for _, server := range []*dns.Server{
		{PacketConn: packets, Handler: dns.HandlerFunc(s.serve)},
		{Listener: stream, Handler: dns.HandlerFunc(s.serve)},
	} {
		started, ended := make(chan struct{}), make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() {
			defer close(ended)
			_ = server.ActivateAndServe()
		}()
		<-started
		t.Cleanup(func() {
			_ = server.Shutdown()
			<-ended
		})
	}
	return s
}

// bothAtOnePort listens on TCP and UDP. A port that is free for one may be
// taken for the other.
func bothAtOnePort(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 50 {
		stream, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		packets, err := net.ListenPacket("udp", stream.Addr().String())
		if err == nil {
			return stream, packets
		}
		_ = stream.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	return nil, nil
}

func (s *nameServer) serve(w dns.ResponseWriter, q *dns.Msg) {
	edns := "plain"
	if q.IsEdns0() != nil {
		edns = "edns"
	}
	s.mu.Lock()
	s.asked = append(s.asked, strings.Join([]string{w.RemoteAddr().Network(), dns.TypeToString[q.Question[0].Qtype], q.Question[0].Name, edns}, " "))
	answer := s.answer
	s.mu.Unlock()
	answer(w, q)
}

// questions is what was asked so far.
func (s *nameServer) questions() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.asked, "; ")
}

// zone answers from records in presentation form.
func zone(records ...string) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		for _, text := range records {
			rr := must(dns.NewRR(text))
			if kind := rr.Header().Rrtype; kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		_ = w.WriteMsg(m)
	}
}

func code(rcode int) func(dns.ResponseWriter, *dns.Msg) {
	return func(w dns.ResponseWriter, q *dns.Msg) { _ = w.WriteMsg(new(dns.Msg).SetRcode(q, rcode)) }
}

func TestLookup(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("app.test. 60 IN A 10.0.0.%d", i+1)
	}
	four := zone("app.test. 30 IN A 10.0.0.1")
	tests := map[string]struct {
		answer func(dns.ResponseWriter, *dns.Msg)
		want   string // addresses and TTL, or part of an error
		asked  string // part of what was asked
	}{
		"A and AAAA, the shorter TTL": {
			zone("app.test. 30 IN A 10.0.0.1", "app.test. 20 IN AAAA fd00::1"), "[10.0.0.1 fd00::1] 20s", "udp AAAA app.test. edns",
		},
		"AAAA only": {zone("app.test. 20 IN AAAA fd00::1"), "[fd00::1] 20s", ""},
		"an alias with a shorter TTL than its target": {
			zone("app.test. 5 IN CNAME real.test.", "real.test. 60 IN A 10.0.0.9"), "[10.0.0.9] 5s", "",
		},
		"a name without addresses":   {zone(), "[] 0s", ""},
		"a name that does not exist": {code(dns.RcodeNameError), "[] 0s", ""},
		"a server that fails":        {code(dns.RcodeServerFailure), "SERVFAIL", ""},
		"a server that refuses":      {code(dns.RcodeRefused), "REFUSED", ""},
		"AAAA fails, A does not: the answer says so": {
			func(w dns.ResponseWriter, q *dns.Msg) {
				if q.Question[0].Qtype == dns.TypeAAAA {
					code(dns.RcodeServerFailure)(w, q)
					return
				}
				four(w, q)
			}, "[10.0.0.1] 30s without AAAA", "",
		},
		"a hundred replicas come by TCP": {
			func(w dns.ResponseWriter, q *dns.Msg) {
				if w.RemoteAddr().Network() == "udp" {
					m := new(dns.Msg).SetReply(q)
					m.Truncated = true
					_ = w.WriteMsg(m)
					return
				}
				zone(many...)(w, q)
			}, "100 addresses", "tcp A app.test. edns",
		},
		"a server that does not know EDNS0 is asked without": {
			func(w dns.ResponseWriter, q *dns.Msg) {
				if q.IsEdns0() != nil {
					code(dns.RcodeFormatError)(w, q)
					return
				}
				four(w, q)
			}, "[10.0.0.1] 30s", "udp A app.test. plain",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newNameServer(t, test.answer)
			got := describe(serverList{servers: []string{s.address}}.lookup(t.Context(), "app.test"))
			if !strings.Contains(got, test.want) {
				t.Errorf("%s: want %s", got, test.want)
			}
			if asked := s.questions(); !strings.Contains(asked, test.asked) {
				t.Errorf("asked %s: want %s", asked, test.asked)
			}
		})
	}
}

func describe(a answer, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case len(a.addresses) > 5:
		return fmt.Sprintf("%d addresses", len(a.addresses))
	case a.no6:
		return fmt.Sprint(a.addresses, " ", a.ttl, " without AAAA")
	}
	return fmt.Sprint(a.addresses, " ", a.ttl)
}

func TestLookupGoesOnToTheNextServerAndThroughTheSearchList(t *testing.T) {
	bad := newNameServer(t, code(dns.RcodeServerFailure))
	good := newNameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Name == "app.cluster.test." {
			zone("app.cluster.test. 30 IN A 10.0.0.1")(w, q)
			return
		}
		code(dns.RcodeNameError)(w, q)
	})
	conf := dns.ClientConfig{Search: []string{"ns.test", "cluster.test"}, Ndots: 1}
	got := describe(serverList{servers: []string{bad.address, good.address}, names: conf.NameList}.lookup(t.Context(), "app"))
	if got != "[10.0.0.1] 30s" {
		t.Errorf("%s: want [10.0.0.1] 30s", got)
	}
}

func TestLocalhostAndTheHostsFileAreAskedOfTheSystem(t *testing.T) {
	a, err := systemLookup(t.Context(), "localhost")
	if err != nil || len(a.addresses) == 0 || a.ttl != systemTTL {
		t.Fatalf("localhost: %v, %v", a, err)
	}
	for _, ip := range a.addresses {
		if !ip.IsLoopback() {
			t.Errorf("localhost is %s", ip)
		}
	}
}

// script plays lookups, one after the other, and notes when they came.
type script struct {
	answers []answer
	errs    []error
	at      []time.Duration
	began   time.Time
}

func (s *script) lookup(context.Context, string) (answer, error) {
	i := len(s.at)
	s.at = append(s.at, time.Since(s.began))
	i = min(i, len(s.answers)-1)
	return s.answers[i], s.errs[i]
}

func (s *script) then(err error, ttl time.Duration, ips ...string) *script {
	a := answer{ttl: ttl}
	for _, ip := range ips {
		a.addresses = append(a.addresses, netip.MustParseAddr(ip))
	}
	s.answers, s.errs = append(s.answers, a), append(s.errs, err)
	return s
}

func TestDNSTimeline(t *testing.T) {
	down := errors.New("no answer")
	tests := map[string]struct {
		script   *script
		interval time.Duration
		at       []int // seconds of the first lookups
		want     string
	}{
		"no answer is believed for longer than the interval": {
			new(script).then(nil, 600*time.Second, "10.0.0.1").then(nil, time.Second, "10.0.0.2").then(nil, 600*time.Second, "10.0.0.2"), 2 * time.Second,
			[]int{0, 2, 3, 5}, "[10.0.0.1:80]; [10.0.0.2:80]",
		},
		"each answer is believed for its TTL, between a second and an hour": {
			new(script).then(nil, 0, "10.0.0.1").then(nil, 20*time.Second, "10.0.0.1", "10.0.0.2").then(nil, 24*time.Hour, "10.0.0.2"), 0,
			[]int{0, 1, 21, 3621}, "[10.0.0.1:80]; [10.0.0.1:80 10.0.0.2:80]; [10.0.0.2:80]",
		},
		"a resolver that fails is asked at growing intervals, and removes nothing": {
			new(script).then(nil, 5*time.Second, "10.0.0.1").then(down, 0).then(down, 0).then(down, 0).then(nil, time.Hour, "10.0.0.1"), 0,
			[]int{0, 5, 6, 8, 12}, "[10.0.0.1:80]; failed: no answer; [10.0.0.1:80]",
		},
		"a name that vanished is believed the third time": {
			new(script).then(nil, 5*time.Second, "10.0.0.1").then(nil, 0).then(nil, 0).then(nil, 0).then(nil, time.Hour, "10.0.0.2"), 0,
			[]int{0, 5, 6, 8, 12}, "[10.0.0.1:80]; failed: dns app: the name has no address; []; [10.0.0.2:80]",
		},
		"a name that vanishes for a moment removes nothing": {
			new(script).then(nil, 5*time.Second, "10.0.0.1").then(nil, 0).then(nil, time.Hour, "10.0.0.2"), 0,
			[]int{0, 5, 6}, "[10.0.0.1:80]; failed: dns app: the name has no address; [10.0.0.2:80]",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.script.began = time.Now()
				var seen reports
				ctx, cancel := context.WithCancel(t.Context())
				go dnsName{host: "app", port: "80", interval: test.interval, lookup: test.script.lookup}.Run(ctx, seen.feed())
				time.Sleep(time.Duration(test.at[len(test.at)-1])*time.Second + time.Millisecond)
				cancel()
				synctest.Wait()
				if got := seen.news(); got != test.want {
					t.Errorf("%s\nwant %s", got, test.want)
				}
				for i, want := range test.at {
					if got := test.script.at[i]; got != time.Duration(want)*time.Second {
						t.Errorf("lookup %d at %s: want %ds", i, got, want)
					}
				}
			})
		})
	}
}

func TestAFailedKindOfAddressKeepsWhatWasKnownOfIt(t *testing.T) {
	six, four := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.0.0.1")
	newFour := netip.MustParseAddr("10.0.0.2")
	got := answer{addresses: []netip.Addr{newFour}, no6: true}.keeping([]netip.Addr{four, six})
	if want := fmt.Sprint([]netip.Addr{newFour, six}); fmt.Sprint(got) != want {
		t.Errorf("%v: want %s", got, want)
	}
}

func TestDNSFindsReplicasThatServe(t *testing.T) {
	a := newApp(t, say("hello"))
	_, port, _ := strings.Cut(a.address, ":")
	s := newNameServer(t, zone("app.test. 1 IN A 127.0.0.1"))
	c := testConfig()
	c.Discover = []named.Spec{{Name: "dns", Args: []string{"app.test:" + port}, Options: map[string][]string{"resolver": {s.address}}}}
	p, _ := upPool(t, c, a)
	if code, text, _ := mustGet(t, p); code != 200 || text != "hello" {
		t.Errorf("%d %q", code, text)
	}
}
