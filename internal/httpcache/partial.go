package httpcache

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// asWhole is the header of the whole answer that a 206 is a part of.
func asWhole(clean http.Header, size int64) http.Header {
	whole := maps.Clone(clean)
	delete(whole, "Content-Range")
	whole["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	return whole
}

// partServed is the range of a stored part that answers the request: one range,
// of an answer that is fresh and that such a request may have. More than one,
// and what a validator of the client's makes a question, go to the origin.
func partServed(r *http.Request, e *entry, now time.Time) (b byteRange, ok bool) {
	if e == nil || r.Method != http.MethodGet || e.mustAsk || e.ttl(now) <= 0 {
		return byteRange{}, false
	}
	if len(r.Header["Authorization"]) > 0 && !e.authorized || notModified(r.Header, e) || !rangeApplies(r.Header, e) {
		return byteRange{}, false
	}
	ranges, err := parseRange(strings.Join(r.Header["Range"], ","), e.length())
	if err != nil || len(ranges) != 1 {
		return byteRange{}, false
	}
	_, ok = holding(e.pieces(), ranges[0])
	return ranges[0], ok
}

// replyPart answers from a stored part. It reports false when that will not do.
func (x *exchange) replyPart() (Result, bool) {
	now := time.Now()
	e := x.h.Store.part(x)
	b, ok := partServed(x.r, e, now)
	if !ok || x.h.mixes(x.r.Header, e) {
		return Result{}, false
	}
	x.h.Store.touch(e)
	x.h.Store.counters.hits.Add(1)
	rp := reply{e: e, now: now, status: StatusHit}
	p, _ := holding(e.pieces(), b)
	x.h.writeFields(x.w.Header(), rp, http.StatusPartialContent)
	x.h.answering(x.o, e)
	x.w.Header()["Content-Range"] = []string{b.contentRange(e.length())}
	x.w.Header()["Content-Length"] = []string{strconv.FormatInt(b.length, 10)}
	x.w.WriteHeader(http.StatusPartialContent)
	_, _ = p.body.writePart(x.w, b.start-p.start, b.length) // a client that leaves is nobody to tell
	return resultOf(rp, http.StatusPartialContent), true
}

// touch marks an entry as used.
func (s *Store) touch(e *entry) {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.stays.Use(e, s.tick.Load())
	sh.useLocked(e)
}

// passRange answers a request for a part whose whole is not stored: from the
// parts that are, or from the origin, whose answer is kept as one more.
func (x *exchange) passRange() (Result, error) {
	if res, done := x.replyPart(); done {
		return res, nil
	}
	return x.pass(ReasonRange)
}

// capture is a copy of a 206 that passes through.
type capture struct {
	x       *exchange
	at      stamp
	header  http.Header // of the whole
	source  Source
	arrived time.Time
	size    int64 // of the whole
	asked   byteRange
	buffer  buffer
	failed  bool
}

// capture begins to keep a 206, if it may be kept. Where the whole is stored,
// stale, and of the same strong validator, the 206 freshens that instead
// (RFC 9111, 3.4).
func (x *exchange) capture(status int, h http.Header, source Source, at stamp) *capture {
	if status != http.StatusPartialContent || len(x.r.Header["Authorization"]) > 0 {
		return nil
	}
	whole, b, size, ok := partOf(withoutHopByHop(h))
	if !ok || b.length > x.h.Store.maxObject.Load() {
		return nil
	}
	e := x.h.Store.peek(x.hash, x.key, x.r.Header, &Explanation{})
	if e != nil && e.status == http.StatusOK && e.etag() == whole["Etag"][0] && e.body().size == size {
		x.freshen(e, whole, source, at)
		return nil
	}
	c := &capture{x: x, at: at, header: whole, source: source, arrived: time.Now(), size: size, asked: b}
	if x.draft(http.StatusOK, maps.Clone(whole), source, c.arrived, at).storability.reason != "" {
		return nil
	}
	c.buffer.limit = b.length
	c.buffer.reserve = func(n int64) bool { return x.h.reserve(x.hash, n) }
	c.buffer.release = x.h.Store.release
	return c
}

// write copies what the client was sent. It is best effort: without memory, or
// with more content than was declared, nothing is kept.
func (c *capture) write(p []byte) {
	if c == nil || c.failed {
		return
	}
	c.failed = c.buffer.write(c.x.r.Context(), p) != nil
}

// end keeps a complete part; it reports whether it did. A fault on the way is
// ours, not the visitor's.
func (c *capture) end(complete bool) (stored bool) {
	if c == nil {
		return false
	}
	defer func() {
		c.x.h.Store.release(c.buffer.surrender())
		if p := recover(); p != nil {
			c.x.h.fault(c.x.r.Host, c.x.r.URL.Path, fmt.Errorf("storing a part panicked: %v", p))
			stored = false
		}
	}()
	b, kept := c.buffer.whole()
	if !complete || c.failed || !kept || b.size != c.asked.length {
		return false
	}
	fresh := piece{start: c.asked.start, body: b.packed()}
	for range maxAttempts {
		old := c.x.h.Store.part(c.x)
		e, ok := c.entry(old, fresh)
		if !ok {
			return false
		}
		if c.place(old, e) {
			return true
		}
	}
	return false // others were faster each time
}

// entry is the answer with the new piece and those that can be combined with
// it. Its header is the newer one over the older; it began when the oldest of
// its parts did, so that no purge in between is forgotten.
func (c *capture) entry(old *entry, fresh piece) (*entry, bool) {
	d := c.x.draft(http.StatusOK, maps.Clone(c.header), c.source, c.arrived, c.at)
	alone := newEntry(d)
	alone.sealParts([]piece{fresh})
	if old == nil || !combinable(old, alone) {
		return alone, d.storability.reason == ""
	}
	if old.requested().After(c.at.requested) {
		d = c.x.draft(http.StatusOK, asWhole(update304(c.header, old.fields().origin()), c.size), c.source, old.received, c.at)
		d.requested = old.requested()
	} else {
		d = c.x.draft(http.StatusOK, asWhole(update304(old.fields().origin(), c.header), c.size), c.source, c.arrived, c.at)
	}
	d.began = min(d.began, old.began)
	if d.groups != nil && old.groups() != nil {
		d.groups.began = min(d.groups.began, old.groups().began)
	}
	both := newEntry(d)
	both.sealParts(withPiece(old.pieces(), fresh))
	if !combinable(old, both) || both.bodySize() > c.x.h.Store.maxObject.Load() {
		return alone, true
	}
	return both, d.storability.reason == ""
}

// bodySize is how much of the body is there.
func (e *entry) bodySize() int64 {
	n := e.body().size
	for _, p := range e.pieces() {
		n += p.body.size
	}
	return n
}

// place puts the entry in, in the place of the part that it was made of. It
// reports false when something came between.
func (c *capture) place(old, e *entry) bool {
	x, s := c.x, c.x.h.Store
	s.release(c.buffer.surrender())
	if old != nil && sameVary(old.vary(), e.vary()) {
		return x.exchangeEntries(old, e, c.at)
	}
	if !x.h.reserve(x.hash, e.claim()) {
		return false
	}
	if !s.insertUnlessInvalidated(e, c.at) {
		s.release(e.claim())
		return false
	}
	return true
}

// insertUnlessInvalidated is insert, unless an unsafe request came between.
func (s *Store) insertUnlessInvalidated(e *entry, at stamp) bool {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.invalidations == at.invalidations && s.insertLocked(sh, e)
}
