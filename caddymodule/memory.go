package caddymodule

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The collector's pace. With the runtime's default, garbage may grow as large
// as what lives: a gateway with an empty cache collects many times a second,
// and one with a full cache takes twice its cap. A fixed amount of garbage
// between two collections serves both.
const (
	garbageBudget = 64 << 20 // bytes of garbage that start a collection
	minPercent    = 15       // of what lives: below, large caches would be marked too often
	maxPercent    = 800
)

var (
	paceOnce sync.Once
	pace     int // the percentage in force; the finalizer's goroutine owns it
)

// paceCollector adapts GOGC after each collection. An operator who sets GOGC
// keeps it.
func paceCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	paceOnce.Do(func() {
		pace = percentFor(liveHeap())
		debug.SetGCPercent(pace)
		armSentinel()
	})
}

// percentFor is the GOGC at which the budget is used up, within bounds.
func percentFor(live uint64) int {
	return int(min(max(garbageBudget*100/max(live, 1<<20), minPercent), maxPercent))
}

// sentinel is garbage from the start: its finalizer runs once in each
// collection, on the runtime's own goroutine.
type sentinel struct{ _ [16]byte }

func armSentinel() {
	runtime.SetFinalizer(new(sentinel), func(*sentinel) {
		// Setting it stops the world for a moment: only when it matters.
		if percent := percentFor(liveHeap()); percent*10 < pace*9 || percent*9 > pace*10 {
			pace = percent
			debug.SetGCPercent(pace)
		}
		armSentinel()
	})
}

// liveHeap is what the last collection found alive.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
