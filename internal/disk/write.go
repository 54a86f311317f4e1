package disk

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// gather is up to which size a record is put together before it is written, in
// one call.
const gather = 256 << 10

// Put is a blob to be written.
type Put struct {
	Key     Key
	Variant uint64
	// Label and Flags are handed back by Find, without reading. There may be
	// a few thousand different labels.
	Label string
	Flags uint8
	// Stamp orders blobs of one key and variant: an older one never takes the
	// place of a newer one.
	Stamp int64
	// Meta appends the first part. It is called later, on the writer's
	// goroutine.
	Meta func([]byte) []byte
	// Body is the second part. Nobody may change it.
	Body [][]byte
	// File says that the second part is in a file instead: in Written, or, when
	// that is nil, in the one that the blob of the key and variant has already.
	// Written belongs to the store when Put has taken it.
	File    Contents
	Written *Writing
	// Size is about what the blob holds in memory while it waits.
	Size int64
}

// op is something for the writer to do.
type op struct {
	kind     recordKind
	put      Put
	canceled bool          // guarded by mu
	done     chan struct{} // closed when it is written, or given up
}

// Put takes a blob to be written soon and reports whether it was taken. If not,
// an older blob of the key and variant is deleted all the same.
func (s *Store) Put(p Put) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.index.find(p.Key, p.Variant); at != noSlot && s.index.slots[at].stamp > p.Stamp {
		return false
	}
	for _, waiting := range s.pending[p.Key] {
		if waiting.put.Variant != p.Variant || waiting.canceled {
			continue
		}
		if waiting.put.Stamp > p.Stamp {
			return false
		}
		waiting.canceled = true
	}
	if s.closed || s.paused() || len(p.Label) > MaxLabel ||
		(s.queued > 0 && s.queued+p.Size > s.maxQueue) || p.Size > max(s.maxQueue, s.MaxBlob()) {
		s.counters.dropped.Add(1)
		s.deleteLocked(p.Key, p.Variant, false)
		return false
	}
	s.enqueueLocked(&op{kind: kindPut, put: p})
	return true
}

func (s *Store) enqueueLocked(o *op) {
	s.queue = append(s.queue, o)
	s.queued += o.put.Size
	if o.kind == kindPut {
		s.pending[o.put.Key] = append(s.pending[o.put.Key], o)
	}
	s.poke()
}

// Delete forgets one blob, for good. The channel, which may be nil, is closed
// when a crash of the process cannot bring the blob back any more, whoever has
// deleted it.
func (s *Store) Delete(key Key, variant uint64) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleteLocked(key, variant, false)
}

// DeleteAll is Delete for every variant of a key, be it one that could not be read, or
// for which the index had no room.
func (s *Store) DeleteAll(key Key) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deleteLocked(key, 0, true)
}

func (s *Store) deleteLocked(key Key, variant uint64, all bool) <-chan struct{} {
	found := false
	for _, waiting := range s.pending[key] {
		if all || waiting.put.Variant == variant {
			waiting.canceled, found = true, true
		}
	}
	o := &op{kind: kindDelete, put: Put{Key: key, Variant: variant}, done: make(chan struct{})}
	if all {
		o.kind = kindDeleteAll
		found = s.index.removeAll(key) > 0 || found || s.forgotLocked() && !s.paused()
	} else if at := s.index.find(key, variant); at != noSlot {
		s.index.remove(at)
		found = true
	}
	if !found || s.closed {
		if earlier := s.deleting[key]; earlier != nil {
			return earlier.done // by another, who may not have waited for it
		}
		return nil
	}
	// These are never dropped. There can be no more of them than there were blobs, and
	// than are asked for at once.
	s.enqueueLocked(o)
	s.deleting[key] = o
	return o.done
}

// forgotLocked reports that there may be blobs which the index does not know.
func (s *Store) forgotLocked() bool {
	return slices.ContainsFunc(s.segments, func(g *segment) bool { return g.forgot })
}

// write is the writer's goroutine.
func (s *Store) write() {
	defer close(s.done)
	for {
		if s.crowded.Swap(false) {
			s.giveWay()
		}
		switch {
		case s.paused():
		case s.trim() && s.next():
			continue
		case s.unsaved && !s.paused():
			s.save()
			continue
		}
		var retry <-chan time.Time
		if s.paused() {
			retry = time.After(writePause)
		}
		select {
		case <-s.wake:
		case <-retry:
		case <-s.stop:
			s.finish()
			return
		}
	}
}

// next takes the first of the queue and writes it. It reports false when there
// is nothing to write, or writing has failed.
func (s *Store) next() bool {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.queue = nil
		s.mu.Unlock()
		return false
	}
	o := s.queue[0]
	canceled := o.canceled
	s.mu.Unlock()
	var err error
	if !canceled {
		err = s.do(o)
	}
	if o.put.Written != nil {
		o.put.Written.Abandon() // unless it has its place
	}
	if err != nil {
		s.failed(err)
		if isFull(err) {
			s.giveWay()
		}
		if o.kind != kindPut {
			return false // it must not be lost: later again
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.queued -= o.put.Size
	if o.kind == kindPut {
		s.forgetPendingLocked(o)
		if err != nil {
			s.counters.dropped.Add(1)
			s.deleteLocked(o.put.Key, o.put.Variant, false)
		}
	}
	if o.done != nil {
		close(o.done)
	}
	if s.deleting[o.put.Key] == o {
		delete(s.deleting, o.put.Key)
	}
	return err == nil
}

func (s *Store) forgetPendingLocked(o *op) {
	rest := slices.DeleteFunc(s.pending[o.put.Key], func(other *op) bool { return other == o })
	if len(rest) == 0 {
		delete(s.pending, o.put.Key)
		return
	}
	s.pending[o.put.Key] = rest
}

func (s *Store) do(o *op) error {
	h := head{kind: o.kind, key: o.put.Key, variant: o.put.Variant}
	if o.kind != kindPut {
		_, _, err := s.append(h, nil, nil)
		if err == nil {
			s.unsaved = true
			s.counters.deletes.Add(1)
		}
		return err
	}
	h.flags, h.stamp, h.label = o.put.Flags, o.put.Stamp, o.put.Label
	meta, body := o.put.Meta(nil), o.put.Body
	if o.put.File.Size > 0 {
		h.kind, body = kindPutFile, [][]byte{o.put.File.append(nil)}
	}
	size := int64(0)
	for _, chunk := range body {
		size += int64(len(chunk))
	}
	if len(meta) > maxMeta || headSize+int64(len(h.label)+len(meta))+size > s.MaxBlob() {
		s.counters.dropped.Add(1)
		s.Delete(h.key, h.variant)
		return nil
	}
	h.meta, h.body, h.sum = uint32(len(meta)), uint32(size), checksum(meta, body...)
	if h.kind == kindPutFile {
		if found, err := s.adopt(o.put); !found {
			return err
		}
		defer s.suspect(fileName{h.key, h.variant}) // for all that comes between
	}
	g, p, err := s.append(h, meta, body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !o.canceled && s.insertLocked(g, p) {
		s.counters.writes.Add(1)
	}
	return nil
}

func checksum(meta []byte, body ...[]byte) uint32 {
	sum := crc32.Checksum(meta, castagnoli)
	for _, chunk := range body {
		sum = crc32.Update(sum, castagnoli, chunk)
	}
	return sum
}

// append writes one record to the last segment. After an error the segment is
// as it was before.
func (s *Store) append(h head, meta []byte, body [][]byte) (*segment, placed, error) {
	s.makeRoom(h.size())
	return s.appendTo(h, meta, body)
}

func (s *Store) appendTo(h head, meta []byte, body [][]byte) (*segment, placed, error) {
	g, err := s.room(h.size())
	if err != nil {
		return nil, placed{}, err
	}
	at := g.size
	b := append(h.append(s.scratch[:0]), meta...)
	for _, chunk := range body {
		if len(b) > 0 && len(b)+len(chunk) > gather {
			if err = s.writeOut(g, &at, b); err != nil {
				break
			}
			b = b[:0]
		}
		if len(chunk) > gather {
			if err = s.writeOut(g, &at, chunk); err != nil {
				break
			}
			continue
		}
		b = append(b, chunk...)
	}
	if err == nil {
		err = s.writeOut(g, &at, b)
	}
	if cap(b) <= 2*gather {
		s.scratch = b[:0]
	}
	if err != nil {
		return nil, placed{}, errors.Join(err, g.file.Truncate(g.size))
	}
	s.works()
	p := placed{offset: uint32(g.size), head: h}
	g.table = append(g.table, p)
	s.mu.Lock()
	g.size += h.size()
	g.files += s.filedLocked(&h)
	s.bytes += h.size()
	s.mu.Unlock()
	return g, p, nil
}

func (s *Store) writeOut(g *segment, at *int64, b []byte) error {
	n, err := g.file.WriteAt(b, *at)
	*at += int64(n)
	return err
}

// room is the segment to write n bytes to: the last one, or a new one.
func (s *Store) room(n int64) (*segment, error) {
	last := s.last()
	if last != nil && !last.sealed && (last.size+last.files+n <= s.segmentSize() || len(last.table) == 0) {
		return last, nil
	}
	id := uint32(1)
	if last != nil {
		id = last.id + 1
	}
	if last != nil && !last.sealed {
		written, err := last.seal()
		s.mu.Lock()
		last.size += written
		s.bytes += written
		s.mu.Unlock()
		if err != nil {
			s.doubtful = true
			return nil, err
		}
	}
	name := filepath.Join(s.dir, segmentName(id))
	file, err := s.fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteAt([]byte(segmentMagic), 0); err != nil {
		return nil, errors.Join(err, file.Close(), s.fs.Remove(name))
	}
	g := &segment{id: id, file: file, size: int64(len(segmentMagic))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = append(s.segments, g)
	s.bytes += g.size
	return g, nil
}

func (s *Store) last() *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return nil
	}
	return s.segments[len(s.segments)-1]
}

// Flush waits until everything that was put or deleted before is written, or
// given up.
func (s *Store) Flush() {
	o := &op{kind: kindPut, canceled: true, done: make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.enqueueLocked(o)
	s.mu.Unlock()
	<-o.done
}
