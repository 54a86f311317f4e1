package httpcache

import (
	"math"
	"sync/atomic"
)

const (
	// markCost is what a mark takes beside its key: the list's element, and a
	// slot with a string of the map.
	markCost = 96 + 58
	// markShare of the memory, one part in so many, is what the marks of purges
	// may take, and those of groups as much: or a small store would have no room
	// for anything else.
	markShare = 16
)

// markBytes is what a mark takes with its key.
func markBytes(key string) int64 { return managed(int64(markCost + allocated(len(key)))) }

// markWeight is what some marks take. It is told under the lock of the marks.
type markWeight struct {
	held  int64
	most  atomic.Int64
	total *atomic.Int64 // of all that takes memory
}

func newMarkWeight(total *atomic.Int64) *markWeight {
	w := &markWeight{total: total}
	w.most.Store(math.MaxInt64)
	return w
}

func (w *markWeight) add(n int64) {
	w.held += n
	w.total.Add(n)
}

func (w *markWeight) tooMuch() bool { return w.held > w.most.Load() }

// bound says how much marks may take, from the next purge on.
func (f *fence) bound(maxBytes int64) {
	f.weight.most.Store(maxBytes / markShare)
	f.groups.weight.most.Store(maxBytes / markShare)
}
