package httpcache

import (
	"net/http"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/unit"
)

// Explanation is what the cache would do about a request at one moment.
type Explanation struct {
	// Key is the parts of the cache key, for people.
	Key KeyParts `json:"key"`
	// Rule is the rule whose verdict was given; empty for none.
	Rule string `json:"rule,omitempty"`
	// Decision is serve, serve-and-refresh, fetch, pass or unavailable; Reason
	// says why, where it needs saying.
	Decision string `json:"decision"`
	Reason   Reason `json:"reason,omitempty"`
	// Uncacheable: an earlier answer could not be stored, so requests do not
	// queue for the next one.
	Uncacheable bool `json:"uncacheable,omitempty"`
	// LastNotStored says why the last answer for the key was not stored; nil
	// when it was, or when nothing is known.
	LastNotStored *NotStored `json:"last_not_stored,omitempty"`
	// Fetching is how many fetches for the key are in flight.
	Fetching int `json:"fetching"`
	// Variants is how many answers are stored under the key.
	Variants int `json:"variants"`
	// OnDisk is how many of its answers are on disk, in memory too or not.
	OnDisk int `json:"on_disk,omitempty"`
	// Entry is the answer that matches the request; nil for none.
	Entry *EntryInfo `json:"entry,omitempty"`
	// Parts are the stored parts of an answer that is not stored as a whole, as
	// Content-Range has them.
	Parts []string `json:"parts,omitempty"`
	// Generation is the current one.
	Generation uint64 `json:"generation"`
}

// KeyParts is what a key is made of.
type KeyParts struct {
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	// Target is what the origin gets; Seen what the visitor sent, if another.
	Target string `json:"target"`
	Seen   string `json:"seen,omitempty"`
}

// EntryInfo describes a stored answer.
type EntryInfo struct {
	Status int               `json:"status"`
	Bytes  int64             `json:"bytes"`  // of the body
	Memory int64             `json:"memory"` // without what it shares with others
	ETag   string            `json:"etag,omitempty"`
	Vary   map[string]string `json:"vary,omitempty"`
	// Encodings are the codings that the body is to be had in, with its bytes
	// in each; 0 for one that is of no use. Encodable: others may come.
	Encodings map[string]int64 `json:"encodings,omitempty"`
	Encodable bool             `json:"encodable,omitempty"`

	// Lifetime comes from LifetimeFrom; Age and TTL, the rest of it, are at
	// this moment. TTL is negative when stale.
	Lifetime             unit.Duration  `json:"lifetime"`
	LifetimeFrom         LifetimeSource `json:"lifetime_from"`
	Age                  string         `json:"age"`
	TTL                  string         `json:"ttl"`
	StaleWhileRevalidate unit.Duration  `json:"stale_while_revalidate"`
	StaleIfError         unit.Duration  `json:"stale_if_error"`
	StaleUnreachable     unit.Duration  `json:"stale_unreachable"`
	AlwaysRevalidate     bool           `json:"always_revalidate,omitempty"`

	Tags    []string `json:"tags,omitempty"`
	Groups  []string `json:"groups,omitempty"` // of RFC 9875
	Version string   `json:"version,omitempty"`
	Replica string   `json:"replica,omitempty"`
	Rule    string   `json:"rule,omitempty"` // that held when it was stored
	// Began is the generation of its fetch. Below HardBarrier it is gone,
	// below SoftBarrier it is stale.
	Began       uint64 `json:"began"`
	HardBarrier uint64 `json:"hard_barrier"`
	SoftBarrier uint64 `json:"soft_barrier"`
}

var actionNames = map[action]string{
	fetch: "fetch", serve: "serve", serveAndRefresh: "serve-and-refresh", pass: "pass", unavailable: "unavailable",
}

// Explain says what would be done about r under a verdict, which may be nil. It
// changes nothing, not even what is evicted next.
func (h *Handler) Explain(r *http.Request, v *cacherules.Verdict, now time.Time) Explanation {
	if v == nil {
		v = &unruled
	}
	spellLanguages(r.Header)
	scheme, seen := h.seen(r)
	key := h.requestKey(nil, r)
	hash := h.Store.hash(key)
	x := Explanation{
		Key:         KeyParts{Scheme: scheme, Host: stripDefaultPort(r.Host, scheme), Target: r.URL.RequestURI(), Seen: seen},
		Rule:        v.Rule,
		Uncacheable: h.Store.isRefused(hash, now),
		Generation:  h.Store.Generation(),

		LastNotStored: h.Store.lastNotStored(hash, now),
	}
	e, from := h.peekAnywhere(hash, key, r.Header, &x)
	stands := standsFirm
	if e != nil {
		x.Entry = describe(e, now)
		b, _ := h.Store.fence.barrierOf(e.provenance())
		x.Entry.HardBarrier, x.Entry.SoftBarrier = b.hard, b.soft
		if stands, _ = h.Store.fence.judge(e.provenance(), e.began); stands != hardPurged && !h.Store.trusted() {
			stands = distrusted
		}
	}
	d := decision{action: pass, reason: bypassOf(r, v)}
	if d.reason == "" {
		d = decide(r, e, stands, now)
	}
	if stands == hardPurged {
		x.Entry = nil
	}
	if d.action == fetch && x.Entry == nil && x.Uncacheable {
		d = decision{action: pass, reason: ReasonRefused}
	}
	if part := h.explainPart(hash, key, r, &x); d.reason == ReasonRange || d.action == unavailable {
		if _, ok := partServed(r, part, now); ok {
			d = decision{action: serve}
		}
	}
	if d.action == serve && from != "" {
		d.reason = from
	}
	x.Decision, x.Reason = actionNames[d.action], d.reason
	return x
}

// peekAnywhere finds the answer for a request wherever it is, and says where, if not
// in memory. It changes nothing.
func (h *Handler) peekAnywhere(hash uint64, key []byte, request http.Header, x *Explanation) (e *entry, from Reason) {
	e = h.Store.peek(hash, key, request, x)
	onDisk := h.peekDisk(key, request, x, e == nil) // it counts, whatever there is
	switch {
	case e != nil:
		return e, ""
	case onDisk != nil:
		return onDisk, ReasonDisk
	}
	if e = h.Store.vault.find(key, request); e != nil {
		return e, ReasonVault
	}
	if !x.Uncacheable {
		if e = h.peekShared(key, request); e != nil {
			return e, ReasonShared
		}
	}
	return nil, ""
}

// explainPart is the stored part that stands firm, if there is one.
func (h *Handler) explainPart(hash uint64, key []byte, r *http.Request, x *Explanation) *entry {
	e := h.Store.peekPart(hash, key, r.Header)
	if e == nil {
		return nil
	}
	if stands, _ := h.Store.fence.judge(e.provenance(), e.began); stands != standsFirm || !h.Store.trusted() {
		return nil
	}
	for _, p := range e.pieces() {
		x.Parts = append(x.Parts, byteRange{start: p.start, length: p.body.size}.contentRange(e.length()))
	}
	return e
}

// peek is find without marking as used.
func (s *Store) peek(hash uint64, key []byte, request http.Header, x *Explanation) *entry {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, f := range sh.fills[hash] {
		if f.key == string(key) {
			x.Fetching++
		}
	}
	for range sh.stored(hash, key) {
		x.Variants++
	}
	return sh.match(hash, key, request)
}

func describe(e *entry, now time.Time) *EntryInfo {
	info := &EntryInfo{
		Status: e.status, Bytes: e.body().size, Memory: e.size, ETag: e.etag(), Encodable: e.encodable,
		Lifetime: unit.Duration(e.lifetime), LifetimeFrom: e.source,
		Age: e.currentAge(now).Truncate(time.Second).String(), TTL: e.ttl(now).Truncate(time.Second).String(),
		StaleWhileRevalidate: unit.Duration(e.whileRevalidate), StaleIfError: unit.Duration(e.ifError),
		StaleUnreachable: unit.Duration(e.unreachable),
		AlwaysRevalidate: e.mustAsk,
		Tags:             slices.Collect(e.tags().all()), Groups: e.groups().plain(), Version: e.madeBy, Replica: e.replica, Rule: e.rule, Began: e.began,
	}
	if s := e.encodings.Load(); s != nil {
		info.Memory += s.size
		info.Encodings = s.lengths()
	}
	for _, one := range e.vary() {
		if info.Vary == nil {
			info.Vary = make(map[string]string)
		}
		info.Vary[one.name] = one.value
	}
	return info
}
