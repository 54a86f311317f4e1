// Package residency decides which stored answers stay when memory runs short:
// W-TinyLFU (Einziger, Friedman, Manes: TinyLFU: A Highly Efficient Cache
// Admission Policy, ACM Transactions on Storage 13/4, 2017) over bytes.
//
// What is new enters a small window. What leaves the window enters the main
// part only if it was used more often lately than what has to go for it, so a
// scan passes through the window and flushes nothing. How large the window is
// follows the traffic, see Climber.
//
// The structures are plain: whoever owns them locks.
package residency

import "github.com/hashicorp/golang-lru/v2/simplelru"

// Resident is what a List holds. Its Hash never changes; a change of its Bytes
// is told by Resize.
type Resident interface {
	comparable
	Hash() uint64
	Bytes() int64
	// Mark belongs to the List that holds it.
	Mark() *Mark
}

// Mark is where a resident stands. Its zero value stands nowhere.
type Mark struct {
	bytes int64  // as they are counted
	used  uint32 // tick of the last use or, on probation, of its beginning
	part  part
}

type part uint8

const (
	nowhere part = iota
	window
	probation
	protected
	parts
)

// protectedShare of the main part is for what was used again since it got
// there (TinyLFU, 4: 80 %, from the design of segmented LRU). Choose sees to it.
const protectedShare = 0.8

// List is the residents of one share of the hashes.
type List[R Resident] struct {
	lists      [parts]*simplelru.LRU[R, struct{}] // by use; nowhere has none
	bytes      [parts]int64
	sketch     sketch
	uses, adds int // since Count

	past     *Past
	halvings uint32 // of the past that the sketch has followed
	seen     int64  // since the past was told
}

// New makes an empty list. All lists of a store share its past.
func New[R Resident](past *Past) *List[R] {
	l := &List[R]{sketch: newSketch(), past: past}
	for p := window; p < parts; p++ {
		l.lists[p], _ = simplelru.NewLRU[R, struct{}](1<<40, nil) // refuses sizes below one only
	}
	return l
}

// Len is the number of residents.
func (l *List[R]) Len() int {
	return l.lists[window].Len() + l.lists[probation].Len() + l.lists[protected].Len()
}

// Bytes is what the residents take.
func (l *List[R]) Bytes() int64 { return l.bytes[window] + l.main() }

func (l *List[R]) main() int64 { return l.bytes[probation] + l.bytes[protected] }

// Overhead is what the list has come to take, beside what each resident costs.
func (l *List[R]) Overhead() int64 { return l.sketch.bytes() }

// Shrink gives back what an empty list does not need, and returns how much.
func (l *List[R]) Shrink() (bytes int64) {
	if l.Len() > 0 {
		return 0
	}
	bytes = l.sketch.bytes()
	if bytes > 0 {
		l.sketch = newSketch()
	}
	return bytes
}

// Has reports that r is a resident.
func (l *List[R]) Has(r R) bool { return r.Mark().part != nowhere }

// All are the residents.
func (l *List[R]) All() []R {
	all := make([]R, 0, l.Len())
	for p := window; p < parts; p++ {
		all = append(all, l.lists[p].Keys()...)
	}
	return all
}

// Wants is how many bytes a sketch that is large enough for one more resident
// would take more; zero if it is large enough.
func (l *List[R]) Wants() int64 { return l.sketch.wants(l.Len() + 1) }

// Grow makes the sketch that large.
func (l *List[R]) Grow() { l.sketch.grow(l.Len() + 1) }

// Add takes a newcomer in.
func (l *List[R]) Add(r R, tick uint32) {
	l.put(r, window, tick)
	l.adds++
	l.past.residents.Add(1)
	l.see(r)
}

// Added is how many have come since Count.
func (l *List[R]) Added() int { return l.adds }

// Count is how many uses there were, and how many have come, since it was
// called last.
func (l *List[R]) Count() (uses, adds int) {
	uses, adds = l.uses, l.adds
	l.uses, l.adds = 0, 0
	return uses, adds
}

// Replace takes r in where old stood, as what old was used for is what r will
// be used for.
func (l *List[R]) Replace(old, r R, tick uint32) {
	p := old.Mark().part
	if p == nowhere {
		l.Add(r, tick)
		return
	}
	l.take(old)
	l.put(r, p, tick)
	l.use(r)
}

// Use notes a use of a resident; of what has gone meanwhile it takes no note.
func (l *List[R]) Use(r R, tick uint32) {
	if !l.Has(r) {
		return
	}
	r.Mark().used = tick
	l.uses++
	l.use(r)
}

func (l *List[R]) use(r R) {
	l.see(r)
	m := r.Mark()
	if m.part != probation {
		l.lists[m.part].Get(r)
		return
	}
	l.take(r)
	l.put(r, protected, m.used)
}

// see counts one use of a resident in the sketch.
func (l *List[R]) see(r R) {
	l.fade()
	if !l.sketch.see(r.Hash()) {
		return
	}
	if l.seen++; l.seen == reportEvery {
		l.past.count(l.seen)
		l.seen = 0
	}
}

// fade follows the past.
func (l *List[R]) fade() {
	if now := l.past.halvings.Load(); now != l.halvings {
		l.sketch.fade(now - l.halvings)
		l.halvings = now
	}
}

// Renew lets a resident that is on probation stay as long as one that is put on
// it now.
func (l *List[R]) Renew(r R, tick uint32) {
	if m := r.Mark(); m.part == probation {
		m.used = tick
		l.lists[probation].Get(r)
	}
}

// Resize counts a resident's bytes anew.
func (l *List[R]) Resize(r R) {
	if m := r.Mark(); m.part != nowhere {
		l.bytes[m.part] += r.Bytes() - m.bytes
		m.bytes = r.Bytes()
	}
}

// Remove lets a resident go.
func (l *List[R]) Remove(r R) {
	if l.Has(r) {
		l.take(r)
		l.past.residents.Add(-1)
	}
}

func (l *List[R]) take(r R) {
	m := r.Mark()
	l.lists[m.part].Remove(r)
	l.bytes[m.part] -= m.bytes
	m.part = nowhere
}

func (l *List[R]) put(r R, p part, tick uint32) {
	*r.Mark() = Mark{bytes: r.Bytes(), used: tick, part: p}
	l.lists[p].Add(r, struct{}{})
	l.bytes[p] += r.Mark().bytes
}
