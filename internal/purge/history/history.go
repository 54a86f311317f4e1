// Package history decides whether what visitors read is in keeping with the
// purges and deploys that were acknowledged meanwhile. It is handed what was
// recorded, and knows nothing of how: tests and benchmarks share it.
//
// A purge is an operation on a register: from some moment between its call and
// its acknowledgement on, no reader may get an answer made before the call. A
// history is linearizable if such moments can be chosen. Purges only ever
// forbid, and reads change nothing, so each pair of a purge and a read can be
// judged alone: the latest moment that a purge may choose is its
// acknowledgement, and that choice is the best for every read at once.
package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Read is one answer that a visitor got.
type Read struct {
	// Start is before the request was sent; End is after the answer was read.
	Start, End time.Time
	// URL names what was asked for.
	URL string
	// Version is that of the application which the answer shows.
	Version string
	// Made is when the application made it. Zero: not known.
	Made time.Time
	// Status is 0 where there was no answer.
	Status int
	// Where says who answered, and how: a data centre's hit, a node's miss.
	Where string
	// Excused says why there need be no answer, such as a node that was killed
	// while it was asked.
	Excused string
}

// Unanswered reports that there was no answer, or that the gateway was at fault.
func (r Read) Unanswered() bool { return r.Status == 0 || r.Status >= 500 }

// Purge is one order to remove what was made before it.
type Purge struct {
	Called time.Time
	// Acknowledged is when whoever called was told that it is done. Zero: it
	// was not, and it promises nothing.
	Acknowledged time.Time
	// Versions are those of which it removes the answers. None: of all.
	Versions []string
	// URLs are those which it removes. None: all.
	URLs []string
}

// Deploy is a version that nobody may see another than.
type Deploy struct {
	Version string
	// Acknowledged is when whoever called was told that it is done.
	Acknowledged time.Time
	// Until is when replicas of another version began to start. Zero: never.
	Until time.Time
}

// History is what was recorded, in any order.
type History struct {
	Reads   []Read
	Purges  []Purge
	Deploys []Deploy
}

// Acknowledged counts the purges and deploys that whoever called was told to be done.
func (h History) Acknowledged() (purges, deploys int) {
	for _, p := range h.Purges {
		if !p.Acknowledged.IsZero() {
			purges++
		}
	}
	for _, d := range h.Deploys {
		if !d.Acknowledged.IsZero() {
			deploys++
		}
	}
	return purges, deploys
}

// Unanswered are the violations that are no stale answers.
func Unanswered(violations []Violation) []Violation {
	return slices.DeleteFunc(slices.Clone(violations), func(v Violation) bool { return !v.Read.Unanswered() })
}

// Violation is a read that should not have been.
type Violation struct {
	Read Read
	// Why names the promise that was broken.
	Why string
}

// String is for people.
func (v Violation) String() string {
	return fmt.Sprintf("%s at %s, status %d, version %q, %s: %s", v.Read.URL, v.Read.Start.Format("15:04:05.000000"), v.Read.Status, v.Read.Version, v.Read.Where, v.Why)
}

// Violations are the reads that break a promise, in the order of their starts.
func (h History) Violations() []Violation {
	var found []Violation
	for _, r := range h.Reads {
		if why := h.wrong(r); why != "" {
			found = append(found, Violation{r, why})
		}
	}
	slices.SortStableFunc(found, func(a, b Violation) int { return a.Read.Start.Compare(b.Read.Start) })
	return found
}

// wrong says which promise a read breaks; "" if it breaks none.
func (h History) wrong(r Read) string {
	if r.Unanswered() {
		if r.Excused != "" {
			return ""
		}
		return "no answer, or the gateway's fault"
	}
	for _, d := range h.Deploys {
		if d.forbids(r) {
			return fmt.Sprintf("%s after the deploy of %s was acknowledged", r.Start.Sub(d.Acknowledged), d.Version)
		}
	}
	for _, p := range h.Purges {
		if p.forbids(r) {
			return fmt.Sprintf("made %s before a purge that was acknowledged %s before the request", p.Called.Sub(r.Made), r.Start.Sub(p.Acknowledged))
		}
	}
	return ""
}

// forbids reports whether a deploy, once acknowledged, rules an answer out: one
// of another version, while no other could run.
func (d Deploy) forbids(r Read) bool {
	return !d.Acknowledged.IsZero() && r.Version != d.Version && r.Start.After(d.Acknowledged) && (d.Until.IsZero() || r.End.Before(d.Until))
}

// forbids reports whether a purge rules an answer out at every moment that it
// may have taken effect at.
func (p Purge) forbids(r Read) bool {
	return !p.Acknowledged.IsZero() && r.Start.After(p.Acknowledged) && !r.Made.IsZero() && r.Made.Before(p.Called) && p.names(r)
}

func (p Purge) names(r Read) bool {
	return (len(p.Versions) == 0 || slices.Contains(p.Versions, r.Version)) && (len(p.URLs) == 0 || slices.Contains(p.URLs, r.URL))
}

// Hits tells how often copies were given of one version.
type Hits struct {
	Reads, Hits int
	// Lost are reads that were no hits though one that ended before was a hit,
	// of the same URL and version, at the same place.
	Lost []Read
}

// Kept finds the copies of a version that were lost again within a time. hit
// says whether a read was given a copy, and of which place.
func (h History) Kept(version string, from, until time.Time, hit func(Read) (place string, is bool)) Hits {
	reads := slices.DeleteFunc(slices.Clone(h.Reads), func(r Read) bool {
		return r.Version != version || r.Start.Before(from) || r.End.After(until) || r.Unanswered()
	})
	slices.SortFunc(reads, func(a, b Read) int {
		return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End))
	})
	var found Hits
	first := make(map[[2]string]time.Time) // the end of the first hit
	for _, r := range reads {
		found.Reads++
		place, is := hit(r)
		key := [2]string{place, r.URL}
		since, known := first[key]
		switch {
		case is:
			found.Hits++
			if !known || r.End.Before(since) {
				first[key] = r.End
			}
		case known && r.Start.After(since):
			found.Lost = append(found.Lost, r)
		}
	}
	return found
}
