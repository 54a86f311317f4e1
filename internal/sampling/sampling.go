// Package sampling chooses which of many alike events are kept, before anything
// is made of them.
package sampling

import (
	"math"
	"sync/atomic"
	"time"
)

// Rate says how many of the events of a second are kept: the First of them, and
// of the others one in Every.
type Rate struct{ First, Every int }

// RateOf keeps the first of each second and about this share of the others. A
// share of zero keeps none of them.
func RateOf(first int, share float64) Rate {
	if share <= 0 {
		return Rate{First: first, Every: math.MaxInt}
	}
	return Rate{First: first, Every: max(1, int(math.Round(1/min(share, 1))))}
}

// keeps reports whether the nth event of a second is kept; the first is 1.
func (r Rate) keeps(n uint32) bool {
	return int(n) <= r.First || (int(n)-r.First)%r.Every == 0
}

// Sampler counts events by a rate. Its methods may be called concurrently.
type Sampler struct {
	rate Rate
	// seen is the second that is counted, in Unix time, and below it how many
	// events it had: one word, so that counting takes no lock.
	seen atomic.Uint64
}

// New makes a sampler that has seen nothing.
func New(rate Rate) *Sampler { return &Sampler{rate: rate} }

// Keep counts an event and reports whether it is kept. Times that go back a
// little may begin a second anew, which keeps more.
func (s *Sampler) Keep(now time.Time) bool {
	second := uint64(uint32(now.Unix())) << 32 //nolint:gosec // only compared
	for {
		before := s.seen.Load()
		next := second | 1
		if before>>32 == second>>32 {
			if uint32(before) == math.MaxUint32 {
				return false
			}
			next = before + 1
		}
		if s.seen.CompareAndSwap(before, next) {
			return s.rate.keeps(uint32(next)) //nolint:gosec // the lower half
		}
	}
}
