// Package idleconn tells when an HTTP/1.1 connection that net/http serves waits for
// its next request, and has those that do leave for another server: one that shuts
// down closes its idle connections, and a request that arrives at that moment is lost
// (RFC 9112, section 9.6, leaves it to the client to send it again, which it may not
// do with a POST).
package idleconn

import "sync/atomic"

// ReaderSize is the size of net/http's buffer of a connection.
const ReaderSize = 4096

// Boundary tells whether the next byte on the wire is the first of a request.
// net/http says that a connection is idle, sets one read deadline and then
// reads for the next request, through a buffer of [ReaderSize] bytes: a read for
// as many bytes finds that buffer empty. All three are needed: with pipelining
// the next request may be in the buffer already, and a body that is read with
// an empty buffer must not pass for a request. A deadline from elsewhere only
// makes this stricter. It was checked for Go 1.26.
type Boundary struct {
	idle      atomic.Bool // net/http has said so, and nothing has been handed to it since
	deadlines atomic.Int32
}

// Idle notes that net/http calls the connection idle.
func (b *Boundary) Idle() {
	b.deadlines.Store(0)
	b.idle.Store(true)
}

// Deadline notes that a deadline for reading is set.
func (b *Boundary) Deadline() { b.deadlines.Add(1) }

// Left notes that net/http has a part of a request.
func (b *Boundary) Left() {
	if b.idle.Load() {
		b.idle.Store(false)
	}
}

// Idling reports that net/http has nothing of a request that it knows of.
func (b *Boundary) Idling() bool { return b.idle.Load() }

// At reports that a read into p gets the first byte of a request.
func (b *Boundary) At(p []byte) bool {
	return len(p) == ReaderSize && b.idle.Load() && b.deadlines.Load() == 1
}
