package httpcache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// spill writes a body that is too large for memory to disk, while it goes to
// those who wait for it. Nobody waits for the disk: what is not written yet
// stands in a queue, and if that is full for too long the body is given up, and
// goes on to the visitors alone. Whoever comes meanwhile reads the file, see
// latecomer, or asks the origin.
//
// It is stored when all of it is there and synced, on the spill's own goroutine.
// Until then its fill stays known, so that unsafe requests still doom it.
type spill struct {
	f     *fill
	t     *tier
	blobs *disk.Store
	queue chan *[]byte // the fill closes it
	lost  atomic.Bool  // it will not be whole
	growth

	// The fill's, until it closes the queue.
	patience time.Duration // that is left
	room     int64         // likewise
	whole    bool
}

const (
	// spillPiece is a place in the queue; there are leastPieces to mostPieces of
	// them, within a spillShare of the memory.
	spillPiece  = 64 << 10
	leastPieces = 4
	mostPieces  = 128
	spillShare  = 16
	// spillPatience is how long one answer may wait for the disk, in sum, while
	// somebody reads it.
	spillPatience = 250 * time.Millisecond
	// latePatience is how long one place in the queue may be waited for while
	// somebody reads the file, who would have to begin anew elsewhere.
	latePatience = 5 * time.Second
	// mostLarge is the default of DiskOptions.MaxObject.
	mostLarge = 1 << 30
)

var pieces = sync.Pool{New: func() any { b := make([]byte, 0, spillPiece); return &b }}

// largest is the largest body that the disk takes.
func (t *tier) largest() int64 {
	return min(cmp.Or(t.maxObject.Load(), mostLarge), mostLarge, t.maxBytes.Load()/8)
}

// largest is the largest body that is stored at all.
func (s *Store) largest() int64 {
	if t := s.tier.Load(); t != nil && t.serving.Load() {
		return max(s.maxObject.Load(), t.largest())
	}
	return s.maxObject.Load()
}

// beginSpill has the body written to disk rather than kept in memory, if it can
// be. The head is there; of the body, what the buffer has.
func (f *fill) beginSpill() bool {
	s := f.h.Store
	t := s.tier.Load()
	if t == nil || !t.serving.Load() || !t.worthwhile(f.head) || f.head.length() > t.largest() || t.largest() <= f.buffer.limit {
		return false
	}
	n := int(min(max(s.maxBytes.Load()/spillShare/spillPiece, leastPieces), mostPieces))
	if !f.h.reserve(f.hash, int64(n)*spillPiece) {
		return false
	}
	sp := &spill{f: f, t: t, blobs: t.blobs.Load(), queue: make(chan *[]byte, n), patience: spillPatience, room: t.largest()}
	if !f.spillAlone(sp) {
		s.release(int64(n) * spillPiece)
		return false
	}
	s.refuse(f.hash, ReasonToDisk, time.Now())
	t.spills.Go(func() {
		defer s.release(int64(n) * spillPiece)
		defer f.leave()
		sp.run()
	})
	for _, chunk := range f.buffer.spill(true) {
		sp.add(chunk)
	}
	return true
}

// spillAlone makes the spill the fill's, unless another one writes an answer for
// the same key.
func (f *fill) spillAlone(sp *spill) bool {
	sh := f.h.Store.shard(f.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slices.ContainsFunc(sh.fills[f.hash], func(other *fill) bool { return other.key == f.key && other.spill.Load() != nil }) {
		return false
	}
	f.spill.Store(sp)
	return true
}

// spillOver adds what is about to go into the buffer, which it may be too much
// for.
func (f *fill) spillOver(p []byte) {
	sp := f.spill.Load()
	if sp == nil && f.reason == "" && f.head.length() < 0 && f.buffer.overflows(len(p)) && f.beginSpill() {
		sp = f.spill.Load()
	}
	if sp != nil {
		sp.add(p)
	}
}

// spillWhole says that all of the body has come.
func (f *fill) spillWhole() Reason {
	sp := f.spill.Load()
	if sp.lost.Load() {
		f.h.Store.refuse(f.hash, ReasonTooLarge, time.Now())
		return ReasonTooLarge
	}
	f.head.seal(body{size: f.buffer.written()})
	sp.whole = true
	return ReasonToDisk
}

// add puts a copy of p into the queue.
func (sp *spill) add(p []byte) {
	if sp.room -= int64(len(p)); sp.room < 0 {
		sp.lose()
	}
	for len(p) > 0 && !sp.lost.Load() {
		piece := pieces.Get().(*[]byte)
		n := min(len(p), spillPiece)
		*piece = append((*piece)[:0], p[:n]...)
		if p = p[n:]; !sp.enqueue(piece) {
			sp.lose()
			sp.t.late.Add(1)
		}
	}
	if sp.lost.Load() {
		sp.f.buffer.spill(false)
	}
}

// enqueue waits for a place, for as long as there is patience. Where nobody reads
// nobody is kept waiting.
func (sp *spill) enqueue(piece *[]byte) bool {
	select {
	case sp.queue <- piece:
		return true
	default:
	}
	start := time.Now()
	timer := time.NewTimer(sp.patience)
	defer timer.Stop()
	for {
		select {
		case sp.queue <- piece:
			sp.patience -= min(sp.patience, time.Since(start))
			return true
		case <-sp.f.ctx.Done():
			return false
		case <-timer.C:
			if late := sp.followed(); late && time.Since(start) >= latePatience || !late && !sp.f.buffer.abandoned() {
				return false
			}
			timer.Reset(spillPatience)
		}
	}
}

// lose gives the body up.
func (sp *spill) lose() {
	sp.lost.Store(true)
	sp.change(func(g *growth) { g.ended = true })
}

// run writes what comes, and stores it in the end.
func (sp *spill) run() {
	w, err := sp.blobs.Begin()
	sp.change(func(g *growth) { g.writing = w })
	for piece := range sp.queue {
		if err == nil && !sp.lost.Load() {
			_, err = w.Write(*piece)
		}
		if err != nil {
			sp.lose()
		} else if !sp.lost.Load() {
			sp.change(func(g *growth) { g.written += int64(len(*piece)) })
		}
		pieces.Put(piece)
	}
	sp.change(func(g *growth) { g.ended, g.whole = true, err == nil && sp.whole && !sp.lost.Load() })
	if w != nil && !(err == nil && sp.whole && !sp.lost.Load() && sp.store(w)) {
		w.Abandon()
		if sp.whole && !sp.lost.Load() { // something came between: the next one is as good as the first
			sp.f.h.Store.accept(sp.f.hash)
		}
	}
}

// store ends the file and stores the answer, which takes it over.
func (sp *spill) store(w *disk.Writing) bool {
	contents, err := w.Finish()
	if err != nil || sp.f.storeFiled(sp.f.head, contents, w) != "" {
		return false
	}
	sp.t.large.Add(1)
	return true
}

// storeFiled stores an answer whose body is in a file: one that has just been
// written, or, with nil, the one of the answer that it replaces.
func (f *fill) storeFiled(e *entry, c disk.Contents, w *disk.Writing) Reason {
	s := f.h.Store
	if stands, _ := s.fence.judge(e.provenance(), e.began); stands == hardPurged {
		return f.barred(e.provenance())
	}
	if reason := f.putFiled(e, c, w); reason != "" {
		return reason
	}
	s.accept(f.hash)
	s.counters.stores.Add(1)
	if w == nil { // else the fill has ended already
		f.stored = true
	}
	f.event(EventStored, "", nil)
	return ""
}

func (f *fill) putFiled(e *entry, c disk.Contents, w *disk.Writing) Reason {
	s := f.h.Store
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if f.doomed.Load() {
		return ReasonInvalidated
	}
	t := s.tier.Load()
	if !t.serving.Load() || s.newerOnDisk(e) {
		return ReasonOutdated
	}
	for old := range sh.stored(e.hash, []byte(e.key())) {
		if !sameVary(old.vary(), e.vary()) {
			continue
		}
		if !e.supersedes(old) {
			return ReasonOutdated
		}
		s.removeLocked(sh, old)
		break
	}
	s.vault.forget(s, e)
	t.deleteOther(e)
	put := t.putOf(e)
	put.File, put.Written = c, w
	if !t.blobs.Load().Put(put) {
		return ReasonNoRoom
	}
	return ""
}

// bodyFile is where a body is on disk.
type bodyFile struct {
	blobs    *disk.Store
	ref      disk.Ref
	contents disk.Contents
}

// bodyFrom is the body of an answer that was read from disk.
func bodyFrom(blobs *disk.Store, ref disk.Ref, content []byte) (body, bool) {
	if ref.Filed {
		c, ok := disk.ReadContents(content)
		return body{size: c.Size, file: &bodyFile{blobs: blobs, ref: ref, contents: c}}, ok
	}
	return bodyOf(content), true
}

// bodyOf is a body in one piece.
func bodyOf(content []byte) body {
	b := body{size: int64(len(content))}
	if len(content) > 0 {
		b.chunks = [][]byte{content}
	}
	return b
}

// replyStored answers with a stored answer, whose body may be on disk. It reports
// false, with nothing written, when that cannot be read.
func (x *exchange) replyStored(rp reply) (res Result, done bool) {
	if file := rp.e.body().file; file != nil && x.r.Method != http.MethodHead {
		reading, err := file.blobs.Open(x.r.Context(), file.ref, file.contents)
		if errors.Is(err, disk.ErrGone) {
			x.h.Store.remove(rp.e)
		}
		if err != nil {
			return Result{}, false
		}
		defer reading.Close()
		rp.open = &openBody{ctx: x.r.Context(), reading: reading}
	}
	rp.o = x.o
	res, _ = x.h.reply(x.w, x.r, rp) // it has no error
	return res, true
}

// openBody is a body on disk that is being sent.
type openBody struct {
	ctx     context.Context
	reading *disk.Reading
}

// writePart writes a part, as it is read and checked. When the disk fails the
// header is out already: the answer must not look complete.
func (o *openBody) writePart(w io.Writer, offset, length int64) (written int64, err error) {
	for written < length {
		var gone error
		err := o.reading.Chunk(o.ctx, offset+written, func(p []byte) error {
			n := 0
			n, gone = w.Write(p[:min(int64(len(p)), length-written)])
			written += int64(n)
			return nil
		})
		if gone != nil {
			return written, gone
		}
		if o.ctx.Err() != nil {
			return written, o.ctx.Err()
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	return written, nil
}
