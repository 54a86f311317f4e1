package lb

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The adaptive limit finds out how many requests at a time do a process good.
// More only wait inside it, where they cost memory and switches; here they wait
// in order, and are told in time when there is no hope.
//
// It is a gradient limit, as Envoy's adaptive concurrency and Netflix's
// concurrency-limits: a window's median latency is compared with the latency of
// the process when it is not crowded, and
//
//	limit = limit · clamp(tolerance · uncrowded / median, 1/2, 1) + √limit
//
// The uncrowded latency is the least median of the last ten seconds. To keep it
// honest while the process is always crowded, the limit is halved for a window
// before it would be forgotten (BBR's ProbeRTT; Cardwell et al., 2016): what has
// a queue of its own loses nothing by that.
const (
	limitWindow    = int64(250 * time.Millisecond) // the shortest
	limitSamples   = 64                            // at most in a window
	fewestSamples  = 16                            // at least
	limitTolerance = 1.5
	limitFloor     = 4
	limitMemory    = int64(10 * time.Second)
)

// limiter is the adaptive limit of one process.
type limiter struct {
	value   atomic.Int64 // 0: as configured
	crowded atomic.Bool  // somebody came close to the limit in this window

	mu        sync.Mutex
	limit     float64
	began     int64
	count     int
	samples   [limitSamples]float64
	uncrowded float64
	learnt    int64 // when uncrowded was
	probing   bool  // this window's limit is halved
}

// allows is how many requests at a time the process may have, of most.
func (l *limiter) allows(most int64) int64 {
	if v := l.value.Load(); v > 0 {
		return min(v, most)
	}
	return most
}

// observe learns from an answer that took so many milliseconds, while inflight
// requests were there.
func (l *limiter) observe(now int64, ms float64, inflight, most int64) {
	if 2*inflight >= l.allows(most) {
		l.crowded.Store(true)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began == 0 {
		l.began, l.limit = now, float64(most)
	}
	l.samples[l.count%limitSamples] = ms
	l.count++
	if now-l.began < limitWindow || l.count < fewestSamples {
		return
	}
	seen := l.samples[:min(l.count, limitSamples)]
	slices.Sort(seen)
	l.closeLocked(now, seen[len(seen)/2], float64(most))
	l.began, l.count = now, 0
	l.crowded.Store(false)
}

// closeLocked ends a window with this median.
func (l *limiter) closeLocked(now int64, median, most float64) {
	crowded := l.crowded.Load()
	old := !crowded && now-l.learnt > limitMemory
	// The least; or what it is with half as many; or what cannot be our doing.
	if l.uncrowded == 0 || median <= l.uncrowded || l.probing || l.limit <= limitFloor || old {
		l.uncrowded, l.learnt = median, now
	}
	was := l.probing
	l.probing = false
	if was {
		l.value.Store(int64(l.limit)) // As before the probe.
		return
	}
	l.limit = nextLimit(l.limit, median, l.uncrowded, crowded, most)
	if crowded && l.limit < most && now-l.learnt > limitMemory {
		l.probing = true
		l.value.Store(max(limitFloor, int64(l.limit/2)))
		return
	}
	l.value.Store(int64(l.limit))
}

// nextLimit is the limit after a window.
func nextLimit(limit, median, uncrowded float64, crowded bool, most float64) float64 {
	gradient := 1.0
	if crowded {
		gradient = min(1, max(0.5, limitTolerance*uncrowded/median))
	}
	return min(most, max(limitFloor, limit*gradient+math.Sqrt(limit)))
}
