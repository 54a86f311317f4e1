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
}

// since is what came on top of before. What a pool had counted is gone with the
// pool: that is no negative traffic.
func (t Totals) since(before Totals) Totals {
	return Totals{
		Hits: more(t.Hits, before.Hits), Stale: more(t.Stale, before.Stale), Revalidated: more(t.Revalidated, before.Revalidated),
		Misses: more(t.Misses, before.Misses), Bypasses: more(t.Bypasses, before.Bypasses), Errors: more(t.Errors, before.Errors),
		CacheBytes: more(t.CacheBytes, before.CacheBytes), ReplicaBytes: more(t.ReplicaBytes, before.ReplicaBytes),
		Refused: more(t.Refused, before.Refused),
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
