package caddymodule

import "github.com/edgegw/edge/internal/httpcache"

// The process may have 15 % more than the cache's cap: for garbage between two
// collections, for what the runtime needs, and for everything that is no answer.
// Where that does not suffice, first there is less garbage; then the cache gives
// up a part of its own, up to a quarter. What is beyond that, as with a cap of a
// few MiB or with very many connections, is on top.
const (
	processShare = 0.15
	// processMargin is kept free, of the cap, against what changes between two
	// looks: on a machine with far too much to do a collection takes seconds.
	processMargin = 0.06
	// usualOutside is what the process has beside the runtime's memory, where
	// that cannot be seen: the program's own pages, for the most part.
	usualOutside = 48 << 20
)

// Garbage that starts a collection. With the runtime's default, as much as
// lives, a gateway with an empty cache collects many times a second, and one
// with a full cache takes twice its cap.
const (
	garbage      = 64 << 20
	garbageShare = 15 // percent of what lives; the larger of the two counts
	// leastGarbage, and one part in leastGarbageShare of what lives or may, is
	// always left. A limit without it is how collectors come to run without end:
	// each finds that almost everything lives, and the next one is due.
	leastGarbage      = 32 << 20
	leastGarbageShare = 12
	// slack is what fragments and stacks may take beside, one part in so many.
	slack = 16

	// mostPercent of the 4 MiB with which the runtime begins is garbage.
	leastPercent, mostPercent = 5, 1600
)

// memoryState is what a process has, in bytes, just after a collection.
type memoryState struct {
	live     int64 // found by the collection
	mapped   int64 // by the runtime, and not given back
	resident int64 // all that the process has
	cap      int64 // on the cache; zero without one
	bytes    int64 // that the cache accounts for
	yielded  int64 // so far
	limit    int64 // on mapped, that was there before
}

// budget is what to do about it.
type budget struct {
	percent int   // GOGC
	limit   int64 // GOMEMLIMIT
	yield   int64 // of the cache's cap
}

// budget decides.
func (m memoryState) budget() budget {
	least := max(leastGarbage, max(m.live, m.cap)/leastGarbageShare)
	most := max(garbage, m.live*garbageShare/100, least)
	b := budget{limit: m.limit}
	room := most
	if m.cap > 0 {
		outside := m.resident - m.mapped
		allowed := min(m.cap+m.extra(), saturated(m.limit, outside))
		room = min(max(allowed-outside-m.live-m.live/slack, least), most)
		floor := m.live + m.live/slack + least
		b.limit = min(m.limit, max(allowed-outside, floor))
		b.yield = m.yield(allowed)
	}
	b.percent = int(min(max(room*100/max(m.live, 1<<20), leastPercent), mostPercent))
	return b
}

// extra is what the process may have beside the cap.
func (m memoryState) extra() int64 { return int64(float64(m.cap) * (processShare - processMargin)) }

// yield is what the cache has to give up, so that with a full cache all fits
// into what is allowed: more of it at once, less of it slowly.
func (m memoryState) yield(allowed int64) int64 {
	beside := m.resident - m.bytes
	wanted := min(max(0, beside-(allowed-m.cap)), m.cap/httpcache.MostYield)
	return max(wanted, m.yielded-(m.yielded-wanted)/64-1, 0)
}

// saturated adds two numbers of which the first may be the largest there is.
func saturated(limit, more int64) int64 {
	if sum := limit + more; sum >= limit {
		return sum
	}
	return limit
}
