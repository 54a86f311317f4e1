package httpcache

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
)

const (
	// firstChunk is what a body of unknown length starts with.
	firstChunk = 4 << 10
	// maxChunk bounds what grows at once; pieces double up to it.
	maxChunk = 1 << 20
	// windowBytes is how far a writer may run ahead of its slowest reader once
	// nothing is kept.
	windowBytes = 256 << 10
)

// errNobody stops a fetch whose answer nobody reads and nobody keeps.
var errNobody = errors.New("nobody reads the answer")

// buffer carries a body from one writer to any number of readers. It keeps all
// of it, so that readers may come late and the writer waits for nobody; until
// it becomes a window: then what all readers have read is dropped, the writer
// waits for the slowest, and nobody new may come.
type buffer struct {
	// reserve asks for memory before the buffer grows, release gives it back.
	// Both are called without locks of the buffer.
	reserve func(int64) bool
	release func(int64)
	// limit is how much may be kept; more turns the buffer into a window.
	limit int64
	// idle is called, unlocked, when the last reader leaves.
	idle func()

	mu       sync.Mutex
	chunks   [][]byte
	dropped  int   // chunks dropped before chunks[0]
	start    int64 // offset of chunks[0]
	end      int64 // bytes written
	held     int64 // bytes reserved
	kept     int   // number of chunks that are reserved for
	window   bool
	spilled  bool // who keeps it all is not a reader: nobody need read
	flushes  uint64
	closed   bool
	err      error
	readers  map[*reader]struct{}
	progress chan struct{} // closed when readers have news; nil if none waits
	room     chan struct{} // closed when the writer may go on; nil if it does not wait
}

// reader is one place in a buffer. Its fields belong to the buffer's lock.
type reader struct {
	b       *buffer
	chunk   int // counted from the first ever written
	offset  int
	flushes uint64
}

func (r *reader) position() int64 {
	at := r.b.start
	for i := range r.chunk - r.b.dropped {
		at += int64(len(r.b.chunks[i]))
	}
	return at + int64(r.offset)
}

// attach adds a reader at the beginning. It returns nil when the beginning is
// no longer there, and when the body has been cut off.
func (b *buffer) attach() *reader {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.window || b.err != nil {
		return nil
	}
	r := &reader{b: b}
	if b.readers == nil {
		b.readers = make(map[*reader]struct{})
	}
	b.readers[r] = struct{}{}
	return r
}

// detach removes the reader; more than once does no harm.
func (r *reader) detach() {
	b := r.b
	b.mu.Lock()
	_, attached := b.readers[r]
	delete(b.readers, r)
	freed := b.trimLocked()
	last := attached && len(b.readers) == 0 && !b.closed
	wake(&b.room)
	b.mu.Unlock()
	b.giveBack(freed)
	if last && b.idle != nil {
		b.idle()
	}
}

// take returns what there is to read; or, when there is nothing, the end (io.EOF
// or the writer's error), or a channel that closes when there is news. flush
// reports that the writer asked to flush since the last call.
func (r *reader) take() (p []byte, flush bool, news <-chan struct{}, err error) {
	b := r.b
	b.mu.Lock()
	p = r.nextLocked()
	flush, r.flushes = b.flushes != r.flushes, b.flushes
	freed := int64(0)
	switch {
	case len(p) > 0:
		freed = b.trimLocked()
		wake(&b.room)
	case b.err != nil:
		err = b.err
	case b.closed:
		err = io.EOF
	default:
		if b.progress == nil {
			b.progress = make(chan struct{})
		}
		news = b.progress
	}
	b.mu.Unlock()
	b.giveBack(freed)
	return p, flush, news, err
}

func (r *reader) nextLocked() []byte {
	b := r.b
	for at := r.chunk - b.dropped; at < len(b.chunks); at++ {
		if chunk := b.chunks[at]; r.offset < len(chunk) {
			p := chunk[r.offset:len(chunk):len(chunk)]
			r.offset = len(chunk)
			return p
		}
		if at == len(b.chunks)-1 {
			break // more may come into this one
		}
		r.chunk, r.offset = r.chunk+1, 0
	}
	return nil
}

// write appends p. It waits for readers only when the buffer is a window, and
// fails when nobody reads, or the context ends.
func (b *buffer) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		b.mu.Lock()
		if b.window {
			b.mu.Unlock()
			n, err := b.writeWindow(ctx, p)
			if err != nil {
				return err
			}
			p = p[n:]
			continue
		}
		if n := b.fillLocked(p); n > 0 {
			p = p[n:]
			b.mu.Unlock()
			continue
		}
		size := b.nextSizeLocked(len(p))
		keeps := b.end+int64(len(p)) <= b.limit
		b.mu.Unlock()
		if !keeps || !b.grow(size) {
			b.stopKeeping()
		}
	}
	return nil
}

// fillLocked copies into the spare room of the last chunk. Readers hold slices
// of what was there before, so nobody reads what is written here.
func (b *buffer) fillLocked(p []byte) int {
	last := len(b.chunks) - 1
	if last < 0 || b.end+int64(len(p)) > b.limit {
		return 0
	}
	chunk := b.chunks[last]
	n := min(cap(chunk)-len(chunk), len(p))
	if n == 0 {
		return 0
	}
	b.chunks[last] = append(chunk, p[:n]...)
	b.end += int64(n)
	wake(&b.progress)
	return n
}

func (b *buffer) nextSizeLocked(need int) int64 {
	size := max(int64(firstChunk), int64(need))
	if last := len(b.chunks) - 1; last >= 0 {
		size = max(size, 2*int64(cap(b.chunks[last])))
	}
	return max(1, min(size, maxChunk, b.limit-b.end))
}

// grow adds an empty chunk, if there is memory for it.
func (b *buffer) grow(size int64) bool {
	if b.reserve != nil && !b.reserve(size) {
		return false
	}
	chunk := make([]byte, 0, size)
	b.mu.Lock()
	b.chunks = append(b.chunks, chunk)
	b.held += size
	b.kept = b.dropped + len(b.chunks)
	b.mu.Unlock()
	return true
}

// stopKeeping turns the buffer into a window. What is already kept goes as it
// is read.
func (b *buffer) stopKeeping() {
	b.mu.Lock()
	b.window = true
	freed := b.trimLocked()
	b.mu.Unlock()
	b.giveBack(freed)
}

// spill turns the buffer into a window of what somebody else keeps, and gives
// what has been written so far. Without keeps it is one of what nobody keeps.
func (b *buffer) spill(keeps bool) [][]byte {
	b.mu.Lock()
	all := slices.Clone(b.chunks)
	b.spilled = keeps
	b.mu.Unlock()
	b.stopKeeping()
	return all
}

// overflows reports that n bytes more are not to be kept.
func (b *buffer) overflows(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.window && b.end+int64(n) > b.limit
}

// writeWindow waits for room and appends at most a window's worth.
func (b *buffer) writeWindow(ctx context.Context, p []byte) (int, error) {
	b.mu.Lock()
	for {
		if len(b.readers) == 0 && !b.spilled {
			b.mu.Unlock()
			return 0, errNobody
		}
		if ahead := b.end - b.slowestLocked(); ahead < windowBytes {
			n := min(len(p), int(windowBytes-ahead))
			b.chunks = append(b.chunks, append(make([]byte, 0, n), p[:n]...))
			b.end += int64(n)
			wake(&b.progress)
			freed := int64(0)
			if len(b.readers) == 0 {
				freed = b.trimLocked()
			}
			b.mu.Unlock()
			b.giveBack(freed)
			return n, nil
		}
		room := make(chan struct{})
		b.room = room
		b.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		b.mu.Lock()
	}
}

func (b *buffer) slowestLocked() int64 {
	slowest := b.end
	for r := range b.readers {
		slowest = min(slowest, r.position())
	}
	return slowest
}

// trimLocked drops, from a window, what all readers have taken. It returns how
// much memory to give back.
func (b *buffer) trimLocked() (freed int64) {
	if !b.window {
		return 0
	}
	keep := b.dropped + len(b.chunks)
	for r := range b.readers {
		passed := r.chunk
		if at := passed - b.dropped; at < len(b.chunks) && r.offset == len(b.chunks[at]) {
			passed++ // a window's chunks do not grow any more
		}
		keep = min(keep, passed)
	}
	for b.dropped < keep {
		if b.dropped < b.kept {
			freed += int64(cap(b.chunks[0]))
		}
		b.start += int64(len(b.chunks[0]))
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
		b.dropped++
	}
	for r := range b.readers {
		if r.chunk < b.dropped {
			r.chunk, r.offset = b.dropped, 0
		}
	}
	b.held -= freed
	return freed
}

func (b *buffer) giveBack(n int64) {
	if n > 0 && b.release != nil {
		b.release(n)
	}
}

// flush tells readers to flush what they have.
func (b *buffer) flush() {
	b.mu.Lock()
	b.flushes++
	wake(&b.progress)
	b.mu.Unlock()
}

// close ends the body; an error cuts it off for every reader.
func (b *buffer) close(err error) {
	b.mu.Lock()
	b.closed, b.err = true, err
	wake(&b.progress)
	b.mu.Unlock()
}

// whole is the body when all of it is kept.
func (b *buffer) whole() (body, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return body{chunks: b.chunks, size: b.end}, !b.window && b.err == nil
}

// written is how many bytes have come so far.
func (b *buffer) written() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end
}

// abandoned reports that nobody reads.
func (b *buffer) abandoned() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.readers) == 0
}

// isHopeless reports that nobody reads and nobody may come any more.
func (b *buffer) isHopeless() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.window && !b.spilled && len(b.readers) == 0
}

// surrender gives up the reservation; the caller accounts for what it kept.
func (b *buffer) surrender() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	b.held, b.kept = 0, 0
	return held
}

// wake closes a channel that somebody waits on.
func wake(c *chan struct{}) {
	if *c != nil {
		close(*c)
		*c = nil
	}
}
