package main

import (
	"container/heap"
	"slices"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/maypok86/otter/v2"
)

// result is how many requests, and how many of their bytes, were hits.
type result struct{ requests, bytes float64 }

// tally counts hits.
type tally struct{ n, hits, bytes, hitBytes int64 }

func (t *tally) add(hit bool, weight int64) {
	t.n++
	t.bytes += weight
	if hit {
		t.hits++
		t.hitBytes += weight
	}
}

func (t *tally) result() result {
	return result{requests: float64(t.hits) / float64(t.n), bytes: float64(t.hitBytes) / float64(t.bytes)}
}

// plainLRU is one list by last use over all bytes.
func plainLRU(t *trace, weight func(int32) int64, capacity int64) result {
	list, _ := simplelru.NewLRU[int32, struct{}](1<<40, nil) // refuses sizes below one only
	used, sum := int64(0), tally{}
	for _, o := range t.objects {
		_, hit := list.Get(o)
		sum.add(hit, weight(o))
		if hit || weight(o) > capacity {
			continue
		}
		for used+weight(o) > capacity {
			oldest, _, _ := list.RemoveOldest()
			used -= weight(oldest)
		}
		list.Add(o, struct{}{})
		used += weight(o)
	}
	return sum.result()
}

// otterCache is otter's W-TinyLFU, with its maintenance on the caller's
// goroutine so that the order of requests is the order it sees.
func otterCache(t *trace, weight func(int32) int64, capacity int64) result {
	cache := otter.Must(&otter.Options[int32, int32]{
		MaximumWeight: uint64(capacity),
		Weigher:       func(o, _ int32) uint32 { return uint32(weight(o)) },
		Executor:      func(f func()) { f() },
	})
	sum := tally{}
	for _, o := range t.objects {
		_, hit := cache.GetIfPresent(o)
		sum.add(hit, weight(o))
		if !hit {
			cache.Set(o, o)
		}
		cache.CleanUp()
	}
	return sum.result()
}

// never is when an object is asked for next that is not.
const never = 1 << 60

// clairvoyant is what the best of all policies reaches with objects of equal
// size: of those at hand and the one just asked for, it leaves out the one that
// is asked for last (Belady's MIN, with the right to leave out).
func clairvoyant(t *trace, entries int) float64 {
	next := make([]int, len(t.objects))
	seen := make([]int, len(t.sizes))
	for i := range seen {
		seen[i] = never
	}
	for i := len(t.objects) - 1; i >= 0; i-- {
		next[i], seen[t.objects[i]] = seen[t.objects[i]], i
	}
	kept := make([]int, len(t.sizes)) // when it is asked for next; zero if it is not kept
	var byNext latest
	hits, n := 0, 0
	for i, o := range t.objects {
		if kept[o] > 0 {
			hits++
		} else {
			n++
		}
		kept[o] = next[i]
		heap.Push(&byNext, use{object: o, at: next[i]})
		for n > entries {
			last := heap.Pop(&byNext).(use)
			if kept[last.object] == last.at { // else it has been asked for since
				kept[last.object] = 0
				n--
			}
		}
	}
	return float64(hits) / float64(len(t.objects))
}

type use struct {
	object int32
	at     int
}

// latest is a heap with the latest use on top.
type latest []use

func (l latest) Len() int           { return len(l) }
func (l latest) Less(i, j int) bool { return l[i].at > l[j].at }
func (l latest) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *latest) Push(x any)        { *l = append(*l, x.(use)) }
func (l *latest) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}

// pfoo is a bound on what any policy reaches with objects of unequal size:
// PFOO-U (Berger, Beckmann, Harchol-Balter: Practical Bounds on Optimal Caching
// with Variable Object Sizes, 2018). It takes the cheapest intervals between two
// requests for an object, by size times length, as far as the cache's space
// times the trace's length goes.
func pfoo(t *trace, weight func(int32) int64, capacity int64) float64 {
	last := make([]int, len(t.sizes))
	var costs []float64
	for i, o := range t.objects {
		if before := last[o]; before > 0 {
			costs = append(costs, float64(i+1-before)*float64(weight(o)))
		}
		last[o] = i + 1
	}
	slices.Sort(costs)
	room, hits := float64(capacity)*float64(len(t.objects)), 0
	for _, cost := range costs {
		if room -= cost; room < 0 {
			break
		}
		hits++
	}
	return float64(hits) / float64(len(t.objects))
}
