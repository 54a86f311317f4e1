package residency

import "math"

// enough residents make a list's own choice about as good as one among all
// lists.
const enough = 128

// Alone reports that a list may choose by itself what goes: it has enough
// residents, and not much less than its share of all bytes.
func (l *List[R]) Alone(total int64, lists int) bool {
	return l.Len() >= enough && l.Bytes() >= total/int64(2*lists)
}

// Bid is what a list would part with, at one moment.
type Bid[R Resident] struct {
	window, main, protected int64
	// candidate leaves the window next, victim is next to go of those on
	// probation, elder of the protected.
	candidate, victim, elder lot[R]
}

type lot[R Resident] struct {
	r     R
	there bool
	used  uint32
	bytes int64
	often int
}

// Bid tells what the list would part with.
func (l *List[R]) Bid() Bid[R] {
	l.fade()
	return Bid[R]{
		window: l.bytes[window], main: l.main(), protected: l.bytes[protected],
		candidate: l.oldest(window), victim: l.oldest(probation), elder: l.oldest(protected),
	}
}

func (l *List[R]) oldest(p part) lot[R] {
	r, _, ok := l.lists[p].GetOldest()
	if !ok {
		return lot[R]{}
	}
	return lot[R]{r: r, there: true, used: r.Mark().used, bytes: r.Bytes(), often: l.sketch.often(r.Hash())}
}

// Prove puts a resident on probation: one of the window, which so gets into the
// main part, or of the protected.
func (l *List[R]) Prove(r R, tick uint32) {
	if p := r.Mark().part; p == window || p == protected {
		l.take(r)
		l.put(r, probation, tick)
	}
}

// Step is what to do for more room: prove two, renew one, then evict one. Each is
// the zero R where there is none; with neither one to admit nor one to evict
// there is nothing to evict.
type Step[R Resident] struct {
	Demote, Admit, Renew, Evict R
}

// Choose takes one step towards room for so many bytes to come in, given the
// bids of all lists that take part and the window's share of their bytes.
//
// The lists are treated as parts of one: what has few residents would otherwise
// protect nearly all it has, and offer what is hot.
func Choose[R Resident](bids []Bid[R], share float64, incoming int64) (s Step[R]) {
	var all Bid[R]
	for i := range bids {
		all.window += bids[i].window
		all.main += bids[i].main
		all.protected += bids[i].protected
		all.candidate = older(all.candidate, bids[i].candidate)
		all.victim = older(all.victim, bids[i].victim)
		all.elder = older(all.elder, bids[i].elder)
	}
	c, v := all.candidate, all.victim
	switch {
	case !v.there:
		v = all.elder
	case float64(all.protected) > protectedShare*float64(all.main):
		s.Demote = all.elder.r
	}
	total := float64(all.window + all.main)
	switch {
	case !c.there && !v.there:
	case !c.there || v.there && float64(all.window+incoming) <= share*total:
		s.Evict = v.r
	case float64(all.main+c.bytes) <= (1-share)*total && !intrudes(c, v):
		s.Admit = c.r // there is room for it
	case v.there && worthMore(c, v):
		s.Admit, s.Evict = c.r, v.r
	default:
		// The next candidate meets another victim. Else one that was popular once
		// would keep out all that is new until its past has faded. An elder is not
		// on probation, and Renew leaves it alone.
		s.Evict, s.Renew = c.r, v.r
	}
	return s
}

func older[R Resident](a, b lot[R]) lot[R] {
	if !b.there || a.there && int32(b.used-a.used) >= 0 {
		return a
	}
	return b
}

// intrudes reports that there is no room for a candidate just because the main
// part has some: it is larger than a victim that is worth more. What is larger
// than the window pushes several out of the main part as it comes in, and would
// inherit their room; a few large objects asked for once would fill a small
// cache. That a candidate is weighed against those whose room it takes is from
// Einziger, Eytan, Friedman, Manes: Lightweight Robust Size Aware Cache
// Management, 2021. Objects of one size never intrude.
func intrudes[R Resident](c, v lot[R]) bool {
	return v.there && c.bytes > v.bytes && worthMore(v, c)
}

// worthMore reports that a candidate is worth more than a victim: it was used
// more often lately, and takes less. Size counts by its fourth root: more would
// gain requests and lose bytes, less the other way round (bench/hitratio).
func worthMore[R Resident](c, v lot[R]) bool {
	return float64(c.often)*root4(v.bytes) > float64(v.often)*root4(c.bytes)
}

func root4(n int64) float64 { return math.Sqrt(math.Sqrt(float64(n))) }
