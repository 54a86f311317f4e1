package main

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// tally counts what visitors saw. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	asked  map[*kind]int
	took   map[*kind][]time.Duration // of those that got their whole answer
	ends   map[*kind]map[string]int  // how streams ended, in order
	events map[*kind]int             // what came over streams
	losses []loss
}

func newTally() *tally {
	return &tally{
		asked: make(map[*kind]int), took: make(map[*kind][]time.Duration),
		ends: make(map[*kind]map[string]int), events: make(map[*kind]int),
	}
}

func (t *tally) answered(k *kind, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[k]++
	t.took[k] = append(t.took[k], took)
}

func (t *tally) lost(l loss) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[l.kind]++
	t.losses = append(t.losses, l)
}

// ended counts a stream that ended in order.
func (t *tally) ended(k *kind, how string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked[k]++
	if t.ends[k] == nil {
		t.ends[k] = make(map[string]int)
	}
	t.ends[k][how]++
}

// event counts one event of a stream, or one echo.
func (t *tally) event(k *kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events[k]++
}

// judge gives every loss its verdict.
func (t *tally) judge(lives []life) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.losses {
		t.losses[i].verdict = t.losses[i].judge(lives)
	}
	for _, took := range t.took {
		slices.Sort(took)
	}
}

// of counts the losses of a kind by verdict.
func (t *tally) of(k *kind) map[verdict]int {
	counts := make(map[verdict]int)
	for _, l := range t.losses {
		if l.kind == k {
			counts[l.verdict]++
		}
	}
	return counts
}

// faults are the losses that are the gateway's fault, the first ones first.
func (t *tally) faults() (faults []loss) {
	for _, l := range t.losses {
		if l.verdict == fault {
			faults = append(faults, l)
		}
	}
	slices.SortFunc(faults, func(a, b loss) int { return cmp.Compare(a.began.UnixNano(), b.began.UnixNano()) })
	return faults
}
