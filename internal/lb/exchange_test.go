package lb

import (
	"sync"
	"sync/atomic"
	"testing"
)

// rotationOf is a pool of n and its replicas in order.
func rotationOf(t *testing.T, n int) (*Pool, []*replica) {
	t.Helper()
	p := rotation(t, n, "round_robin")
	return p, p.view.Load().members
}

func taker(t *testing.T, p *Pool) *exchange {
	t.Helper()
	return &exchange{pool: p, view: p.view.Load(), in: get(t)}
}

func TestWhoMayTakeARequest(t *testing.T) {
	fill := func(p *Pool, r *replica) { r.inflight.Store(int64(p.settings.Queue.MaxInflight)) }
	move := func(r *replica, to state) { r.state.Store(uint32(to)) }
	trip := func(r *replica, o outcome) {
		for range 5 {
			r.record.Load().breaker.Load().report(o)
		}
	}
	tests := map[string]struct {
		arrange func(p *Pool, a, b *replica)
		want    string // a, b or nobody
	}{
		"the healthy one rather than the sick":                {func(_ *Pool, a, _ *replica) { move(a, sick) }, "b"},
		"a full one is waited for, though a sick one is free": {func(p *Pool, a, b *replica) { move(a, sick); fill(p, b) }, "nobody"},
		"a full one is waited for, though an open one is free": {func(p *Pool, a, b *replica) {
			trip(a, gateway)
			fill(p, b)
		}, "nobody"},
		"the sick one when nobody is healthy": {func(_ *Pool, a, b *replica) { move(a, draining); move(b, sick) }, "b"},
		"one whose first check failed, rather than none": {func(_ *Pool, a, b *replica) {
			move(a, draining)
			move(b, joining)
			b.checked.Store(true)
		}, "b"},
		"one that was never checked is waited for":  {func(_ *Pool, a, b *replica) { move(a, draining); move(b, joining) }, "nobody"},
		"an open breaker is passed over":            {func(_ *Pool, a, _ *replica) { trip(a, gateway) }, "b"},
		"an open breaker is asked when it is alone": {func(_ *Pool, a, b *replica) { move(b, draining); trip(a, gateway) }, "a"},
		"but not when nobody could connect":         {func(_ *Pool, a, b *replica) { move(b, draining); trip(a, refused) }, "nobody"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, members := rotationOf(t, 2)
			test.arrange(p, members[0], members[1])
			got := "nobody"
			for range 4 {
				s, ok := taker(t, p).take()
				if !ok {
					continue
				}
				got = "b"
				if s.replica == members[0] {
					got = "a"
				}
			}
			if got != test.want {
				t.Errorf("%s takes it: want %s", got, test.want)
			}
		})
	}
}

// TestAReplicaThatBeganToDrainAfterThePickIsNotClaimed: the pick saw it up,
// then the drain wrote its state; had the claim stood, the drain might have
// ended under it.
func TestAReplicaThatBeganToDrainAfterThePickIsNotClaimed(t *testing.T) {
	p, members := rotationOf(t, 1)
	x := taker(t, p)
	members[0].state.Store(uint32(draining))
	if _, ok := x.claim(members[0]); ok || members[0].inflight.Load() != 0 {
		t.Errorf("claimed %t, %d in flight: want neither", ok, members[0].inflight.Load())
	}
}

func TestClaimsThatOverlapKeepTheLimit(t *testing.T) {
	p, members := rotationOf(t, 1)
	var got atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		x := taker(t, p)
		wg.Go(func() {
			for range 100 {
				if _, ok := x.claim(members[0]); ok {
					got.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := got.Load(); n > 200 || members[0].inflight.Load() != n {
		t.Errorf("%d claims, %d in flight: want at most 200 of both", n, members[0].inflight.Load())
	}
}

func TestASlotGivenBackCallsWhoWaits(t *testing.T) {
	p, members := rotationOf(t, 1)
	s, _ := taker(t, p).take()
	place := p.queue.join(1)
	p.unclaim(s.replica)
	select {
	case <-place.Value.(chan struct{}):
	default:
		t.Error("nobody was called")
	}
	if members[0].inflight.Load() != 0 {
		t.Error("the slot is still taken")
	}
}

func TestSlowStartLowersTheLimit(t *testing.T) {
	p, members := rotationOf(t, 1)
	x := taker(t, p)
	members[0].slowFrom.Store(p.now())
	x.now = p.now()
	if got := x.limit(members[0]); got != 20 {
		t.Errorf("limit %d at the start: want 20, a tenth of 200", got)
	}
}
