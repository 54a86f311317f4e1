package demo

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// describedFailures is how many failures are told in words.
const describedFailures = 10

// counts is what the visitors saw so far.
type counts struct {
	requests  int
	failures  int
	described []string // the first failures
	hits      int
	misses    int
	bypassed  int
	stale     int // answers past their lifetime, within what the rules allow
	outdated  int // pages of the old version, asked for after the purge was done
	pages     map[string]int
	events    int
	echoes    int
	latency   histogram
}

// hitRatio is the share of hits among the requests that the cache may answer.
func (c counts) hitRatio() float64 {
	if c.hits+c.misses == 0 {
		return 0
	}
	return float64(c.hits) / float64(c.hits+c.misses)
}

// tally counts for all visitors. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts counts
	// purged is when the purge was acknowledged, and current the only version
	// that pages may have from then on.
	purged  time.Time
	current string
}

func newTally() *tally {
	return &tally{counts: counts{pages: make(map[string]int)}}
}

// answered counts a request that got a whole answer.
func (t *tally) answered(took time.Duration, cacheStatus string) {
	o, stale := cacheOutcome(cacheStatus)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.requests++
	t.counts.latency.add(took)
	switch o {
	case hit:
		t.counts.hits++
	case miss:
		t.counts.misses++
	case bypassed:
		t.counts.bypassed++
	}
	if stale {
		t.counts.stale++
	}
}

// asked counts a request whose answer has no end to measure: none came, it was
// cut, or it goes on.
func (t *tally) asked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.requests++
}

// fail counts something that a visitor must never see.
func (t *tally) fail(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failLocked(format, args...)
}

func (t *tally) failLocked(format string, args ...any) {
	t.counts.failures++
	if len(t.counts.described) < describedFailures {
		t.counts.described = append(t.counts.described, fmt.Sprintf(format, args...))
	}
}

// page counts a page by the version it was made by. Only requests that began
// after the acknowledgement can prove a purge wrong.
func (t *tally) page(version string, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.pages[version]++
	if !t.purged.IsZero() && began.After(t.purged) && version != t.current {
		t.counts.outdated++
	}
}

// acknowledge says that the purge was reported done at the given time.
func (t *tally) acknowledge(at time.Time, current string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.purged, t.current = at, current
}

func (t *tally) event() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.events++
}

func (t *tally) echo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.echoes++
}

// now is a copy of the counts.
func (t *tally) now() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.described = slices.Clone(c.described)
	c.pages = maps.Clone(c.pages)
	return c
}
