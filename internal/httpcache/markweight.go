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
	// room reserves bytes, if there are as many to be had; nil for whoever counts
	// alone.
	room func(n int64) bool
	// paid is what was reserved for the marks that are being made.
	paid int64
}

func newMarkWeight(total *atomic.Int64) *markWeight {
	w := &markWeight{total: total}
	w.most.Store(math.MaxInt64)
	return w
}

func (w *markWeight) add(n int64) {
	w.held += n
	if n > 0 {
		used := min(n, w.paid)
		w.paid -= used
		n -= used
	}
	w.total.Add(n)
}

// prepay makes room for marks before their lock is held, so that what takes memory is
// at no moment more than may be. A purge happens all the same when there is none: fills
// in flight have it.
func (w *markWeight) prepay(keys []string) (paid int64) {
	for _, key := range keys {
		paid += markBytes(key)
	}
	paid = min(paid, w.most.Load()) // beyond that, older ones fall out
	if w.room == nil || paid == 0 || !w.room(paid) {
		return 0
	}
	return paid
}

// spend lets add use what was paid. What is left goes back by settle.
func (w *markWeight) spend(paid int64) { w.paid = paid }

func (w *markWeight) settle() {
	w.total.Add(-w.paid)
	w.paid = 0
}

func (w *markWeight) tooMuch() bool { return w.held > w.most.Load() }

// bound says how much marks may take, from the next purge on.
func (f *fence) bound(maxBytes int64) {
	f.weight.most.Store(maxBytes / markShare)
	f.groups.weight.most.Store(maxBytes / markShare)
}
