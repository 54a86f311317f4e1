package httpcache

import (
	"net/http"
	"time"
)

// stamp is the moment at which an exchange asked the origin past the fills. An
// unsafe request that comes between it and the answer cannot doom it, so it
// counts what its shard was asked to invalidate.
type stamp struct {
	began, groups, invalidations uint64
	requested                    time.Time
}

// stamp is taken before the origin is asked.
func (x *exchange) stamp() stamp {
	s := x.h.Store
	sh := s.shard(x.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return stamp{
		began: s.Generation(), groups: s.fence.groups.sequence.Load(),
		invalidations: sh.invalidations, requested: time.Now(),
	}
}

// draft is what the exchange knows of an answer that passed through, if it were
// that to a GET: what a fill would have known of it.
func (x *exchange) draft(status int, clean http.Header, source Source, received time.Time, at stamp) draft {
	scheme, _ := x.h.seen(x.r)
	f := &fill{
		h: x.h, verdict: x.v, asked: x.r.Header, key: string(x.key), hash: x.hash, place: x.h.placeOfRequest(x.r),
		uriOrigin: x.h.originOf(x.r), overridden: x.overridden(),
		began: at.began, groupsBegan: at.groups, requested: at.requested,
		request: &http.Request{URL: x.r.URL, Host: canonicalHost(x.r.Host, scheme)},
	}
	return f.draft(status, clean, source, received)
}

// likeness is what the answer to a HEAD says about a stored one.
type likeness uint8

const (
	unrelated likeness = iota // nothing
	same                      // it is the current one
	outdated                  // another one is
)

// likenessOf compares the answer to a HEAD with a stored one (RFC 9111, 4.3.5).
// Without any validator nothing is the same: taking a matching length, or none,
// for proof would let whoever sends HEAD keep an old page fresh for good. An
// answer coded otherwise is about other bytes.
func likenessOf(head http.Header, e *entry) likeness {
	stored := e.fields().values("Content-Encoding")
	if joined(head["Content-Encoding"]) != joined(stored) {
		return unrelated
	}
	found := unrelated
	if tags := head["Etag"]; len(tags) > 0 {
		if !confirms(head, e) {
			return outdated
		}
		found = same
	}
	if len(head["Last-Modified"]) > 0 {
		modified, ok := fieldDate(head, "Last-Modified")
		if !ok || !modified.Equal(e.modified()) {
			return outdated
		}
		found = same
	}
	if length := declaredLength(head); length >= 0 && length != e.body().size {
		return outdated
	}
	return found
}

// learnFromHead freshens the stored answer that the HEAD would have been given,
// or drops it when the origin has another one now (RFC 9111, 4.3.5). It runs
// before the answer reaches the client.
func (x *exchange) learnFromHead(status int, h http.Header, source Source, at stamp) {
	s := x.h.Store
	e := s.peek(x.hash, x.key, x.r.Header, &Explanation{})
	if status != http.StatusOK || e == nil || e.status != http.StatusOK {
		return
	}
	clean := withoutHopByHop(h)
	switch alike := likenessOf(clean, e); alike {
	case same:
		x.freshen(e, clean, source, at)
	case outdated:
		x.outdate(e, clean, source, at)
	}
}

// freshen puts the stored answer with the news of a header in its place, or
// drops it if that forbids to store it.
func (x *exchange) freshen(e *entry, news http.Header, source Source, at stamp) {
	s := x.h.Store
	// A confirmation must not bring back what a hard purge removed meanwhile.
	if stands, _ := s.fence.judge(e.provenance(), e.began); stands == hardPurged {
		return
	}
	if source.Version == "" {
		source.Version = e.madeBy
	}
	d := x.draft(e.status, update304(e.fields().origin(), news), source, time.Now(), at)
	switch reason := d.storability.reason; {
	case personal(reason):
	case reason != "":
		s.remove(e)
	default:
		fresh := newEntry(d)
		fresh.sealAs(e)
		fresh.inherit(e)
		x.exchangeEntries(e, fresh, at)
	}
}

// outdate drops a stored answer that the header of another one contradicts.
func (x *exchange) outdate(e *entry, news http.Header, source Source, at stamp) {
	if !personal(x.draft(e.status, news, source, time.Now(), at).storability.reason) {
		x.h.Store.remove(e)
	}
}

// personal reports an answer of another version, or for one visitor: it says
// nothing about a stored one.
func personal(reason Reason) bool {
	return reason == ReasonRollout || reason == ReasonAuthorization || reason == ReasonSetCookie
}

// exchangeEntries puts an entry in the place of another.
func (x *exchange) exchangeEntries(old, fresh *entry, at stamp) (done bool) {
	if !x.h.reserve(x.hash, fresh.claim()) {
		return false
	}
	if !x.h.Store.replace(old, fresh, at) {
		x.h.Store.release(fresh.claim())
		return false
	}
	return true
}

// replace puts an entry, for whose bytes there is a reservation, in the place of
// another, unless that has gone or an unsafe request came in between:
//
//	A: HEAD finds entry 1       B: POST invalidates it
//	A: puts entry 2, entry 1 freshened, in its place
func (s *Store) replace(old, e *entry, at stamp) bool {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.invalidations != at.invalidations || !sh.stays.Has(old) || !sameVary(old.vary(), e.vary()) ||
		!e.supersedes(old) {
		return false
	}
	sh.relink(old, e)
	s.changes.at(e.hash).Add(1)
	s.stayLocked(sh, old, e)
	e.uses, e.lastUsed = old.uses, old.lastUsed
	s.counters.entries.Add(1)
	s.counters.stores.Add(1)
	s.persist(e)
	s.share(e)
	return true
}
