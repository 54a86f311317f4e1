// Package logbatch hands lines to a writer in batches, on a goroutine of its own.
package logbatch

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// every is how long a record waits at most for others.
	every = 100 * time.Millisecond
	// piece is the most that is written at once, but for a record that is longer:
	// a file that is rolled by its size takes no more than that.
	piece = 256 << 10
	// room is what waits at most.
	room = 4 << 20
)

// ErrFull is that a record found no room, since what waits is not written fast
// enough.
var ErrFull = errors.New("the writer is too slow: 4 MiB of records wait")

// Options say whom a writer tells. Both functions may be called from any goroutine.
type Options struct {
	// Dropped is told of each record that was lost.
	Dropped func(records int)
	// Trouble is told why, of the first since a write that went well.
	Trouble func(error)
}

// Writer takes one record, with its end of line, by each Write. Its methods may
// be called concurrently. Whoever makes one closes it.
type Writer struct {
	options Options
	wake    chan struct{} // there is something to write
	full    chan struct{} // there is much
	closing chan struct{}
	closed  sync.WaitGroup

	flushing sync.Mutex // held while to is written to; taken before mu
	to       io.WriteCloser
	spare    []byte

	mu       sync.Mutex
	waiting  []byte
	troubled bool
	ended    bool
}

// New writes to another writer, which it closes in the end.
func New(to io.WriteCloser, o Options) *Writer {
	w := &Writer{options: o, to: to, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), closing: make(chan struct{})}
	w.closed.Go(w.run)
	return w
}

// Write takes a record. It never fails because of the writer behind.
func (w *Writer) Write(record []byte) (int, error) {
	w.mu.Lock()
	if w.ended {
		w.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	if len(w.waiting) > 0 && len(w.waiting)+len(record) > room {
		w.mu.Unlock()
		w.lost(1, ErrFull)
		return len(record), nil
	}
	first := len(w.waiting) == 0
	w.waiting = append(w.waiting, record...)
	much := len(w.waiting) >= piece
	w.mu.Unlock()
	if first {
		signal(w.wake)
	}
	if much {
		signal(w.full)
	}
	return len(record), nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (w *Writer) run() {
	pause := time.NewTimer(every)
	pause.Stop()
	for {
		select {
		case <-w.closing:
			return
		case <-w.wake:
		}
		pause.Reset(every)
		select {
		case <-w.closing:
			return
		case <-w.full:
		case <-pause.C:
		}
		w.flush()
	}
}

// Sync writes what waits. It returns no error: what was lost is counted.
func (w *Writer) Sync() error {
	w.flush()
	return nil
}

func (w *Writer) flush() {
	w.flushing.Lock()
	defer w.flushing.Unlock()
	w.mu.Lock()
	batch := w.waiting
	w.waiting = w.spare[:0]
	w.mu.Unlock()
	w.spare = batch
	if cap(w.spare) > 4*piece {
		w.spare = nil // what was once needed is not kept for ever
	}
	for len(batch) > 0 {
		next := batch[:end(batch)]
		batch = batch[len(next):]
		if _, err := w.to.Write(next); err != nil {
			w.lost(bytes.Count(next, []byte("\n")), err)
			continue
		}
		w.mu.Lock()
		w.troubled = false
		w.mu.Unlock()
	}
}

// end is where the next write of a batch ends: behind whole records, and no
// later than a piece if there is a choice.
func end(batch []byte) int {
	if len(batch) <= piece {
		return len(batch)
	}
	if i := bytes.LastIndexByte(batch[:piece], '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(batch, '\n'); i >= 0 {
		return i + 1
	}
	return len(batch)
}

// lost tells of records that are not written.
func (w *Writer) lost(records int, why error) {
	w.options.Dropped(records)
	w.mu.Lock()
	first := !w.troubled
	w.troubled = true
	w.mu.Unlock()
	if first {
		w.options.Trouble(why)
	}
}

// Close writes what waits, and closes the writer behind.
func (w *Writer) Close() error {
	w.mu.Lock()
	ended := w.ended
	w.ended = true
	w.mu.Unlock()
	if ended {
		return nil
	}
	close(w.closing)
	w.closed.Wait()
	w.flush()
	return w.to.Close()
}
