package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

const (
	// maxReads is how many reads may be under way at once.
	maxReads = 64
	// readPatience is how long a read may take; a disk that takes longer is no
	// faster than an origin.
	readPatience = time.Second
	// readPause is how long nothing is read after that.
	readPause = 5 * time.Second
)

// Ref is a blob that Find has found.
type Ref struct {
	Key     Key
	Variant uint64
	Label   string
	Flags   uint8
	Stamp   int64
	// Size is the bytes that it takes on disk, less those of a file.
	Size int64
	// Filed: its second part is in a file. See Open.
	Filed bool

	segment, offset uint32
}

// Find lists the variants of a key, the newest first. It reads nothing.
func (s *Store) Find(key Key) (refs []Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index.heads[key]
	if !ok {
		return nil
	}
	for ; at != noSlot; at = s.index.slots[at].next {
		one := &s.index.slots[at]
		refs = append(refs, Ref{
			Key: key, Variant: one.variant, Label: s.index.labels[one.label], Flags: one.flags, Stamp: one.stamp,
			Size: int64(one.size), Filed: one.filed, segment: one.segment, offset: one.offset,
		})
	}
	return refs
}

// Has reports that a blob is still there, as it was found.
func (s *Store) Has(r Ref) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slotLocked(r) != nil
}

// Newer reports that there is a blob of the key and variant with a higher
// stamp, written or waiting to be.
func (s *Store) Newer(key Key, variant uint64, stamp int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, waiting := range s.pending[key] {
		if waiting.put.Variant == variant && !waiting.canceled && waiting.put.Stamp > stamp {
			return true
		}
	}
	at := s.index.find(key, variant)
	return at != noSlot && s.index.slots[at].stamp > stamp
}

// slotLocked is the slot of a blob, wherever it has moved to since; or nil.
func (s *Store) slotLocked(r Ref) *slot {
	at := s.index.find(r.Key, r.Variant)
	if at == noSlot || s.index.slots[at].stamp != r.Stamp {
		return nil
	}
	return &s.index.slots[at]
}

// Read gives both parts of a blob; the caller owns them. Where the second one is
// in a file, it is what ReadContents reads. It waits a second at most for a disk
// that hangs. Errors: ErrGone when the blob has been deleted or reclaimed
// meanwhile; others say what the disk did, and have been reported.
func (s *Store) Read(ctx context.Context, r Ref) (meta, body []byte, err error) {
	type blob struct{ meta, body []byte }
	b, err := patiently(ctx, s, r, func() (b blob, err error) {
		b.meta, b.body, err = s.readNow(r)
		return b, err
	}, func(blob) {})
	return b.meta, b.body, err
}

// patiently reads something of a blob, for as long as there is patience. What
// comes later is dropped.
func patiently[T any](ctx context.Context, s *Store, r Ref, read func() (T, error), drop func(T)) (none T, err error) {
	if time.Now().UnixNano() < s.readersUntil.Load() {
		return none, errBusy
	}
	// A read that hangs holds its place until it ends; with none left, nobody
	// waits for the disk any more.
	select {
	case s.reading <- struct{}{}:
	default:
		if err := s.awaitPlace(ctx); err != nil {
			return none, err
		}
	}
	type outcome struct {
		value T
		err   error
	}
	result, left := make(chan outcome), make(chan struct{})
	defer close(left)
	go func() {
		defer func() { <-s.reading }()
		value, err := read()
		select {
		case result <- outcome{value, err}:
		case <-left:
			if err == nil {
				drop(value)
			}
		}
	}()
	timer := time.NewTimer(readPatience)
	defer timer.Stop()
	select {
	case o := <-result:
		return o.value, s.judge(r, o.err)
	case <-ctx.Done():
		return none, ctx.Err()
	case <-timer.C:
		return none, s.judge(r, fmt.Errorf("read took longer than %s: %w", readPatience, errBusy))
	}
}

func (s *Store) awaitPlace(ctx context.Context) error {
	timer := time.NewTimer(readPatience)
	defer timer.Stop()
	select {
	case s.reading <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		s.counters.timeouts.Add(1)
		return errBusy
	}
}

// errCorrupt: what was read is not what was written.
var errCorrupt = errors.New("checksum does not match")

// judge counts and reports what became of a read.
func (s *Store) judge(r Ref, err error) error {
	switch {
	case err == nil:
		s.counters.reads.Add(1)
		s.mu.Lock()
		if one := s.slotLocked(r); one != nil {
			one.hit = true
		}
		s.mu.Unlock()
	case errors.Is(err, ErrGone), errors.Is(err, os.ErrClosed):
		return ErrGone
	case errors.Is(err, errCorrupt):
		s.counters.corrupt.Add(1)
		s.forget(r)
		s.tell(Event{Kind: EventCorrupt, Err: err})
	case errors.Is(err, errBusy):
		s.counters.timeouts.Add(1)
		s.readersUntil.Store(time.Now().Add(readPause).UnixNano())
		s.tell(Event{Kind: EventReadFailed, Err: err})
	default:
		s.counters.errors.Add(1)
		s.forget(r)
		s.tell(Event{Kind: EventReadFailed, Err: err})
	}
	return err
}

// forget takes a blob that cannot be read out of the index.
func (s *Store) forget(r Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.index.find(r.Key, r.Variant); at != noSlot && s.index.slots[at].segment == r.segment && s.index.slots[at].offset == r.offset {
		s.index.remove(at)
		if g := s.segmentLocked(r.segment); g != nil {
			g.forgot = true
		}
	}
}

// readAhead is how much is read at once: most blobs whole, of others the head.
const readAhead = 64 << 10

var windows = sync.Pool{New: func() any { b := make([]byte, readAhead); return &b }}

// readNow reads and checks a blob.
func (s *Store) readNow(r Ref) (meta, body []byte, err error) {
	g, at, size, ok := s.locate(r)
	if !ok {
		return nil, nil, ErrGone
	}
	pooled := windows.Get().(*[]byte)
	defer windows.Put(pooled)
	window := (*pooled)[:min(size, readAhead)]
	if _, err := g.file.ReadAt(window, at); err != nil {
		return nil, nil, err
	}
	h, ok := decodeHead(window)
	if !ok || !h.isPut() || h.key != r.Key || h.variant != r.Variant || h.stamp != r.Stamp || h.size() != size {
		return nil, nil, fmt.Errorf("head of a blob in %s: %w", segmentName(g.id), errCorrupt)
	}
	rest := window[headSize+len(h.label):]
	at += int64(len(window))
	part := func(n uint32) ([]byte, error) {
		b := make([]byte, n)
		had := copy(b, rest)
		rest = rest[had:]
		if had < len(b) {
			if _, err := g.file.ReadAt(b[had:], at); err != nil {
				return nil, err
			}
			at += int64(len(b) - had)
		}
		return b, nil
	}
	if meta, err = part(h.meta); err != nil {
		return nil, nil, err
	}
	if body, err = part(h.body); err != nil {
		return nil, nil, err
	}
	if checksum(meta, body) != h.sum {
		return nil, nil, fmt.Errorf("blob in %s: %w", segmentName(g.id), errCorrupt)
	}
	return meta, body, nil
}

// locate finds where a blob is now.
func (s *Store) locate(r Ref) (g *segment, at, size int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.slotLocked(r)
	if one == nil {
		return nil, 0, 0, false
	}
	if g = s.segmentLocked(one.segment); g == nil {
		return nil, 0, 0, false
	}
	return g, int64(one.offset), int64(one.size), true
}

// segmentLocked is the segment of that number, nil if it has gone.
func (s *Store) segmentLocked(id uint32) *segment {
	for _, g := range s.segments {
		if g.id == id {
			return g
		}
	}
	return nil
}
