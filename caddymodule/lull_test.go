package caddymodule

import (
	"runtime"
	"testing"
	"time"
)

func TestALullIsTold(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		allocated   int64         // in the last second
		live, grown int64         // the latter since the last lull
		since, took time.Duration // that, and how long it took
		stalled     bool          // the look is a minute late
		want        bool
	}{
		"after a burst": {allocated: mib / 10, live: 20 * mib, grown: 64 * mib, since: time.Minute, want: true},
		"in a burst":    {allocated: 50 * mib, live: 20 * mib, grown: 64 * mib, since: time.Minute},
		"some traffic: in a minute there is as much":      {allocated: 2 * mib, live: 20 * mib, grown: 64 * mib, since: time.Minute},
		"some traffic: a minute and more":                 {allocated: mib, live: 20 * mib, grown: 64 * mib, since: time.Minute, want: true},
		"nothing has come since the last":                 {live: 20 * mib, since: time.Hour},
		"too little":                                      {live: 20 * mib, grown: 8*mib - 1, since: time.Hour},
		"just enough":                                     {live: 20 * mib, grown: 8 * mib, since: time.Hour, want: true},
		"too little beside four GiB that would be marked": {live: 4096 * mib, grown: 256*mib - 1, since: time.Hour},
		"just enough beside four GiB":                     {live: 4096 * mib, grown: 256 * mib, since: time.Hour, want: true},
		"too soon after the last":                         {live: 20 * mib, grown: 64 * mib, since: 5*time.Second - 1},
		"five seconds after the last":                     {live: 20 * mib, grown: 64 * mib, since: 5 * time.Second, want: true},
		"too soon after one that took two seconds":        {live: 20 * mib, grown: 64 * mib, since: 40*time.Second - 1, took: 2 * time.Second},
		"forty after one that took two":                   {live: 20 * mib, grown: 64 * mib, since: 40 * time.Second, took: 2 * time.Second, want: true},
		"a late look: the pace counts":                    {allocated: 50 * mib, live: 20 * mib, grown: 64 * mib, since: time.Hour, stalled: true, want: true},
	} {
		before := usage{at: start, allocated: 1000 * mib}
		now := usage{at: start.Add(time.Second), allocated: before.allocated + c.allocated, live: c.live, mapped: 40*mib + c.grown}
		if c.stalled {
			now.at = start.Add(time.Minute)
		}
		if got := now.lull(before, settled{at: now.at.Add(-c.since), took: c.took, mapped: 40 * mib}); got != c.want {
			t.Errorf("%s: %t: want %t", name, got, c.want)
		}
	}
	first := usage{at: start.Add(time.Second), mapped: 40 * mib}
	if !first.lull(usage{at: start}, settled{}) {
		t.Error("what the start has left is not given back")
	}
}

// process is one of a certain size, of which each collection leaves the next.
type process struct {
	now         usage
	after       []int64 // collections
	collections int
}

func (p *process) collect() {
	p.collections++
	if len(p.after) > 0 {
		p.now.mapped, p.after = p.after[0], p.after[1:]
	}
}

// lulls looks once, so that there is a pace.
func (p *process) lulls() *lulls {
	l := &lulls{measure: func() usage { return p.now }, collect: p.collect}
	l.look()
	return l
}

// pass has time pass, in which there is a look each second.
func (p *process) pass(l *lulls, seconds int) {
	for range seconds {
		p.now.at = p.now.at.Add(time.Second)
		l.look()
	}
}

func newProcess(after ...int64) *process {
	return &process{now: usage{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), live: 20 * mib, mapped: 400 * mib}, after: after}
}

func TestALullIsUsedOnce(t *testing.T) {
	p := newProcess(200*mib, 150*mib, 149*mib, 100*mib)
	l := p.lulls()
	p.pass(l, 3600)
	if p.collections != 3 {
		t.Fatalf("%d collections in an hour without traffic: want 3, of which the last wins too little", p.collections)
	}
	p.now.mapped, p.after = 400*mib, []int64{399 * mib} // all of it lives
	p.pass(l, 3600)
	if p.collections != 4 {
		t.Errorf("%d collections more after a second burst: want 1, which wins nothing", p.collections-3)
	}
}

func TestALullHasAnEnd(t *testing.T) {
	p := newProcess(300*mib, 200*mib, 100*mib, 50*mib)
	l := p.lulls()
	p.pass(l, 1)
	if p.collections != lullRounds {
		t.Errorf("%d collections in one lull: want %d, whatever they win", p.collections, lullRounds)
	}
}

// What the runtime has given back by itself is no longer there to be exceeded.
func TestWhatGrowsAgainCounts(t *testing.T) {
	p := newProcess(300 * mib)
	l := p.lulls()
	p.pass(l, 1)
	p.now.mapped = 100 * mib
	p.pass(l, 60)
	had := p.collections
	p.now.mapped = 150 * mib
	p.pass(l, 60)
	if p.collections != had+1 {
		t.Errorf("%d collections after a burst of 50 MiB: want 1", p.collections-had)
	}
}

// As many goroutines as visitors wait, each with the stack that its last request
// needed, and what those requests have allocated is garbage.
func TestALullGivesBackWhatABurstHasLeft(t *testing.T) {
	const visitors = 1000
	var quit, waiting = make(chan struct{}), make(chan struct{}, visitors)
	defer close(quit)
	for range visitors {
		go func() {
			deep(16)
			waiting <- struct{}{}
			<-quit
		}()
	}
	for range visitors {
		<-waiting
	}
	burst := measureUsage()
	l := lulls{measure: measureUsage, collect: func() { giveBack(2) }}
	if left := l.settle(burst); burst.mapped-left.mapped < 16*mib {
		t.Errorf("%d MiB of %d are left: want 16 less at least: half the stacks of a thousand visitors, and their garbage",
			left.mapped/mib, burst.mapped/mib)
	}
}

func TestHoweverManyProcessorsItIsCollected(t *testing.T) {
	const cycles = "/gc/cycles/total:gc-cycles" // one that the runtime begins at the same moment will do
	for _, processors := range []int{1, 2} {
		before := readMetrics(cycles)[0]
		giveBack(processors)
		if readMetrics(cycles)[0] == before {
			t.Errorf("%d processors: nothing was collected", processors)
		}
	}
}

//go:noinline
func deep(n int) int {
	var frame [1024]byte
	garbage := make([]byte, 1024)
	if n > 0 {
		n = deep(n - 1)
	}
	runtime.KeepAlive(garbage)
	return n + int(frame[n&1023])
}
