package lb

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"
)

func defaultEject() *Eject {
	c := Config{}.withDefaults().Eject
	return &c
}

func TestEjectionsLastTwiceAsLongEachTime(t *testing.T) {
	c := defaultEject()
	for step, seconds := range []float64{5, 10, 20, 40, 80, 160, 300, 300, 300} {
		want := time.Duration(seconds * float64(time.Second))
		if got := ejectionTime(c, step, 0.5); got != want {
			t.Errorf("step %d: %s: want %s", step, got, want)
		}
		low, high := ejectionTime(c, step, 0), ejectionTime(c, step, 1)
		wantLow := min(c.Max.D(), time.Duration(0.8*5*math.Pow(2, float64(step))*float64(time.Second)))
		if low != wantLow || high < low || high > c.Max.D() || (step < 5 && high != want*6/5) {
			t.Errorf("step %d: %s to %s: want a fifth either way, at most %s", step, low, high, c.Max.D())
		}
	}
	if got := ejectionTime(c, 1_000_000, 1); got != c.Max.D() {
		t.Errorf("step 1000000: %s: want %s", got, c.Max.D())
	}
}

func TestAMinuteInRotationTakesOneDoublingBack(t *testing.T) {
	var e ejection
	now := int64(time.Hour)
	for _, step := range []struct {
		calm time.Duration // before
		want time.Duration
	}{
		{time.Hour, 5 * time.Second},
		{10 * time.Second, 10 * time.Second},
		{10 * time.Second, 20 * time.Second},
		{2 * time.Minute, 10 * time.Second}, // 40 s less two doublings
		{time.Hour, 5 * time.Second},
	} {
		now += int64(step.calm)
		got := e.begin(now, defaultEject(), 0.5, "test")
		if got != step.want || !e.on() {
			t.Errorf("after %s: ejected for %s: want %s", step.calm, got, step.want)
		}
		now += int64(got)
		if !e.end(now) || e.on() || e.end(now) {
			t.Error("an ejection ends other than once")
		}
	}
	if got := e.total.Load(); got != 5 {
		t.Errorf("%d ejections: want 5", got)
	}
}

func TestWorse(t *testing.T) {
	seen := func(requests, failures int, mean float64) recent {
		return recent{requests: requests, failures: failures, timed: requests - failures, ms: mean * float64(requests-failures)}
	}
	off := defaultEject()
	off.Latency = -1
	tests := map[string]struct {
		config      *Eject
		one         recent
		ratio, mean float64 // of the peers
		worse       bool
	}{
		"a tenth is not above a tenth":              {nil, seen(100, 10, 20), 0, 20, false},
		"more is, when nobody else fails":           {nil, seen(100, 11, 20), 0, 20, true},
		"three times the peers is not more":         {nil, seen(100, 60, 20), 0.2, 20, false},
		"all fail alike":                            {nil, seen(100, 60, 20), 0.6, 20, false},
		"five times as slow is not more":            {nil, seen(100, 0, 500), 0, 100, false},
		"slower than that":                          {nil, seen(100, 0, 501), 0, 100, true},
		"ten times, but of a millisecond":           {nil, seen(100, 0, 10), 0, 1, false},
		"more than 100 ms above it":                 {nil, seen(100, 0, 102), 0, 1, true},
		"few timed answers say nothing of latency":  {nil, seen(29, 0, 5000), 0, 100, false},
		"peers without a latency say nothing of it": {nil, seen(100, 0, 5000), 0, 0, false},
		"latency switched off":                      {off, seen(100, 0, 5000), 0, 100, false},
	}
	for name, test := range tests {
		if test.config == nil {
			test.config = defaultEject()
		}
		if why := worse(test.config, test.one, test.ratio, test.mean); (why != "") != test.worse {
			t.Errorf("%s: %q", name, why)
		}
	}
}

func TestTheWindowForgetsWhatIsOlderThanTenSeconds(t *testing.T) {
	var r record
	second := int64(time.Second)
	for i := range int64(20) {
		r.count(i*second, good)
	}
	r.count(19*second, gateway)
	r.count(19*second, faulty)
	if got := r.recent(19 * second); got.requests != 12 || got.failures != 2 {
		t.Errorf("%+v: want 12 requests, 2 failures", got)
	}
	if got := r.recent(60 * second); got.requests != 0 {
		t.Errorf("%+v after 40 s: want nothing", got)
	}
}

// trouble is a pool of n without sockets of which some replicas fail.
func trouble(t *testing.T, n int) (*Pool, []*replica, *events) {
	t.Helper()
	p, members := rotationOf(t, n)
	seen := newEvents()
	p.news.event = seen.add
	return p, members, seen
}

func report(p *Pool, r *replica, outcomes ...outcome) {
	for _, o := range outcomes {
		rec := r.record.Load()
		rec.observe(p.now(), o, 20*time.Millisecond, 20)
		p.conclude(&slot{replica: r, record: rec, breaker: rec.breaker.Load()}, o)
	}
}

func times(n int, o outcome) []outcome {
	list := make([]outcome, n)
	for i := range list {
		list[i] = o
	}
	return list
}

func ejected(members []*replica) (n int) {
	for _, r := range members {
		if r.record.Load().ejection.on() {
			n++
		}
	}
	return n
}

func TestWhoIsEjected(t *testing.T) {
	tests := map[string]struct {
		n      int
		happen func(p *Pool, members []*replica)
		want   int
	}{
		"five gateway failures in a row": {10, func(p *Pool, m []*replica) { report(p, m[0], times(5, gateway)...) }, 1},
		"four are not enough": {10, func(p *Pool, m []*replica) {
			report(p, m[0], times(4, refused)...)
			report(p, m[0], good)
			report(p, m[0], times(4, reset)...)
		}, 0},
		"500 is no gateway failure":           {10, func(p *Pool, m []*replica) { report(p, m[0], times(6, faulty)...) }, 0},
		"who left says nothing":               {10, func(p *Pool, m []*replica) { report(p, m[0], times(60, neutral)...) }, 0},
		"cut bodies, time-outs and resets do": {10, func(p *Pool, m []*replica) { report(p, m[0], cut, late, reset, cut, refused) }, 1},
		"never the only one":                  {1, func(p *Pool, m []*replica) { report(p, m[0], times(50, gateway)...) }, 0},
		"never the last that takes requests":  {2, func(p *Pool, m []*replica) { m[1].state.Store(uint32(sick)); report(p, m[0], times(50, gateway)...) }, 0},
		"nor while the other's breaker is open": {2, func(p *Pool, m []*replica) {
			report(p, m[1], times(20, faulty)...)
			report(p, m[0], times(9, gateway)...)
		}, 0},
		"half of ten at the most": {10, func(p *Pool, m []*replica) {
			for _, r := range m {
				report(p, r, times(9, gateway)...)
				for _, peer := range m { // who fail less, so that each is worse
					store(&peer.record.Load().failing, 0)
				}
			}
		}, 5},
		"nobody when all fail alike": {10, func(p *Pool, m []*replica) {
			for range 20 {
				for _, r := range m {
					report(p, r, gateway)
				}
			}
		}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, members, _ := trouble(t, test.n)
			test.happen(p, members)
			if got := ejected(members); got != test.want {
				t.Errorf("%d ejected: want %d", got, test.want)
			}
		})
	}
}

func TestEjectionsThatOverlapKeepTheCap(t *testing.T) {
	p, members, _ := trouble(t, 10)
	var wg sync.WaitGroup
	for _, r := range members {
		wg.Go(func() {
			for range 50 {
				p.eject(p.view.Load(), r, r.record.Load(), p.now(), "test")
			}
		})
	}
	wg.Wait()
	if got := ejected(members); got != 5 {
		t.Errorf("%d of 10 ejected: want 5", got)
	}
}

func TestAnEjectedReplicaTakesNothingUnlessNobodyElseCould(t *testing.T) {
	p, members, _ := trouble(t, 2)
	report(p, members[0], times(5, gateway)...)
	p.resetBreaker(members[0])
	for range 10 {
		if s, ok := taker(t, p).take(); !ok || s.replica != members[1] {
			t.Fatal("an ejected replica was asked beside a healthy one")
		}
	}
	members[1].state.Store(uint32(draining))
	if s, ok := taker(t, p).take(); !ok || s.replica != members[0] {
		t.Error("nobody was asked: want the ejected one rather than a 503")
	}
}

func TestEjectionsAndSickChecksTogetherMakeAPanic(t *testing.T) {
	p, members, _ := trouble(t, 5)
	report(p, members[0], times(5, gateway)...)
	report(p, members[1], times(5, gateway)...)
	p.assess()
	if p.panicking.Load() {
		t.Fatal("panic with two of five set aside")
	}
	members[2].state.Store(uint32(sick))
	p.assess()
	if !p.panicking.Load() {
		t.Error("no panic with three of five set aside")
	}
}

func TestAnEjectionEndsEarlyWhenChecksFailedAndPassAgain(t *testing.T) {
	p, members, seen := trouble(t, 3)
	r := members[0]
	report(p, r, times(5, gateway)...)
	p.checked(r, identity{}, p.now(), nil)
	if !r.record.Load().ejection.on() {
		t.Error("ended by a check that passed all the while")
	}
	p.checked(r, identity{}, p.now(), errors.New("status 503: want 200 to 299"))
	p.checked(r, identity{}, p.now(), nil)
	if r.record.Load().ejection.on() {
		t.Error("it goes on though the checks noticed the fault, and its end")
	}
	if r.slowFrom.Load() == 0 {
		t.Error("it comes back at once: want slow start")
	}
	p.news.flush()
	if seen.count(ReplicaEjected) != 1 || seen.count(ReplicaReadmitted) != 1 {
		t.Errorf("events %+v", seen.list)
	}
}

func TestAReplicaThatComesBackIsNotJudgedByWhatItDidBefore(t *testing.T) {
	p, members, _ := trouble(t, 3)
	report(p, members[0], times(60, gateway)...)
	p.readmit(members[0], "test")
	p.resetBreaker(members[0])
	report(p, members[0], times(4, gateway)...)
	if ejected(members) != 0 {
		t.Error("ejected by four failures and those of before")
	}
}
