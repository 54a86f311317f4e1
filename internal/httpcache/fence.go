package httpcache

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/edgegw/edge/internal/cacherules"
)

const (
	// maxMarks is how many selectors the fence remembers.
	maxMarks = 100_000
	// maxApplied is how many orders it can translate into local generations.
	maxApplied = 1024
)

// Purge is an order to give up what began before it. Selectors add up. URLs are
// absolute; their scheme and port are ignored, and so is how they are
// percent-encoded. A prefix is host/path, and matches every path that begins
// like it, at a slash or not. Hosts have no port. Tags are compared in their
// canonical form, versions exactly.
type Purge struct {
	// Generation is the order's number in the fleet; zero for none.
	Generation uint64
	// Soft leaves copies as validators and for stale-if-error.
	Soft                                  bool
	Everything                            bool
	URLs, Tags, Prefixes, Hosts, Versions []string
}

// barrier is what an answer must not have begun before: below hard it is gone,
// below soft it is stale.
type barrier struct{ hard, soft uint64 }

func (b barrier) join(other barrier) barrier {
	return barrier{hard: max(b.hard, other.hard), soft: max(b.soft, other.soft)}
}

// standing is what the fence thinks of an answer.
type standing uint8

const (
	standsFirm standing = iota // serve it as RFC 9111 says
	softPurged                 // a validator, and for stale-if-error
	hardPurged                 // as if it had never been
	distrusted                 // this node may have missed a purge of it
)

// fence compares generations (DESIGN §6.2). Every exchange and every fill is
// stamped with the generation at its begin. A purge raises the generation to g
// and sets marks at g for its selectors; what began before g and matches is
// behind the fence from then on, wherever it is: stored, being fetched, or
// being confirmed.
//
//	A: a fill begins, stamped 4       B: purge of its tag
//	                                  generation 5, mark 5 on the tag
//	A: the answer comes, 4 < 5:
//	   it is not stored
//
// Marks are bounded. When there are too many the oldest falls out, and the
// floor for everything rises to it: too much is purged, never too little.
type fence struct {
	// generation rises with every purge, after the marks are set, so an entry
	// once found standing at a generation stands as long as that lasts.
	generation atomic.Uint64

	// ordering is held for the whole of a purge, so that each is durable and
	// applied before the next one gets its number.
	ordering sync.Mutex
	// durable is handed each marking before it is applied; nil for nobody.
	durable func(marking)

	// groups is a barrier of its own, which purges do not touch.
	groups *groups
	weight *markWeight

	mu    sync.RWMutex
	marks *simplelru.LRU[string, barrier] // kind and value → barrier; Peek only under RLock
	floor barrier
	// unknown is the barrier of all tags and versions together: an answer that
	// is not there yet may belong to any of them.
	unknown barrier
	// lengths counts the prefix marks of each length; sorted lists the lengths.
	lengths map[int]int
	sorted  []int
	applied *simplelru.LRU[uint64, uint64] // order's generation → local generation
}

// Kinds of marks, the first byte of their key.
const (
	markHost    = "h"
	markURL     = "u"
	markPrefix  = "p"
	markTag     = "t"
	markVersion = "v"
)

// newFence takes the bytes of marks into account of who bounds memory.
func newFence(marks int, total *atomic.Int64) *fence {
	f := &fence{lengths: make(map[int]int), groups: newGroups(marks, total), weight: newMarkWeight(total)}
	f.marks = newLRU(marks, f.dropMark)
	f.applied = newLRU[uint64, uint64](maxApplied, nil)
	return f
}

// newLRU is simplelru.NewLRU, which refuses sizes below one only.
func newLRU[K comparable, V any](size int, evicted func(K, V)) *simplelru.LRU[K, V] {
	list, err := simplelru.NewLRU(max(1, size), simplelru.EvictCallback[K, V](evicted))
	if err != nil {
		panic("httpcache: " + err.Error())
	}
	return list
}

// dropMark raises the floor to a mark that falls out. mu is held.
func (f *fence) dropMark(key string, b barrier) {
	f.floor = f.floor.join(b)
	f.weight.add(-markBytes(key))
	if prefix, ok := strings.CutPrefix(key, markPrefix); ok {
		f.lengths[len(prefix)]--
		if f.lengths[len(prefix)] == 0 {
			delete(f.lengths, len(prefix))
			f.sorted = slices.Sorted(maps.Keys(f.lengths))
		}
	}
}

// marking is what a purge does to the fence.
type marking struct {
	generation uint64
	order      uint64 // the order's number in the fleet; zero for none
	barrier    barrier
	everything bool
	// unknown: it names what is not known before the answer comes. That matters
	// to fetches under way only, so it need not be durable.
	unknown bool
	keys    []string
	paid    int64 // for the memory of the keys: see markWeight.prepay
}

// purge sets the marks and raises the generation, which it returns. The new
// one is above every generation that any exchange can have been stamped with,
// even if orders of the fleet arrive out of order or twice. The marking is made
// durable first:
//
//	A: purge raises the generation to 5   B: a fetch begins, stamped 5
//	A: crashes before 5 is on disk        B: its answer is
//
// After the restart the next purge would be 5 again, and the answer of 5 would
// stand, though it is older.
func (f *fence) purge(p Purge) uint64 {
	keys := keysOf(p)
	paid := f.weight.prepay(keys)
	f.ordering.Lock()
	defer f.ordering.Unlock()
	m := f.plan(p)
	m.keys, m.paid = keys, paid
	if f.durable != nil {
		f.durable(m)
	}
	f.apply(m)
	return m.generation
}

// plan says what a purge will do. ordering is held.
func (f *fence) plan(p Purge) marking {
	m := marking{generation: max(p.Generation, f.generation.Load()+1), order: p.Generation, everything: p.Everything}
	m.barrier.hard = m.generation
	if p.Soft {
		m.barrier = barrier{soft: m.generation}
	}
	m.unknown = len(p.Tags) > 0 || len(p.Versions) > 0
	return m
}

// keysOf are the marks of a purge.
func keysOf(p Purge) (keys []string) {
	for _, host := range p.Hosts {
		keys = append(keys, markHost+placeOf(host, "").hostName())
	}
	for _, url := range p.URLs {
		keys = append(keys, markURL+placeOfURL(url).url)
	}
	for _, prefix := range p.Prefixes {
		at := placeOfURL(prefix)
		keys = append(keys, markPrefix+at.url[:at.path])
	}
	for _, tag := range p.Tags {
		keys = append(keys, markTag+cacherules.CanonicalTag(tag))
	}
	for _, version := range p.Versions {
		keys = append(keys, markVersion+version)
	}
	return keys
}

func (f *fence) apply(m marking) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.weight.spend(m.paid)
	defer f.weight.settle()
	if m.everything {
		f.floor = f.floor.join(m.barrier)
	}
	if m.unknown {
		f.unknown = f.unknown.join(m.barrier)
	}
	for _, key := range m.keys {
		f.markLocked(key, m.barrier)
	}
	if m.order > 0 {
		f.applied.Add(m.order, m.generation)
	}
	f.generation.Store(m.generation)
}

func (f *fence) markLocked(key string, b barrier) {
	old, known := f.marks.Peek(key)
	if prefix, ok := strings.CutPrefix(key, markPrefix); ok && !known {
		f.lengths[len(prefix)]++
		f.sorted = slices.Sorted(maps.Keys(f.lengths))
	}
	if !known {
		f.weight.add(markBytes(key))
	}
	f.marks.Add(key, b.join(old))
	for f.weight.tooMuch() && f.marks.Len() > 1 {
		f.marks.RemoveOldest()
	}
}

// local is the generation at which an order was applied here.
func (f *fence) local(order uint64) uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if generation, ok := f.applied.Peek(order); ok {
		return generation
	}
	return order
}

// provenance is what the fence judges by. Fingerprinted answers have no
// version here: they outlive it.
type provenance struct {
	// place, or the key that it follows from.
	place   place
	key     string
	tags    tagList // canonical
	version string
	groups  *membership // nil for none
}

func (p *provenance) at() place {
	if p.key != "" && p.place.url == "" {
		return placeOfKey(p.key)
	}
	return p.place
}

// judge says where an answer that began at a generation stands, and the
// generation for which that holds.
func (f *fence) judge(p provenance, began uint64) (standing, uint64) {
	b, generation := f.barrierOf(p)
	if f.groups.gaveUp(p.groups) {
		return hardPurged, generation
	}
	return b.standing(began), generation
}

func (b barrier) standing(began uint64) standing {
	switch {
	case began < b.hard:
		return hardPurged
	case began < b.soft:
		return softPurged
	}
	return standsFirm
}

// mayStand reports that an answer of which only the place is known, since its
// header is not there yet, will stand firm whatever it turns out to belong to.
// Who would wait for another one could wait in vain, and for long.
func (f *fence) mayStand(at place, began uint64) bool {
	b, _ := f.barrierOf(provenance{place: at})
	f.mu.RLock()
	defer f.mu.RUnlock()
	return b.join(f.unknown).standing(began) == standsFirm
}

// barrierOf is the highest of the barriers of everything an answer belongs to.
func (f *fence) barrierOf(p provenance) (barrier, uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b := f.floor
	look := func(kind, value string) {
		if found, ok := f.marks.Peek(kind + value); ok {
			b = b.join(found)
		}
	}
	if f.marks.Len() > 0 {
		at := p.at()
		look(markHost, at.hostName())
		look(markURL, at.url)
		for _, length := range f.sorted {
			if length > at.path {
				break
			}
			look(markPrefix, at.url[:length])
		}
		for tag := range p.tags.all() {
			look(markTag, tag)
		}
		if p.version != "" {
			look(markVersion, p.version)
		}
	}
	return b, f.generation.Load()
}

func (p place) hostName() string { return p.url[:p.host] }
