package transport

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
)

// body is an answer's. One goroutine reads it; another may close it meanwhile,
// which ends the Read.
type body struct {
	conn    *conn
	ctx     context.Context // the request's
	src     io.ReadCloser
	unwatch func() bool // ends the watch over ctx; false: ctx is over
	keep    bool        // the connection may be used again
	err     error       // of the Read that was the last one; for the reader only
	state   atomic.Int32
}

const (
	flowing  int32 = iota
	finished       // by Read, which has given the connection back
	closed         // by Close
)

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.state.Load() == closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.src.Read(p)
	if err == nil {
		return n, nil
	}
	if !b.state.CompareAndSwap(flowing, finished) {
		b.err = http.ErrBodyReadAfterClose
		return n, b.err
	}
	whole := err == io.EOF
	if !whole && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.err = err
	b.conn.end(b.unwatch() && whole && b.keep)
	return n, err
}

// Close before the end closes the connection: reading on might take long. What
// the connection reads with is left alone, since a Read may be using it.
func (b *body) Close() error {
	if b.state.CompareAndSwap(flowing, closed) {
		b.unwatch()
		b.conn.close()
	}
	return nil
}
