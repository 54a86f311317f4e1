package httpcache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
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
	key, variant := diskKey([]byte(e.key)), diskVariant(e.vary)
	if !t.worthwhile(e) {
		t.blobs.Load().Delete(key, variant)
		return
	}
	put := t.putOf(e)
	put.Body = e.body.chunks
	t.blobs.Load().Put(put)
}

// putOf is what is written of an answer, but for its body.
func (t *tier) putOf(e *entry) disk.Put {
	return disk.Put{
		Key: diskKey([]byte(e.key)), Variant: diskVariant(e.vary), Label: diskLabel(e.vary), Stamp: t.stampOf(e),
		Meta: e.appendMeta, Size: e.size,
	}
}

// worthwhile reports that an answer may be written, and will be of use for a
// while.
func (t *tier) worthwhile(e *entry) bool {
	return e.keepable() && e.lifetime-e.initialAge+max(e.whileRevalidate, e.ifError, e.unreachable) >= t.o.MinLife
}

// newerOnDisk reports that the answer to a later request has been written
// already; memory has evicted it since.
func (s *Store) newerOnDisk(e *entry) bool {
	t := s.tier.Load()
	return t != nil && t.serving.Load() &&
		t.blobs.Load().Newer(diskKey([]byte(e.key)), diskVariant(e.vary), t.stampOf(e))
}

// stampOf orders the answers to one request by when they were asked for. It goes
// by the process's own clock, after everything from earlier runs: the system's
// may be set back.
func (t *tier) stampOf(e *entry) int64 {
	if e.stamp != 0 {
		return e.stamp
	}
	return t.stamps + max(0, int64(e.requested.Sub(t.born)))
}

// unpersist removes an answer for good. The shard of its key is locked.
func (s *Store) unpersist(e *entry) {
	if t := s.tier.Load(); t != nil && t.blobs.Load() != nil && !s.newerOnDisk(e) {
		t.blobs.Load().Delete(diskKey([]byte(e.key)), diskVariant(e.vary))
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

// recall looks on disk for what memory does not have, and decides anew if it is
// there.
func (x *exchange) recall(known bool, d decision) (*entry, bool, decision) {
	e, onDisk := x.h.recall(x.hash, x.key, x.r)
	if e == nil {
		return nil, known || onDisk, d
	}
	stands := x.h.Store.standing(e)
	if stands == hardPurged {
		return nil, known, d
	}
	return e, true, decide(x.r, e, stands, time.Now())
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

// recall finds the answer for a request on disk and puts it into memory. known
// reports that there are answers for the key, even if none for the request.
// Whatever the disk does, at worst the answer is not found.
func (h *Handler) recall(hash uint64, key []byte, r *http.Request) (e *entry, known bool) {
	t := h.Store.tier.Load()
	if t == nil || !t.serving.Load() {
		return nil, false
	}
	blobs := t.blobs.Load()
	refs := blobs.Find(diskKey(key))
	ref, ok := choose(refs, r.Header)
	if !ok {
		return nil, len(refs) > 0
	}
	at := loadKey{ref.Key, ref.Variant}
	t.mu.Lock()
	l := t.loads[at]
	if l != nil {
		t.mu.Unlock()
		select {
		case <-l.done:
		case <-r.Context().Done():
			return nil, true
		}
	} else {
		l = &load{done: make(chan struct{})}
		t.loads[at] = l
		t.mu.Unlock()
		h.lead(t, l, at, func() *entry { return h.promote(t, blobs, ref, hash, key, r.Header) })
	}
	if l.e == nil || !matches(l.e.vary, r.Header) {
		return nil, true
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
	ref, ok := choose(refs, request)
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

// choose is the newest of some answers that is for such a request.
func choose(refs []disk.Ref, request http.Header) (disk.Ref, bool) {
	for _, ref := range refs {
		if ref.Variant == diskVariant(variedByLabel(ref.Label, request)) {
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
	e.hash, e.stamp = hash, ref.Stamp
	t.hits.Add(1)
	if ref.Filed { // as reinsert: whoever joins this load asked before what removes it is done
		if !blobs.Has(ref) {
			return nil
		}
		return e
	}
	if !h.reserve(hash, e.size) {
		return e // it is served all the same
	}
	found := s.reinsert(e, blobs, ref)
	if found != e {
		s.release(e.size)
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
	held := e.version != "" && t.held[e.version]
	t.mu.Unlock()
	// A clock that was set back would make it younger than it is.
	if held || e.key != string(key) || !matches(e.vary, request) || e.began > t.store.Generation() ||
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
	if g := sh.group(e.hash, []byte(e.key)); g != nil {
		for _, other := range g.variants {
			if !other.isPart() && sameVary(other.vary, e.vary) {
				return other
			}
		}
	}
	if !blobs.Has(ref) {
		return nil
	}
	s.placeLocked(sh, e)
	return e
}
