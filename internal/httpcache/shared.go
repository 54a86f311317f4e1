package httpcache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Shared is a cache that several nodes have in common. What is put there may be
// given to any of them, so it carries its whole provenance and is judged by the
// fence of whoever takes it: a purge makes it dead where it is, without being told.
//
// Generations count on each node by themselves. What all nodes have in common is
// the sequence of the fleet's purges, so an answer is stamped with the place in it
// up to which the node that fetched it had applied all purges when it began.
type Shared interface {
	// Stamp is that place for an exchange that began at a generation here; false
	// when it is not known.
	Stamp(began uint64) (Stamp, bool)
	// Began is the generation here at which all purges up to a place were applied,
	// and none after it; or a lower one. False when it is not known.
	Began(Stamp) (uint64, bool)
	// Scope tells apart what must not mix: nodes that take other versions for
	// current have another one.
	Scope() string
	// Current reports that answers of a version may be stored here.
	Current(version string) bool
	// Get gives what was put under a key, and how long ago that was, by a clock that
	// all nodes share. It takes a few milliseconds at most, whatever happens.
	Get(key string) (value []byte, ago time.Duration, found bool)
	// Put has something stored for a while. It does not block. encode is called on
	// another goroutine, or never; nil is nothing to store.
	Put(key string, size int64, ttl time.Duration, encode func() []byte)
	// Drop removes what is under a key, some time, or never. It does not block.
	Drop(key string)
	// MaxObject is the largest body that is put there, Keep the longest time, and
	// MinLife the shortest time for which an answer must be fresh to be worth it.
	MaxObject() int64
	Keep() time.Duration
	MinLife() time.Duration
}

// Stamp is a place in the sequence of a fleet's purges.
type Stamp struct {
	// Incarnation names the sequence.
	Incarnation string
	Position    uint64
}

// sharing is a store's use of a Shared.
type sharing struct {
	Shared

	hits, misses, dead atomic.Int64

	mu    sync.Mutex
	loads map[string]*sharedLoad
	// invalid are the keys that unsafe requests have invalidated here, and when:
	// what was asked for before is not taken. Bounded; floor is for those that
	// fell out.
	invalid map[string]time.Time
	floor   time.Time
}

// sharedLoad is a look into the shared cache. Who wants the same waits.
type sharedLoad struct {
	done  chan struct{}
	value []byte
	ago   time.Duration
	found bool
}

// maxInvalid is how many keys are remembered as invalidated.
const maxInvalid = 10_000

// Share makes the store put answers into a cache that several nodes have in
// common, and look there for what it does not have. Call it before anything is
// served; nil ends it.
func (s *Store) Share(with Shared) {
	if with == nil {
		s.sharing.Store(nil)
		return
	}
	s.sharing.Store(&sharing{Shared: with, loads: make(map[string]*sharedLoad), invalid: make(map[string]time.Time)})
}

// sharedKey names an answer, by a hash as diskKey's; variant is zero for one that
// does not vary.
func sharedKey(scope string, key []byte, variant uint64) string {
	b := appendPart(nil, scope)
	b = appendPart(b, string(key))
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, variant))
	return hex.EncodeToString(sum[:16])
}

// Kinds of what is put there, the first byte.
const (
	sharedAnswer = 'A'
	sharedLabel  = 'L' // says by which fields answers vary
)

// mayShare reports that an answer is anybody's, and small.
func (n *sharing) mayShare(e *entry) bool {
	return !e.isPart() && e.body().file == nil && e.groups() == nil && !e.unstorable && !e.mustAsk &&
		e.fields().first("Set-Cookie") == "" && e.body().size <= n.MaxObject()
}

// share puts an answer that was stored here into the shared cache.
func (s *Store) share(e *entry) {
	n := s.sharing.Load()
	if n == nil || !n.mayShare(e) {
		return
	}
	ttl := e.ttl(time.Now())
	if ttl < n.MinLife() {
		return
	}
	ttl = min(ttl, n.Keep())
	scope, variant := n.Scope(), diskVariant(e.vary())
	if variant != 0 {
		n.Put(sharedKey(scope, []byte(e.key()), 0), 0, ttl, func() []byte {
			return append([]byte{sharedLabel}, diskLabel(e.vary())...)
		})
	}
	n.Put(sharedKey(scope, []byte(e.key()), variant), e.body().size, ttl, func() []byte {
		if !n.Current(e.version()) {
			return nil
		}
		return n.encode(e, time.Now())
	})
}

// encode is an answer as it is shared: kind, stamp, how long ago it was received,
// and what is on disk too.
func (n *sharing) encode(e *entry, now time.Time) []byte {
	stamp, known := n.Stamp(e.began)
	if !known {
		return nil
	}
	b := appendPart([]byte{sharedAnswer}, stamp.Incarnation)
	b = binary.AppendUvarint(b, stamp.Position)
	b = binary.AppendVarint(b, int64(now.Sub(e.received)))
	b = appendPart(b, string(e.appendMeta(nil)))
	for _, chunk := range e.chunks() {
		b = append(b, chunk...)
	}
	return b
}

// decode makes an answer of it. Times are told by how long ago they were: clocks
// of nodes are not compared.
func (n *sharing) decode(value []byte, ago time.Duration, now time.Time) *entry {
	d := &decoder{rest: value}
	if d.byte() != sharedAnswer {
		return nil
	}
	stamp := Stamp{Incarnation: d.text(), Position: d.uvarint()}
	before := d.duration()
	meta := d.text()
	if d.bad || before < 0 || ago < 0 {
		return nil
	}
	stored := body{size: int64(len(d.rest))}
	if len(d.rest) > 0 {
		stored.chunks = [][]byte{append(make([]byte, 0, len(d.rest)), d.rest...)}
	}
	e, err := decodeEntry([]byte(meta), stored)
	if err != nil || e.isPart() || e.groups() != nil {
		return nil
	}
	began, known := n.Began(stamp)
	if !known {
		return nil
	}
	e.took = max(0, e.took)
	e.began = began
	e.received = now.Add(-ago - before)
	return e
}

// invalidated notes that an unsafe request has changed what a key stands for.
func (n *sharing) invalidated(key string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.invalid) >= maxInvalid {
		for other, at := range n.invalid {
			if now.Sub(at) > n.Keep() {
				delete(n.invalid, other)
			}
		}
	}
	if len(n.invalid) >= maxInvalid {
		clear(n.invalid)
		n.floor = now
	}
	n.invalid[key] = now
	// For the other nodes: this one takes nothing from before anyway. Variants are
	// not found without it.
	n.Drop(sharedKey(n.Scope(), []byte(key), 0))
}

// since is the time before which an answer must not have been asked for.
func (n *sharing) since(key string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at := n.invalid[key]; at.After(n.floor) {
		return at
	}
	return n.floor
}

// get looks into the shared cache once for all who want the same.
func (n *sharing) get(key string) *sharedLoad {
	n.mu.Lock()
	if l := n.loads[key]; l != nil {
		n.mu.Unlock()
		<-l.done // bounded, as Get is
		return l
	}
	l := &sharedLoad{done: make(chan struct{})}
	n.loads[key] = l
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.loads, key)
		n.mu.Unlock()
		close(l.done)
	}()
	l.value, l.ago, l.found = n.Get(key)
	return l
}

// find gives the answer for a request. found reports that there is one, which may
// be of no use here.
func (n *sharing) find(key []byte, request http.Header) (e *entry, found bool) {
	scope := n.Scope()
	l := n.get(sharedKey(scope, key, 0))
	if l.found && len(l.value) > 0 && l.value[0] == sharedLabel {
		variant := diskVariant(variedByLabel(string(l.value[1:]), request))
		l = n.get(sharedKey(scope, key, variant))
	}
	if !l.found {
		return nil, false
	}
	e = n.decode(l.value, l.ago, time.Now())
	if e == nil || e.key() != string(key) || !matches(e.vary(), request) || !n.Current(e.version()) ||
		!e.requested().After(n.since(string(key))) {
		return nil, true
	}
	return e, true
}

// borrow takes the answer for a request from the shared cache into memory. It
// gives nil when there is none that may be used.
func (h *Handler) borrow(hash uint64, key []byte, r *http.Request) *entry {
	s := h.Store
	n := s.sharing.Load()
	if n == nil || s.isRefused(hash, time.Now()) || !s.trusted() {
		return nil
	}
	sh := s.shard(hash)
	sh.mu.Lock()
	invalidations := sh.invalidations
	sh.mu.Unlock()
	e, found := n.find(key, r.Header)
	if e != nil {
		// As a validator it would be of little use.
		if stands, _ := s.fence.judge(e.provenance(), e.began); stands != standsFirm {
			e = nil
		}
	}
	switch {
	case !found:
		n.misses.Add(1)
		return nil
	case e == nil:
		n.dead.Add(1)
		return nil
	}
	n.hits.Add(1)
	e.adopt(hash, &s.commons)
	if !h.reserve(hash, e.claim()) {
		return e // it is served all the same
	}
	return s.lend(sh, e, key, r.Header, invalidations)
}

// lend puts an answer from the shared cache into memory, for whose bytes there is a
// reservation, unless memory has one by now, or an unsafe request came in between.
func (s *Store) lend(sh *shard, e *entry, key []byte, request http.Header, invalidations uint64) *entry {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if other := sh.match(e.hash, key, request); other != nil {
		s.release(e.claim())
		return other
	}
	if sh.invalidations != invalidations || !s.placeLocked(sh, e) {
		s.release(e.claim())
	}
	return e
}

// peekShared is borrow without changing anything.
func (h *Handler) peekShared(key []byte, request http.Header) *entry {
	n := h.Store.sharing.Load()
	if n == nil {
		return nil
	}
	e, _ := n.find(key, request)
	return e
}

// SharedStats is the use of a shared cache. Counts run from the start.
type SharedStats struct {
	// Hits are answers that came from there. Misses found nothing there; Dead
	// found what a purge, another version or an unsafe request forbids to use.
	Hits   int64 `json:"hits"`
	Misses int64 `json:"misses"`
	Dead   int64 `json:"dead"`
}

// SharedStats is nil without a shared cache.
func (s *Store) SharedStats() *SharedStats {
	n := s.sharing.Load()
	if n == nil {
		return nil
	}
	return &SharedStats{Hits: n.hits.Load(), Misses: n.misses.Load(), Dead: n.dead.Load()}
}
