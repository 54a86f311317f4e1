package lb

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"testing"
)

// dueForProbe is a pool of one whose breaker waits for a probe.
func dueForProbe(t *testing.T, handler http.HandlerFunc) (*Pool, *app) {
	t.Helper()
	a := newApp(t, status(503))
	c := testConfig(a)
	c.Breaker.Open = ms(10)
	p, _ := upPool(t, c, a)
	for range 5 {
		mustGet(t, p)
	}
	a.answer(handler)
	b := p.members[Address(a.address)].record.Load().breaker.Load()
	eventually(t, "due for a probe", func() bool { return b.due(p.now()) })
	return p, a
}

// TestAProbeNeverWedges: however a probe ends, the next request may probe, and
// closes the breaker when it goes well.
func TestAProbeNeverWedges(t *testing.T) {
	entered := make(chan struct{}, 1)
	wait := func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		probe   func(t *testing.T, p *Pool)
	}{
		"the client leaves": {wait, func(t *testing.T, p *Pool) {
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-entered
				cancel()
			}()
			if _, _, _, err := fetch(ctx, p, "GET", ""); err == nil {
				t.Error("an answer for a client that left")
			}
		}},
		"a panic in the caller's hooks": {say("fine"), func(t *testing.T, p *Pool) {
			defer func() { _ = recover() }()
			hooks := httptrace.ClientTrace{GetConn: func(string) { panic("hook") }}
			_, _, _, _ = fetch(httptrace.WithClientTrace(t.Context(), &hooks), p, "GET", "")
			t.Error("the panic was swallowed")
		}},
		"a body that is never read": {say("fine"), func(t *testing.T, p *Pool) {
			resp, err := p.RoundTrip(get(t))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}},
		"a WebSocket that stays open": {echo, func(t *testing.T, p *Pool) {
			dialWebSocket(t, proxyOf(t, p))
			if p.opened.Load() != 0 {
				t.Error("the breaker is open after a 101")
			}
		}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, a := dueForProbe(t, test.handler)
			test.probe(t, p)
			a.answer(say("fine"))
			if code, _, _ := mustGet(t, p); code != 200 || p.opened.Load() != 0 {
				t.Errorf("status %d, %d breakers open: want 200 and none", code, p.opened.Load())
			}
			eventually(t, "no slot is lost", func() bool { return p.Status().InFlight == 0 })
		})
	}
}

func TestAPoolThatClosesUnderARequestLetsItFinish(t *testing.T) {
	hold := newHeld()
	a := newApp(t, hold.serve)
	p, _ := upPool(t, testConfig(a), a)
	got := background(p)
	<-hold.entered
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	close(hold.free)
	if r := <-got; r.code != 200 || r.text != "finished" {
		t.Errorf("%+v: want 200 finished", r)
	}
}
