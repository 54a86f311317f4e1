package lb

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// held is a handler that answers when it is let go, and says when it is asked.
type held struct{ entered, free chan struct{} }

func newHeld() *held {
	return &held{entered: make(chan struct{}, 100), free: make(chan struct{})}
}

func (h *held) serve(w http.ResponseWriter, r *http.Request) {
	h.entered <- struct{}{}
	select {
	case <-h.free:
	case <-r.Context().Done():
	}
	_, _ = io.WriteString(w, "finished")
}

type result struct {
	code int
	text string
	err  error
}

// background sends a GET and returns where its result will be.
func background(p *Pool) <-chan result {
	out := make(chan result, 1)
	go func() {
		code, text, _, err := fetch(context.Background(), p, http.MethodGet, "")
		out <- result{code, text, err}
	}()
	return out
}

func TestARemovedReplicaFinishesWhatItHasAndTakesNothingNew(t *testing.T) {
	hold := newHeld()
	old, next := newApp(t, hold.serve), newApp(t, say("new"))
	p, seen := upPool(t, testConfig(old), old)
	first := background(p)
	<-hold.entered

	if err := p.Configure(testConfig(next)); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaDraining, old.address)
	for range 20 {
		if code, text, _ := mustGet(t, p); code != 200 || text != "new" {
			t.Fatalf("%d %q while draining: want the new replica", code, text)
		}
	}
	if r, ok := replicaOf(p, old.address); !ok || r.State != "draining" || r.InFlight != 1 {
		t.Errorf("%+v: want it draining with one in flight", r)
	}
	close(hold.free)
	if got := <-first; got.code != 200 || got.text != "finished" {
		t.Errorf("the old request: %+v: want 200 finished", got)
	}
	seen.await(t, ReplicaGone, old.address)
	if _, ok := replicaOf(p, old.address); ok {
		t.Error("it is still listed after it has gone")
	}
}

func TestADrainEndsInTimeAndClosesWhatIsLeft(t *testing.T) {
	hold := newHeld()
	old, next := newApp(t, nil), newApp(t, say("new"))
	old.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/live" {
			echo(w, r)
			return
		}
		hold.serve(w, r)
	})
	c := testConfig(old)
	c.Drain = ms(200)
	p, seen := upPool(t, c, old)
	stuck := background(p)
	<-hold.entered
	_, in := dialWebSocket(t, proxyOf(t, p))

	c.Discover = listing(next)
	began := time.Now()
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadString('\n'); err == nil {
		t.Error("the WebSocket sent something: want that it is closed")
	}
	seen.await(t, ReplicaGone, old.address)
	// It is a GET and has seen no headers, so it is tried elsewhere.
	if got := <-stuck; got.code != 200 || got.text != "new" {
		t.Errorf("the stuck request: %+v: want the new replica's answer", got)
	}
	// WebSockets close in the last quarter, the rest at the end.
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("the drain took %s: want 200ms, or more where the machine is busy", took)
	}
}

func TestAReplicaThatComesBackWhileItDrainsIsTakenBack(t *testing.T) {
	hold := newHeld()
	a, b := newApp(t, hold.serve), newApp(t, say("other"))
	p, seen := upPool(t, testConfig(a), a)
	first := background(p)
	<-hold.entered
	if err := p.Configure(testConfig(b)); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaDraining, a.address)
	before, _ := replicaOf(p, a.address)
	if err := p.Configure(testConfig(a)); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaGone, b.address)
	after, _ := replicaOf(p, a.address)
	if after.State != "up" || after.InFlight != 1 || after.ID != before.ID || after.Requests != before.Requests {
		t.Errorf("%+v\nbecame %+v: want it up, with what it had", before, after)
	}
	close(hold.free)
	if got := <-first; got.text != "finished" {
		t.Errorf("%+v: want the request to finish", got)
	}
	if code, text, _ := mustGet(t, p); code != 200 || text != "finished" {
		t.Errorf("%d %q: want it to serve again", code, text)
	}
}

func TestAReplicaDrainedByHandStaysAsideUntilItRegisters(t *testing.T) {
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	p, _ := upPool(t, testConfig(a, b), a, b)
	r, _ := replicaOf(p, a.address)
	if _, err := p.SetAside(Selection{Replica: r.ID}, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "drained", func() bool { r, _ := replicaOf(p, a.address); return r.State == "drained" })
	// A reload for another reason does not bring it back.
	if err := p.Configure(testConfig(a, b)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, text, _ := mustGet(t, p); text != "b" {
			t.Fatalf("%q answers: want b alone", text)
		}
	}
	if _, err := p.Register(a.address, time.Minute); err != nil {
		t.Fatal(err)
	}
	eventually(t, "up again", func() bool { r, _ := replicaOf(p, a.address); return r.State == "up" })
	if _, err := p.SetAside(Selection{Replica: "nobody"}, true); !errors.Is(err, ErrUnknownReplica) {
		t.Errorf("%v: want ErrUnknownReplica", err)
	}
}

// TestChurnUnderLoadFailsNothing: 1 → 6 → 1 replicas, over and over, while
// GETs and POSTs go on.
func TestChurnUnderLoadFailsNothing(t *testing.T) {
	apps := make([]*app, 6)
	for i := range apps {
		apps[i] = newApp(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	}
	p, seen := upPool(t, testConfig(apps[0]), apps[0])
	var stop atomic.Bool
	var served atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		method, body := http.MethodGet, ""
		if i%2 == 0 {
			method, body = http.MethodPost, "order"
		}
		wg.Go(func() {
			for !stop.Load() && served.Load() < 200_000 {
				code, text, trace, err := fetch(context.Background(), p, method, body)
				if err != nil || code != http.StatusOK || text != body {
					t.Errorf("%s: %d %q %+v %v", method, code, text, trace, err)
					return
				}
				served.Add(1)
			}
		})
	}
	for range 5 {
		if err := p.Configure(testConfig(apps...)); err != nil {
			t.Fatal(err)
		}
		for _, a := range apps[1:] {
			seen.await(t, ReplicaUp, a.address)
			before := a.hits.Load()
			eventually(t, "it serves", func() bool { return a.hits.Load() > before })
		}
		seen.forget()
		if err := p.Configure(testConfig(apps[0])); err != nil {
			t.Fatal(err)
		}
		for _, a := range apps[1:] {
			seen.await(t, ReplicaGone, a.address)
		}
		seen.forget()
	}
	stop.Store(true)
	wg.Wait()
	noneInFlight(t, p)
}
