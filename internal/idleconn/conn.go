package idleconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// phase is where a connection is.
type phase uint8

const (
	serving  phase = iota
	awaiting       // a read for the first byte of a request is pending
	summoned       // the same, and it was told to come back
	closing        // to be closed, unless net/http says that the answer was finished
	gone           // to another server
	closed
)

// spare is the deadline of a read that goes on after the connection was told to
// leave, since the request had begun. net/http sets its own before the next one.
const spare = 10 * time.Second

// Conn is a connection of a group.
type Conn struct {
	*net.TCPConn
	group        *Group
	before, next *Conn // in the group

	mu       sync.Mutex
	phase    phase
	boundary Boundary
	state    atomic.Int32 // an [http.ConnState]
	direct   atomic.Bool  // nothing that keeps bytes, such as TLS, is between net/http and it
	begun    atomic.Bool  // something was read
	fixed    atomic.Bool  // it stays: it is of HTTP/2, or was hijacked
	// handled: net/http has done something with the connection since it called it
	// active. Before that it may still drop the request.
	handled atomic.Bool
	// rest is how many bytes of the last request are still to come: of one that was
	// read to its end, and after which nothing came, it is 0.
	rest atomic.Int64
	head []byte // of a request, until it is whole
	// ahead: head is of a request that came before the answer to the last one was
	// finished. It is all that net/http has of the client then.
	ahead bool
	// early is what was read of the first request where the connection comes from: a
	// byte, since net/http reads no more ahead of an answer's end.
	early []byte
	// moved: it comes from another group, and nothing was read here. What net/http
	// allows for the header that it waits for then is header.
	moved  bool
	header time.Duration
	// way is where there is room for another when this one, which is summoned, has
	// left; nil for nowhere.
	way <-chan struct{}
}

// StateChanged follows what net/http does with the connection; direct says that
// nothing that keeps bytes, such as TLS, is between the two.
func (c *Conn) StateChanged(state http.ConnState, direct bool) {
	defer c.state.Store(int32(state))
	switch state {
	case http.StateNew:
		c.direct.Store(direct)
	case http.StateActive:
		c.handled.Store(false)
	case http.StateHijacked:
		c.fixed.Store(true)
	case http.StateIdle:
		if direct {
			c.becomesIdle()
		}
	case http.StateClosed:
		c.finish()
	}
}

func (c *Conn) becomesIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ahead { // whatever it was, net/http knew its end
		c.head = nil
	}
	c.boundary.Idle()
}

// Read is called by net/http, also for single bytes on another goroutine while
// a handler runs.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case !c.begun.Load() || c.tells() && c.boundary.At(p):
		n, err := c.ReadRequest(p)
		c.Began(p[:n])
		return n, err
	case !c.tells():
		return c.TCPConn.Read(p)
	case c.leavesAhead():
		return 0, io.EOF
	}
	c.handled.Store(true)
	c.finish()
	c.boundary.Left()
	n, err := c.TCPConn.Read(p)
	c.follow(p[:n])
	return n, err
}

// ReadRequest is a Read for the first byte of a request, which the caller knows it to
// be. If the connection has left, it is at its end. The caller calls [Conn.Began] or
// [Conn.Answered] then.
func (c *Conn) ReadRequest(p []byte) (int, error) {
	if err := c.await(); err != nil {
		return 0, err
	}
	n, err := copy(p, c.early), error(nil)
	if n == 0 {
		n, err = c.TCPConn.Read(p)
	}
	if c.leaves(p[:n], err) {
		return 0, io.EOF
	}
	return n, err
}

// await begins to wait for a request, unless the connection is to leave, or is closed.
func (c *Conn) await() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase == gone || c.phase == closed:
		return io.EOF
	case !c.Leaving():
		c.phase = awaiting
		return nil
	}
	c.leave()
	return io.EOF
}

// leaves ends the wait, and reports that the connection has left.
func (c *Conn) leaves(b []byte, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	told := c.phase == summoned
	defer c.makeWay()
	if told && len(b) == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		c.leave()
		return true
	}
	if told {
		// If it fails the connection is broken, which the next use tells.
		_ = c.TCPConn.SetReadDeadline(time.Now().Add(spare))
	}
	if told || c.phase == awaiting {
		c.phase = serving
	}
	if len(b) == 0 {
		return false
	}
	if c.moved {
		c.headerBegins()
	}
	if !c.begun.Swap(true) && len(c.early) == 0 && (len(b) < len("PRI") || bytes.HasPrefix(b, []byte("PRI"))) {
		c.fixed.Store(true) // a preface (RFC 9113, section 3.4), or too little to tell
	}
	c.early = c.early[min(len(b), len(c.early)):]
	c.boundary.Left()
	c.head, c.ahead = nil, false
	c.rest.Store(unknown)
	return false
}

// Began notes what net/http gets of what ReadRequest has read.
func (c *Conn) Began(b []byte) {
	if len(b) == 0 || !c.tells() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin(b)
}

// leavesAhead has the connection leave when net/http asks for more of a request that
// came early.
func (c *Conn) leavesAhead() bool {
	if !c.boundary.Idling() || !c.Leaving() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead && (c.phase == serving || c.phase == closing) {
		c.leave()
	}
	return c.phase == gone
}

// begin notes the first bytes of a request. net/http's first read is of as many as
// tell HTTP/2 from HTTP/1.1, so that all of the header may not be there.
func (c *Conn) begin(b []byte) {
	left, known := rest(b)
	if c.rest.Store(left); known || len(b) > ReaderSize {
		c.head, c.ahead = nil, false
	} else {
		c.head = append(make([]byte, 0, len(b)), b...)
	}
}

// follow notes later bytes of it, or the first of the next one, if it came before the
// answer was finished.
func (c *Conn) follow(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(b) == 0:
	case c.head != nil:
		c.begin(append(c.head, b...))
	case c.rest.Load() == 0:
		c.ahead = true
		c.begin(b)
	default:
		c.rest.Add(-int64(len(b)))
	}
}

// leave hands the connection over. It is called with mu held, where nothing of a
// request was read and no answer is to be written.
func (c *Conn) leave() {
	c.phase = gone
	c.group.remove(c)
	// If it fails the connection is broken, which the next use tells.
	_ = c.TCPConn.SetDeadline(time.Time{})
	moved := &Moved{c.TCPConn, c.early}
	if c.ahead {
		moved.Early = c.head
	}
	c.group.mu.Lock()
	to := c.group.to
	c.group.mu.Unlock()
	to(moved)
}

// summon has a connection that waits for a request leave, and makes way then; others
// do at once.
func (c *Conn) summon(way <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.way = way
	if !c.call() {
		c.makeWay()
	}
}

// call has a connection come back that waits for a request. It is called with mu held.
func (c *Conn) call() bool {
	if c.phase != awaiting || c.fixed.Load() {
		return false
	}
	c.phase = summoned
	_ = c.TCPConn.SetReadDeadline(time.Unix(1, 0)) // it is closed already: so much the better
	return true
}

func (c *Conn) makeWay() {
	if c.way != nil {
		<-c.way
		c.way = nil
	}
}

// tells reports that what is done with the connection tells about requests.
func (c *Conn) tells() bool { return c.direct.Load() && !c.fixed.Load() }

// busy reports that net/http may have a part of a request's header. While it reads
// one, it calls the connection new, or idle.
func (c *Conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch http.ConnState(c.state.Load()) {
	case http.StateNew:
		return c.begun.Load() || c.phase == summoned
	case http.StateActive:
		return c.tells() && !c.handled.Load()
	case http.StateIdle:
		return c.tells() && (c.phase == serving || c.phase == summoned)
	default:
		return false
	}
}

// Leaving reports that the connection leaves when it comes to wait for a request.
func (c *Conn) Leaving() bool { return c.group.left.Load() && !c.fixed.Load() }

// Close closes the connection, unless it has left. A server that shuts down closes
// those that wait for a request, or are about to: they leave instead. It calls them
// idle before it says so, but whether it had called for the end of an answer that
// failed shows by what it does next.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.phase == gone || c.phase == summoned || c.Leaving() && c.call():
		return nil
	case (c.phase == serving || c.phase == closing) && c.Leaving() && c.tells() && c.between():
		switch {
		case c.boundary.Idling():
			c.leave()
			return nil
		case http.ConnState(c.state.Load()) == http.StateActive:
			c.phase = closing
			return nil
		}
	}
	return c.end()
}

// between reports that net/http has nothing of the client, or only bytes that are
// known.
func (c *Conn) between() bool { return c.rest.Load() == 0 || c.ahead }

func (c *Conn) end() error {
	c.phase = closed
	c.group.remove(c)
	return c.TCPConn.Close()
}

// finish closes the connection for real, if that was put off: in a group that leaves
// only.
func (c *Conn) finish() {
	if !c.group.left.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == closing {
		_ = c.end() // Close has been answered
	}
}

// Answered notes that the whole request has been answered without net/http, and that
// the next byte is the first of another.
func (c *Conn) Answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.ahead = nil, false
	c.rest.Store(0)
	c.boundary.Idle()
}

// Write is what net/http writes, but for what it leaves to the kernel.
func (c *Conn) Write(b []byte) (int, error) {
	if c.tells() {
		c.handled.Store(true)
		c.finish()
	}
	return c.TCPConn.Write(b)
}
