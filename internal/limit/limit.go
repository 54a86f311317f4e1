// Package limit says whether somebody may do something once more: so many times within
// a window, the whole of it at once if need be. It remembers one moment for each who
// asks, and a bounded number of those.
package limit

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// MaxKeys is how many are remembered. Who falls out, the one that asked longest ago,
// begins anew.
const MaxKeys = 100_000

// Limiter is the generic cell rate algorithm, as in a leaky bucket. It is safe for
// concurrent use.
type Limiter struct {
	mu sync.Mutex
	// done is when what a key has been allowed is worked off, at the rate.
	done *simplelru.LRU[string, time.Time]
}

// New remembers nobody.
func New(keys int) *Limiter {
	done, err := simplelru.NewLRU[string, time.Time](max(1, keys), nil)
	if err != nil {
		panic("limit: " + err.Error()) // it refuses sizes below one only
	}
	return &Limiter{done: done}
}

// Allow reports whether a key may act now, if events within a window are allowed, and
// how long it has to wait if not.
func (l *Limiter) Allow(key string, events int, window time.Duration, now time.Time) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before, _ := l.done.Get(key)
	after, wait := next(before, events, window, now)
	if wait > 0 {
		return false, wait
	}
	l.done.Add(key, after)
	return true, 0
}

// next is when all will be worked off after one more, or how long to wait for that.
func next(done time.Time, events int, window time.Duration, now time.Time) (after time.Time, wait time.Duration) {
	switch latest := now.Add(window); {
	case done.Before(now):
		done = now
	case done.After(latest): // the clock was set back
		done = latest
	}
	after = done.Add(window / time.Duration(events))
	return after, max(0, after.Sub(now)-window)
}

// Len is how many are remembered.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done.Len()
}
