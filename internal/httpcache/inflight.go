package httpcache

import (
	"sync"
	"sync/atomic"
)

// cohort counts the exchanges in flight that began at one generation.
type cohort struct {
	generation uint64
	running    atomic.Int64
}

// leave ends an exchange's membership.
func (c *cohort) leave() { c.running.Add(-1) }

// End is leave, for those who use a Repeat.
func (c *cohort) End() { c.leave() }

// census keeps a cohort for each generation that still has exchanges in flight.
type census struct {
	current atomic.Pointer[cohort]

	mu   sync.Mutex
	past []*cohort
}

func newCensus() *census {
	c := &census{}
	c.current.Store(&cohort{})
	return c
}

// join stamps an exchange that begins now. Joining counts first and checks
// afterwards that the cohort is still the current one, because otherwise:
//
//	A: loads cohort 4               B: purge: current becomes 5
//	                                B: drained(5): cohort 4 counts nobody
//	A: counts itself in cohort 4, which nobody waits for
func (c *census) join() *cohort {
	for {
		now := c.current.Load()
		now.running.Add(1)
		if c.current.Load() == now {
			return now
		}
		now.leave()
	}
}

// advance opens the cohort of a new generation. The fence has already been
// raised, so whoever joins it began after the purge.
func (c *census) advance(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load().generation >= generation {
		return // two purges at once, and the later one came first
	}
	c.past = append(c.past, c.current.Swap(&cohort{generation: generation}))
	c.pruneLocked()
}

// before counts the exchanges in flight that began before a generation.
func (c *census) before(generation uint64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pruneLocked()
	total := int64(0)
	for _, old := range c.past {
		if old.generation < generation {
			total += old.running.Load()
		}
	}
	if now := c.current.Load(); now.generation < generation {
		total += now.running.Load()
	}
	return int(total)
}

// pruneLocked drops cohorts without members. One may be joined for an instant
// afterwards by an exchange that is about to notice, and leave again.
func (c *census) pruneLocked() {
	kept := c.past[:0]
	for _, old := range c.past {
		if old.running.Load() > 0 {
			kept = append(kept, old)
		}
	}
	clear(c.past[len(kept):])
	c.past = kept
}
