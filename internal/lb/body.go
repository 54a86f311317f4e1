package lb

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// bodyless reports whether the request carries no body.
func bodyless(r *http.Request) bool { return r.Body == nil || r.Body == http.NoBody }

// idempotent reports whether a request may be sent again without knowing what
// became of the first (RFC 9110, 9.2.2).
func idempotent(method string) bool {
	return transport.Safe(method) || method == http.MethodPut || method == http.MethodDelete
}

// keyed reports whether the client gave the request a name by which the
// application can tell a repetition (draft-ietf-httpapi-idempotency-key-header).
func keyed(header http.Header) bool { return len(header["Idempotency-Key"]) > 0 }

// answerBody wraps the body of an answer: it gives the slot back when the body
// ends, and tells a body that was cut from one that the client did not want.
type answerBody struct {
	x     *exchange
	src   io.ReadCloser
	count *atomic.Int64 // what the request counts in, until it ends
	judge bool          // the verdict is still open
	ended atomic.Bool

	patience time.Duration // with the replica's silence; 0: for ever
	timer    *time.Timer   // runs while a Read does; nil before the first
	stalled  atomic.Bool   // it was too long
}

// errStalled is what a reader of the body gets when the replica falls silent.
var errStalled = errors.New("the replica stopped in the middle of the body")

// Read waits for the replica only: what the client takes to read is its own.
func (b *answerBody) Read(p []byte) (int, error) {
	switch {
	case b.patience == 0:
	case b.timer == nil:
		b.timer = time.AfterFunc(b.patience, b.stall)
	default:
		b.timer.Reset(b.patience)
	}
	n, err := b.src.Read(p)
	b.x.pool.received.Add(int64(n))
	if b.timer != nil {
		b.timer.Stop()
	}
	if err != nil {
		if b.stalled.Load() && err != io.EOF {
			err = errStalled
		}
		b.end(b.outcomeOf(err))
	}
	return n, err
}

// stall ends a Read that takes too long, and the connection with it.
func (b *answerBody) stall() {
	b.stalled.Store(true)
	_ = b.src.Close() // The Read has something to say of it.
}

func (b *answerBody) outcomeOf(err error) outcome {
	switch {
	case err == io.EOF:
		return good
	case err == errStalled:
		return cut
	case b.x.in.Context().Err() != nil:
		return neutral
	}
	return cut
}

// Close before the end says nothing about the replica: the client left.
func (b *answerBody) Close() error {
	b.end(neutral)
	return b.src.Close()
}

func (b *answerBody) end(o outcome) {
	if !b.ended.CompareAndSwap(false, true) {
		return
	}
	s := &b.x.slot
	if o == cut {
		s.record.observe(b.x.pool.now(), cut, untimed, 0)
	}
	if b.judge {
		b.x.pool.conclude(s, o)
	}
	b.x.pool.give(s.replica, b.count)
	b.x.release()
}
