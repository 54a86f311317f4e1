package lb

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

func TestIdentityUpdate(t *testing.T) {
	tests := map[string]struct {
		known, seen    identity
		changed, other bool
	}{
		"nothing new":                            {identity{instance: "a", version: "1"}, identity{instance: "a", version: "1"}, false, false},
		"it says less than before":               {identity{instance: "a", version: "1"}, identity{}, false, false},
		"the first that it says":                 {identity{}, identity{instance: "a", version: "1"}, true, false},
		"another instance of the same version":   {identity{instance: "a", version: "1"}, identity{instance: "b", version: "1"}, true, true},
		"another version":                        {identity{version: "1"}, identity{version: "2"}, true, true},
		"an instance beside the version known":   {identity{version: "1"}, identity{instance: "a", version: "1"}, true, false},
		"the old version of yet another process": {identity{instance: "b", version: "2"}, identity{instance: "c", version: "1"}, true, true},
	}
	for name, test := range tests {
		if _, changed, other := test.known.update(test.seen); changed != test.changed || other != test.other {
			t.Errorf("%s: changed %t, other %t: want %t, %t", name, changed, other, test.changed, test.other)
		}
	}
}

// another lets r become another process, as an answer shows.
func another(p *Pool, r *replica) {
	p.identify(r, identity{version: "v1"}, p.now())
	p.identify(r, identity{version: "v2"}, p.now())
}

func TestAnotherProcessIsCutOffUntilItsCheckPasses(t *testing.T) {
	p, members := rotationOf(t, 2)
	r := members[0]
	asked := p.now() // a check that is under way
	another(p, r)
	takesNothing := func(when string) {
		t.Helper()
		for range 10 {
			if s, ok := taker(t, p).take(); ok && s.replica == r {
				t.Errorf("%s: it was asked", when)
			}
		}
		if _, ok := taker(t, p).claim(r); ok {
			t.Errorf("%s: a pick of before got its slot", when)
		}
	}
	takesNothing("at once")
	p.checked(r, identity{version: "v1"}, asked, nil)
	takesNothing("after a check that had asked the old one")
	if got := p.Versions()[0].Version; got != "v2" {
		t.Errorf("it is listed with %q: want v2", got)
	}
	p.checked(r, identity{version: "v2"}, p.now(), nil)
	if r.is() != up {
		t.Errorf("%s after its check: want up", r.is())
	}
}

func TestAnotherProcessNeedsAllItsPasses(t *testing.T) {
	p, members := rotationOf(t, 2)
	p.settings.Health.Passes = 2
	r := members[0]
	p.checked(r, identity{version: "v1"}, p.now(), nil)
	for i, want := range []state{joining, up} {
		p.checked(r, identity{version: "v2"}, p.now(), nil)
		if r.is() != want {
			t.Errorf("%s after pass %d: want %s", r.is(), i+1, want)
		}
	}
}

func TestACheckThatFailsShowsAnotherProcessToo(t *testing.T) {
	p, members := rotationOf(t, 2)
	r := members[0]
	p.checked(r, identity{version: "v1"}, p.now(), nil)
	p.checked(r, identity{version: "v2"}, p.now(), errors.New("status 503: want 200 to 299"))
	if r.is() != joining || r.identity.Load().version != "v2" {
		t.Errorf("%s with %s: want joining with v2, at the first failure", r.is(), r.identity.Load().version)
	}
}

func TestAnotherProcessInheritsNothing(t *testing.T) {
	p, members := rotationOf(t, 3)
	r := members[0]
	report(p, r, times(60, gateway)...)
	old := r.record.Load()
	if old.breaker.Load().closed() || !old.ejection.on() || old.failingAround(p.now()) == 0 {
		t.Fatal("the old process is not in trouble: the test shows nothing")
	}
	another(p, r)
	p.checked(r, identity{version: "v2"}, p.now(), nil)
	now := r.record.Load()
	if !now.breaker.Load().closed() || now.ejection.on() || now.ejection.total.Load() != 0 ||
		load(&now.latency) != 0 || now.failingAround(p.now()) != 0 || now.recent(p.now()).requests != 0 || now.requests.Load() != 0 {
		t.Errorf("it inherits something: %+v", p.replicaStatusLocked(r))
	}
	if p.opened.Load() != 0 {
		t.Errorf("%d breakers count as open: want none", p.opened.Load())
	}
	t.Run("nor what the old one does afterwards", func(t *testing.T) {
		s := &slot{replica: r, record: old, breaker: old.breaker.Load()}
		for range 100 {
			old.observe(p.now(), gateway, untimed, 0)
			p.conclude(s, gateway)
		}
		if now.ejection.on() || now.recent(p.now()).requests != 0 || !now.breaker.Load().closed() {
			t.Error("failures of the old process count against the new one")
		}
	})
}

// TestAnAddressBehindWhichProcessesTakeTurnsStaysUsable: a balancer of the
// platform's, say. Cutting it off at each turn would be an outage.
func TestAnAddressBehindWhichProcessesTakeTurnsStaysUsable(t *testing.T) {
	p, members := rotationOf(t, 1)
	r := members[0]
	another(p, r)
	p.checked(r, identity{version: "v2"}, p.now(), nil)
	for range 50 {
		p.identify(r, identity{version: "v1"}, p.now())
		p.identify(r, identity{version: "v2"}, p.now())
	}
	if r.is() != up {
		t.Errorf("%s after turns within a moment: want up", r.is())
	}
}

// TestRequestsMeetNoUnprovenProcess: the old process goes on with what it has
// while the new one starts at its address; only the answer that shows the new
// one comes from it before its check passes.
func TestRequestsMeetNoUnprovenProcess(t *testing.T) {
	var version atomic.Value
	var ready atomic.Bool
	var early atomic.Int64
	version.Store("v1")
	ready.Store(true)
	hold := newHeld()
	a := newApp(t, nil)
	a.answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			hold.serve(w, r) // of the old process
			return
		}
		if version.Load() == "v2" && !ready.Load() {
			early.Add(1)
		}
		say("page")(w, r)
	})
	a.version.Store("v1")
	c := testConfig(a)
	c.Health.Interval = ms(60_000) // answers must do
	c.Queue.Wait = ms(9000)
	p, seen := upPool(t, c, a)
	slow := make(chan result, 1)
	go func() {
		code, text, _, err := fetch(t.Context(), p, http.MethodPost, "")
		slow <- result{code, text, err}
	}()
	<-hold.entered
	ready.Store(false)
	a.healthy.Store(false)
	version.Store("v2")
	a.version.Store("v2")
	mustGet(t, p) // It shows the new process.
	seen.await(t, ReplicaChanged, a.address)
	eventually(t, "a check of the new process has failed", func() bool { return p.members[Address(a.address)].checked.Load() })
	close(hold.free)
	if got := <-slow; got.code != 200 {
		t.Errorf("%+v: want that the old process finishes", got)
	}
	ready.Store(true)
	a.healthy.Store(true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if code, _, _, err := fetch(t.Context(), p, "GET", ""); code != 200 {
				t.Errorf("%d, %v", code, err)
			}
		})
	}
	wg.Wait()
	if n := early.Load(); n != 1 {
		t.Errorf("%d requests met the new process before its check: want the one that showed it", n)
	}
	noneInFlight(t, p)
}
