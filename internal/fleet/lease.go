package fleet

import "time"

// A member may use what it holds for as long as its lease lasts; the others wait
// for its word as long. The two are told by different clocks, and nobody's hour
// is compared with anybody else's:
//
//	member                            another
//	1. sends a renewal, at s
//	                                  2. Redis has it
//	                                  3. first sees it, at o, later than s
//	4. until s + 9/10 lease: may
//	   use what it holds
//	                                  5. from o + lease: may take the member off,
//	                                     if no other renewal has come
//
// Since o is later than s, 4 ends before 5 begins unless one clock runs a tenth
// slower than the other. A renewal that arrives after 5 finds the member gone:
// it has to join anew, and to catch up first.

// trustFor is how long a renewal lets its sender use what it holds.
func trustFor(lease time.Duration) time.Duration { return lease - lease/10 }

// beatEvery is the time from one renewal to the next.
func beatEvery(lease time.Duration) time.Duration { return lease / 4 }

// grant is the leave to use what this node holds.
type grant struct {
	sent  time.Time // when the renewal that gave it was sent
	lasts time.Duration
}

// left is how much of it is left. A machine that sleeps stops the clock that Go
// goes by, but not the time of day, so whichever has gone further counts. That
// the time of day may be set back does no harm then, nor that it may be set
// forward: the next renewal makes up for it.
func (g *grant) left(now time.Time) time.Duration {
	if g == nil {
		return 0
	}
	passed := max(now.Sub(g.sent), now.Round(0).Sub(g.sent.Round(0)))
	return g.lasts - passed
}

// sighting is a member's latest renewal, and when it was first seen here.
type sighting struct {
	beat  string
	since time.Time
}

// watch is what a member knows of the others' renewals.
type watch map[string]sighting

// observe takes note of a view that arrived at now, and gives those members whose
// lease has ended for certain.
func (w watch) observe(v View, self string, lease time.Duration, now time.Time) (ended []Seen) {
	present := make(map[string]bool, len(v.Members))
	for _, m := range v.Members {
		if m.ID == self {
			continue
		}
		present[m.ID] = true
		last, known := w[m.ID]
		switch {
		case !known || last.beat != m.Beat:
			w[m.ID] = sighting{beat: m.Beat, since: now}
		case now.Sub(last.since) >= lease:
			ended = append(ended, m)
		}
	}
	for id := range w {
		if !present[id] {
			delete(w, id)
		}
	}
	return ended
}

// place is how far a node has followed which log.
type place struct {
	Incarnation string `json:"incarnation"`
	Position    uint64 `json:"position"`
}

// resume says from where a node that has just joined follows the log, and
// whether it must first give up everything that it holds. trusted says that its
// grant still lasts, now that it has joined.
//
// Redis may have lost what it knew, orders among it that were acknowledged; then
// it counts anew, in another incarnation. A node whose grant lasts has missed
// none of the lost ones: nobody could take it off before, so each was applied
// here before it was acknowledged. Of the new log nothing is acknowledged before
// its grant has ended (see settle), so it follows that from the begin.
func resume(at place, v View, trusted bool) (from uint64, forget bool) {
	switch {
	case at.Incarnation == v.Incarnation && at.Position <= v.Position:
		return at.Position, false
	case trusted:
		return 0, false
	}
	return v.Position, true
}

// settles reports that an incarnation which was first seen at since has lasted
// so long that no grant from before it lasts any more: each was sent before.
func settles(since, now time.Time, lease time.Duration) bool { return now.Sub(since) >= lease }

// acknowledged counts the members that have applied the order at a position, and
// names those that have not. An order is acknowledged when nobody is waited for
// and the incarnation has settled; whoever joins later begins above it.
func acknowledged(v View, position uint64) (applied int, waiting []string) {
	for _, m := range v.Members {
		if m.Applied >= position {
			applied++
			continue
		}
		waiting = append(waiting, m.Name)
	}
	return applied, waiting
}

// undrained counts the other members where exchanges from before the order at a
// position may still be under way.
func undrained(v View, self string, position uint64) int {
	n := 0
	for _, m := range v.Members {
		if m.ID != self && m.Drained < position {
			n++
		}
	}
	return n
}
