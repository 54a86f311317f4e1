package httpcache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// diskKey is what an answer's key is on disk: a hash by which no two keys meet,
// whatever visitors try. Who reads compares the whole key all the same.
func diskKey(key []byte) disk.Key {
	sum := sha256.Sum256(key)
	return disk.Key(sum[:16])
}

// diskVariant tells the answers of one key apart; zero is for those that do not
// vary.
func diskVariant(vary []varied) uint64 {
	if len(vary) == 0 {
		return 0
	}
	var b []byte
	for _, v := range vary {
		b = append(appendPart(b, v.name), byte(v.form), flagByte(v.present))
		b = appendPart(b, v.value)
	}
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:]) | 1
}

// flagPart is the flag of parts on disk. They are variants of their own, beside
// the whole answer to the same request.
const (
	flagPart    = 1
	partVariant = 1 << 63
)

// variantOnDisk is what an answer is on disk, and what a part of it is, or the
// whole.
func variantOnDisk(e *entry) (own, other uint64) {
	own = diskVariant(e.vary())
	if e.isPart() {
		return own ^ partVariant, own
	}
	return own, own ^ partVariant
}

// diskLabel says by which fields an answer varies, and in which form they are
// compared, so that the right one is found without reading: "1Accept,0X-A".
func diskLabel(vary []varied) string {
	names := make([]string, len(vary))
	for i := range vary {
		names[i] = strconv.Itoa(int(vary[i].form)) + vary[i].name
	}
	return strings.Join(names, ",")
}

// variedByLabel takes the fields' values from a request.
func variedByLabel(label string, request http.Header) []varied {
	if label == "" {
		return nil
	}
	var like []varied
	for one := range strings.SplitSeq(label, ",") {
		if len(one) < 2 || one[0] < '0' || form(one[0]-'0') > asCodings {
			return nil // not written by this version
		}
		like = append(like, varied{name: one[1:], form: form(one[0] - '0')})
	}
	return variedAs(like, request)
}

// persist has an answer written, in place of the one that it replaces. The
// shard of its key is locked, so nothing comes between memory and disk.
func (s *Store) persist(e *entry) {
	t := s.tier.Load()
	if t == nil || !t.serving.Load() {
		return
	}
	put := t.putOf(e)
	if t.deleteOther(e); !t.worthwhile(e) {
		t.blobs.Load().Delete(put.Key, put.Variant)
		return
	}
	put.Body = e.chunks()
	t.blobs.Load().Put(put)
}

// deleteOther removes the part that a whole answer takes the place of, or the
// older whole that a part does: see supersedes.
func (t *tier) deleteOther(e *entry) {
	key, blobs := diskKey([]byte(e.key())), t.blobs.Load()
	_, other := variantOnDisk(e)
	// A large whole may have been stored while the part was on its way.
	filed := slices.ContainsFunc(blobs.Find(key), func(ref disk.Ref) bool { return ref.Filed && ref.Variant == other })
	if !e.isPart() || !filed && !blobs.Newer(key, other, t.stampOf(e)) {
		blobs.Delete(key, other)
	}
}

// putOf is what is written of an answer, but for its body.
func (t *tier) putOf(e *entry) disk.Put {
	own, _ := variantOnDisk(e)
	put := disk.Put{
		Key: diskKey([]byte(e.key())), Variant: own, Label: diskLabel(e.vary()), Stamp: t.stampOf(e),
		Meta: e.appendMeta, Size: e.claim(),
	}
	if e.isPart() {
		put.Flags = flagPart
	}
	return put
}

// worthwhile reports that an answer may be written, and will be of use for a
// while.
func (t *tier) worthwhile(e *entry) bool {
	return e.lifetime-e.initialAge+max(e.whileRevalidate, e.ifError, e.unreachable) >= t.o.MinLife
}

// newerOnDisk reports that the answer to a later request has been written
// already; memory has evicted it since.
func (s *Store) newerOnDisk(e *entry) bool {
	t := s.tier.Load()
	own, _ := variantOnDisk(e)
	return t != nil && t.serving.Load() && t.blobs.Load().Newer(diskKey([]byte(e.key())), own, t.stampOf(e))
}

// stampOf orders the answers to one request by when they were asked for. It goes
// by the process's own clock, after everything from earlier runs: the system's
// may be set back.
func (t *tier) stampOf(e *entry) int64 {
	if e.stamp != 0 {
		return e.stamp
	}
	return t.stamps + max(0, int64(e.requested().Sub(t.born)))
}

// unpersist removes an answer for good. The shard of its key is locked.
func (s *Store) unpersist(e *entry) {
	if t := s.tier.Load(); t != nil && t.blobs.Load() != nil && !s.newerOnDisk(e) {
		own, _ := variantOnDisk(e)
		t.blobs.Load().Delete(diskKey([]byte(e.key())), own)
	}
}

// unpersistKey removes every answer of a key for good. The channel, which may
// be nil, is closed when a crash cannot bring them back. The shard is locked.
func (s *Store) unpersistKey(key []byte) <-chan struct{} {
	if t := s.tier.Load(); t != nil && t.blobs.Load() != nil {
		return t.blobs.Load().DeleteAll(diskKey(key))
	}
	return nil
}

// deletePatience is how long an unsafe request waits until what it invalidated
// cannot come back after a crash. A disk that takes longer does not keep it.
const deletePatience = 250 * time.Millisecond

// awaitDeleted waits for a deletion.
func awaitDeleted(done <-chan struct{}) {
	if done == nil {
		return
	}
	timer := time.NewTimer(deletePatience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// recall looks on disk for what memory does not have, in the vault, and in the shared
// cache, and decides anew if it is there. It says where that was.
func (x *exchange) recall(known bool, d decision) (*entry, bool, decision, Reason) {
	e, onDisk := x.h.recall(x.hash, x.key, x.r)
	from := ReasonDisk
	if e == nil {
		e, from = x.h.unvault(x.hash, x.key, x.r), ReasonVault
	}
	if e == nil && d.action == fetch {
		e, from = x.h.borrow(x.hash, x.key, x.r), ReasonShared
	}
	if e == nil {
		return nil, known || onDisk, d, ""
	}
	stands := x.h.Store.standing(e)
	if stands == hardPurged {
		return nil, known, d, ""
	}
	return e, true, decide(x.r, e, stands, time.Now()), from
}

// loadKey names an answer that is being read.
type loadKey struct {
	key     disk.Key
	variant uint64
}

// load is an answer that is being read from disk. Who wants it too waits.
type load struct {
	done chan struct{}
	e    *entry // nil: not to be had. Set before done is closed
}

// recall finds the answer for a request on disk and puts it into memory. Without
// one it puts parts of it there, for whoever looks for them next. known reports
// that there are answers for the key, even if none for the request.
// Whatever the disk does, at worst the answer is not found.
func (h *Handler) recall(hash uint64, key []byte, r *http.Request) (e *entry, known bool) {
	t := h.Store.tier.Load()
	if t == nil || !t.serving.Load() {
		return nil, false
	}
	blobs := t.blobs.Load()
	refs := blobs.Find(diskKey(key))
	known = slices.ContainsFunc(refs, func(ref disk.Ref) bool { return ref.Flags&flagPart == 0 })
	ref, ok := choose(refs, r.Header, 0)
	if !ok {
		ref, ok = choose(refs, r.Header, flagPart)
	}
	if !ok {
		return nil, known
	}
	at := loadKey{ref.Key, ref.Variant}
	t.mu.Lock()
	l := t.loads[at]
	if l != nil {
		t.mu.Unlock()
		select {
		case <-l.done:
		case <-r.Context().Done():
			return nil, known
		}
	} else {
		l = &load{done: make(chan struct{})}
		t.loads[at] = l
		t.mu.Unlock()
		h.lead(t, l, at, func() *entry { return h.promote(t, blobs, ref, hash, key, r.Header) })
	}
	if l.e == nil || l.e.isPart() || !matches(l.e.vary(), r.Header) {
		return nil, known
	}
	return l.e, true
}

// peekDisk is recall without changing anything. Unless the answer is wanted, it
// only counts.
func (h *Handler) peekDisk(key []byte, request http.Header, x *Explanation, wanted bool) *entry {
	t := h.Store.tier.Load()
	if t == nil || !t.serving.Load() {
		return nil
	}
	blobs := t.blobs.Load()
	refs := blobs.Find(diskKey(key))
	x.OnDisk = len(refs)
	ref, ok := choose(refs, request, 0)
	if !ok || !wanted {
		return nil
	}
	return t.read(blobs, ref, key, request)
}

// lead reads for itself and those who wait, whom it releases whatever happens.
func (h *Handler) lead(t *tier, l *load, at loadKey, read func() *entry) {
	defer func() {
		t.mu.Lock()
		delete(t.loads, at)
		t.mu.Unlock()
		close(l.done)
	}()
	l.e = read()
}

// choose is the newest of some answers, or parts, that is for such a request.
func choose(refs []disk.Ref, request http.Header, flags uint8) (disk.Ref, bool) {
	for _, ref := range refs {
		if ref.Flags == flags && ref.Variant^uint64(flags&flagPart)<<63 == diskVariant(variedByLabel(ref.Label, request)) {
			return ref, true
		}
	}
	return disk.Ref{}, false
}

// promote reads an answer into memory, for which it makes room first.
func (h *Handler) promote(t *tier, blobs *disk.Store, ref disk.Ref, hash uint64, key []byte, request http.Header) *entry {
	s := h.Store
	if !h.reserve(hash, ref.Size) {
		return nil
	}
	e := t.read(blobs, ref, key, request)
	s.release(ref.Size)
	if e == nil {
		return nil
	}
	e.adopt(hash, &s.commons)
	e.stamp = ref.Stamp
	t.hits.Add(1)
	if ref.Filed { // as reinsert: whoever joins this load asked before what removes it is done
		if !blobs.Has(ref) {
			return nil
		}
		return e
	}
	if !h.reserve(hash, e.claim()) {
		return e // it is served all the same
	}
	found := s.reinsert(e, blobs, ref)
	if found != e {
		s.release(e.claim())
	}
	return found
}

// read reads an answer that may be served now, as far as it itself says.
func (t *tier) read(blobs *disk.Store, ref disk.Ref, key []byte, request http.Header) *entry {
	// Others may wait for it, so it goes on when the client leaves; the disk
	// has a time limit of its own.
	meta, content, err := blobs.Read(context.Background(), ref)
	if err != nil {
		return nil // reported by those who read
	}
	stored, ok := bodyFrom(blobs, ref, content)
	e, err := decodeEntry(meta, stored)
	if err != nil || !ok {
		t.misread.Add(1)
		return nil
	}
	t.mu.Lock()
	held := e.version() != "" && t.held[e.version()]
	t.mu.Unlock()
	// A clock that was set back would make it younger than it is.
	if held || e.key() != string(key) || !matches(e.vary(), request) || e.began > t.store.Generation() ||
		e.received.After(time.Now()) {
		return nil
	}
	return e
}

// reinsert puts an answer from disk into memory, for whose bytes there is a
// reservation, unless memory has one meanwhile, which it gives instead. It gives
// nil when the answer was removed from disk while it was read:
//
//	A: finds the answer on disk
//	                                B: POST invalidates it, on disk and in memory
//	A: puts it into memory
func (s *Store) reinsert(e *entry, blobs *disk.Store, ref disk.Ref) *entry {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for other := range sh.stored(e.hash, []byte(e.key())) {
		if (e.isPart() || !other.isPart()) && sameVary(other.vary(), e.vary()) {
			return other
		}
	}
	if !blobs.Has(ref) {
		return nil
	}
	s.placeLocked(sh, e)
	return e
}
