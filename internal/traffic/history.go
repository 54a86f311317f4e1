package traffic

import "time"

// Totals are counts since the process began.
type Totals struct {
	// Hits, Stale, Revalidated, Misses, Bypasses and Errors are requests by what
	// the cache made of them.
	Hits        int64 `json:"hits"`
	Stale       int64 `json:"stale"`
	Revalidated int64 `json:"revalidated"`
	Misses      int64 `json:"misses"`
	Bypasses    int64 `json:"bypasses"`
	Errors      int64 `json:"errors"`
	// CacheBytes are bytes of bodies that went out of the cache, ReplicaBytes
	// those that came from replicas.
	CacheBytes   int64 `json:"cache_bytes"`
	ReplicaBytes int64 `json:"replica_bytes"`
	// Refused are requests that a pool answered 503 itself.
	Refused int64 `json:"refused"`
	// Visits are all requests, but for calls of the control API. ClientErrors are
	// those that were answered with 4xx, Failures those with 5xx, and those whose
	// answer was cut off.
	Visits       int64 `json:"visits"`
	ClientErrors int64 `json:"client_errors"`
	Failures     int64 `json:"failures"`
}

// since is what came on top of before. What a pool had counted is gone with the
// pool: that is no negative traffic.
func (t Totals) since(before Totals) Totals {
	return Totals{
		Hits: more(t.Hits, before.Hits), Stale: more(t.Stale, before.Stale), Revalidated: more(t.Revalidated, before.Revalidated),
		Misses: more(t.Misses, before.Misses), Bypasses: more(t.Bypasses, before.Bypasses), Errors: more(t.Errors, before.Errors),
		CacheBytes: more(t.CacheBytes, before.CacheBytes), ReplicaBytes: more(t.ReplicaBytes, before.ReplicaBytes),
		Refused: more(t.Refused, before.Refused), Visits: more(t.Visits, before.Visits),
		ClientErrors: more(t.ClientErrors, before.ClientErrors), Failures: more(t.Failures, before.Failures),
	}
}

func more(now, before int64) int64 { return max(0, now-before) }

// Point is what happened between two looks.
type Point struct {
	// At is when the later one was, Seconds after the earlier.
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	Totals
}

// Answers are what visitors got in the time of some points.
type Answers struct {
	Seconds                                 float64
	Visits, ClientErrors, Failures, Refused int64
}

// AnswersAfter sums up the points after a time.
func AnswersAfter(points []Point, t time.Time) (sum Answers) {
	for _, p := range points {
		if p.At.After(t) {
			sum.Seconds += p.Seconds
			sum.Visits += p.Visits
			sum.ClientErrors += p.ClientErrors
			sum.Failures += p.Failures
			sum.Refused += p.Refused
		}
	}
	return sum
}

// Failed is the share of visits that got a failure, Unwanted the share that got
// 4xx; 0 if there were none.
func (a Answers) Failed() float64   { return share(a.Failures, a.Visits) }
func (a Answers) Unwanted() float64 { return share(a.ClientErrors, a.Visits) }

func share(part, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

// history is a ring of points. It is plain: its owner adds the lock.
type history struct {
	points []Point // a ring once it is full
	most   int
	next   int // where the next one goes, in a full ring
	last   Totals
	lastAt time.Time
}

// add takes a look. The first one is where counting begins.
func (h *history) add(now time.Time, t Totals) {
	last, lastAt := h.last, h.lastAt
	if !lastAt.IsZero() && !now.After(lastAt) {
		return // the clock was set back: what came meanwhile belongs to the next
	}
	h.last, h.lastAt = t, now
	if lastAt.IsZero() {
		return
	}
	p := Point{At: now, Seconds: now.Sub(lastAt).Seconds(), Totals: t.since(last)}
	if len(h.points) < h.most {
		h.points = append(h.points, p)
		return
	}
	h.points[h.next] = p
	h.next = (h.next + 1) % h.most
}

// after lists the points after a time, oldest first.
func (h *history) after(t time.Time) []Point {
	list := []Point{}
	for i := range h.points {
		p := h.points[(h.next+i)%len(h.points)]
		if p.At.After(t) {
			list = append(list, p)
		}
	}
	return list
}
