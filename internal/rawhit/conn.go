package rawhit

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/idleconn"
)

// maxFlat is the size up to which header and body are copied into one piece:
// larger ones are given to the kernel as they lie.
const maxFlat = 16 << 10

// maxBody is the largest body of which one deadline for writing will do.
const maxBody = 256 << 10

// The states of a connection.
const (
	waiting int32 = iota
	replying
	closed
)

// conn is a connection: a [plainConn] or a [secureConn]. But for its atomic
// fields, only the goroutine that serves it touches it: net/http calls Read
// with idleconn.ReaderSize bytes, Write and ConnState there.
type conn struct {
	net.Conn
	moves *idleconn.Conn // the same, if it can leave for another server
	table *Table
	tls   *tls.ConnectionState // nil without TLS

	off     bool // not for this package: hijacked
	known   bool // it is of HTTP/1.1 and had a hit, so trusted is right
	trusted bool
	// afterGet: the last request that net/http saw was a GET. After a POST it
	// forgives a client that sends an empty line too many; it must see what
	// comes next, since it would forgive a later request as well.
	afterGet bool
	isGet    bool // the request that is being served is one, as far as we know

	boundary idleconn.Boundary

	work    *scratch // nil between requests
	capture *capture
	armed   time.Time // when our deadlines were set; zero when they are not

	state atomic.Int32
	// closing: net/http has closed it, while a reply was being written.
	closing atomic.Bool

	chosen bool // the request that was handed over last was picked
}

// Read is called by net/http, also for single bytes on another goroutine while
// a handler runs. At the boundary of requests it answers what the table knows
// and returns bytes of something else.
func (c *conn) Read(p []byte) (int, error) {
	if !c.boundary.At(p) {
		c.boundary.Left() // for a request whose start net/http has already
		return c.Conn.Read(p)
	}
	n := 0
	for {
		read := c.Conn.Read
		if n == 0 {
			c.putAway()
			if c.moves != nil {
				read = c.moves.ReadRequest
			}
		}
		m, err := read(p[n:])
		n += m
		if n = c.answer(p, n); n > 0 {
			c.handOver(p[:n])
			return n, nil // the error will come again
		}
		switch {
		case c.state.Load() == closed:
			return 0, io.EOF
		case err != nil:
			return 0, err
		}
	}
}

// handOver notes what net/http gets to read.
func (c *conn) handOver(b []byte) {
	if c.moves != nil {
		c.moves.Began(b)
	}
	c.boundary.Left()
	if !c.armed.IsZero() {
		c.armed = time.Time{}
		// If it fails the connection is broken, which the next use tells.
		_ = c.Conn.SetWriteDeadline(time.Time{})
	}
	if c.isGet = bytes.HasPrefix(b, []byte("GET ")) && endOfBlock(b) == len(b); c.isGet {
		work := c.takeOut()
		work.block = append(work.block[:0], b...)
	}
}

// answer answers the requests at the start of p[:n] that the table knows. It
// moves the rest to the front and returns its length.
func (c *conn) answer(p []byte, n int) int {
	start := 0
	for c.known && c.afterGet && !c.off && start < n && !c.table.draining.Load() {
		end := endOfBlock(p[start:n])
		if end == 0 {
			break
		}
		m := c.lookup(p[start : start+end])
		if m != nil && c.table.choose != nil && c.table.choose() {
			c.chosen = true
			break
		}
		if m == nil || !c.state.CompareAndSwap(waiting, replying) {
			break
		}
		c.table.running.Add(1)
		replied, err := c.reply(m, p[start:start+end])
		c.state.Store(waiting)
		c.table.running.Add(-1)
		if c.moves != nil && replied && err == nil && start+end == n {
			c.moves.Answered()
		}
		if err != nil || c.closing.Load() {
			c.state.Store(closed)
			// What failed before is what counts, and nobody is there to be told. One
			// that is to leave does.
			_ = c.Conn.Close()
			return 0
		}
		if !replied {
			break
		}
		start += end
	}
	return copy(p, p[start:n])
}

// lookup finds what was learned about a request.
func (c *conn) lookup(block []byte) *memo {
	work := c.takeOut()
	var ok bool
	if work.key, ok = c.table.fields.appendKey(c.prefix(work.key[:0]), block); !ok {
		return nil
	}
	return c.table.find(work.key)
}

// prefix begins the key: what a trusted proxy says means something else than
// the same words of a visitor, and over TLS the answer may depend on the name
// that the client asked for there. A byte tells that name's length.
func (c *conn) prefix(key []byte) []byte {
	kind := byte('-')
	if c.trusted {
		kind = '+'
	}
	if c.tls == nil {
		return append(key, kind, 0)
	}
	name := c.tls.ServerName
	return append(append(key, kind, 1, byte(len(name))), name...)
}

// reply writes the answer, unless it may not be given any more.
func (c *conn) reply(m *memo, block []byte) (replied bool, err error) {
	if m.log != nil && !c.table.journal.hasRoom() {
		return false, nil
	}
	now := time.Now()
	use, ok := m.answer.Begin(now)
	if !ok {
		c.table.drop(c.table.slot(c.work.key), m)
		return false, nil
	}
	defer use.Exchange.End()
	c.arm(now)
	r := m.render(use.Age, use.TTL)
	c.work.out = append(c.work.out[:0], r.bytes...)
	if r.id >= 0 {
		putID(c.work.out[r.id : r.id+requestIDSize])
	}
	// Whoever has the answer finds it counted.
	c.table.replies.Add(1)
	m.count(time.Since(now))
	err = c.send(use.Body)
	if m.log != nil {
		if done := time.Now(); err != nil || m.keep == nil || m.keep(done, done.Sub(now)) {
			c.note(m, block, len(r.bytes), size(use.Body), now, done, err)
		}
	}
	return true, err
}

// note has a record written of a reply whose header is at the start of out.
func (c *conn) note(m *memo, block []byte, head, size int, began, done time.Time, err error) {
	copied := append(append(make([]byte, 0, len(block)+head), block...), c.work.out[:head]...)
	c.table.journal.add(record{log: m.log, Record: Record{
		Block: copied[:len(block)], Head: copied[len(block):], Remote: c.RemoteAddr().String(), Size: size,
		Done: done, Duration: done.Sub(began), Err: err, TLS: c.tls,
	}})
}

// send writes the header in out, and the body.
func (c *conn) send(body [][]byte) error {
	if c.tls != nil {
		return c.seal(body)
	}
	work := c.work
	if len(work.out)+size(body) <= maxFlat {
		for _, piece := range body {
			work.out = append(work.out, piece...)
		}
		_, err := c.Conn.Write(work.out)
		return err
	}
	buffers := append(net.Buffers{work.out}, body...)
	_, err := buffers.WriteTo(c.wire())
	return err
}

// seal writes them in full records: each costs a system call. The header stays
// at the start of out.
func (c *conn) seal(body [][]byte) error {
	work := c.work
	head, from := len(work.out), 0 // what is to be written is from there
	for _, piece := range body {
		for len(work.out)-from+len(piece) > maxRecord {
			n := max(0, maxRecord-(len(work.out)-from))
			work.out = append(work.out, piece[:n]...)
			if _, err := c.Conn.Write(work.out[from:]); err != nil {
				return err
			}
			work.out, from, piece = work.out[:head], head, piece[n:]
		}
		work.out = append(work.out, piece...)
	}
	_, err := c.Conn.Write(work.out[from:])
	return err
}

// arm sets the deadlines that net/http and Caddy would have set, once a second.
func (c *conn) arm(now time.Time) {
	if now.Sub(c.armed) < time.Second {
		return
	}
	c.armed = now
	// A connection on which this fails is broken, which the write will tell.
	if idle := c.table.idle(); idle > 0 {
		_ = c.Conn.SetReadDeadline(now.Add(idle))
	}
	if write := c.table.write(); write > 0 {
		_ = c.Conn.SetWriteDeadline(now.Add(write))
	}
}

// learn begins to watch.
func (c *conn) learn(r *http.Request, hit func() (Hit, bool)) {
	c.capture, c.isGet = nil, true
	var block []byte
	if c.work != nil {
		block = c.work.block
	}
	if c.known && (len(block) == 0 || !repeatable(r)) {
		return
	}
	h, ok := hit()
	if !ok {
		return
	}
	c.known, c.trusted = true, h.Trusted
	if len(block) == 0 || !repeatable(r) || size(h.Body) > maxBody || c.table.fields.variesBy(h.Varies) {
		return
	}
	work := c.work // it has the block
	if work.key, ok = c.table.fields.appendKey(c.prefix(work.key[:0]), block); ok && c.table.wants(work.key) {
		c.capture = newCapture(work.key, h)
	}
}

func size(body [][]byte) (n int) {
	for _, piece := range body {
		n += len(piece)
	}
	return n
}

// becomesIdle: net/http has written the whole answer. Before an answer was
// learned here, nothing says that the connection is one of HTTP/1.1.
func (c *conn) becomesIdle() {
	if !c.known {
		return
	}
	if watched := c.capture; watched != nil {
		c.capture = nil
		if m := watched.memo(); m != nil {
			c.table.put(m)
		}
	}
	if c.work != nil { // a block that is not put away yet is of the last request
		c.work.block = c.work.block[:0]
	}
	c.afterGet, c.isGet = c.isGet, false
	c.boundary.Idle()
}

// Write is what net/http writes.
func (c *conn) Write(b []byte) (int, error) {
	if c.capture != nil {
		c.capture.take(b)
	}
	return c.Conn.Write(b)
}

// SetReadDeadline counts: see [idleconn.Boundary].
func (c *conn) SetReadDeadline(t time.Time) error {
	c.boundary.Deadline()
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline counts as well.
func (c *conn) SetDeadline(t time.Time) error {
	c.boundary.Deadline()
	return c.Conn.SetDeadline(t)
}

// Close lets a reply end that is being written: net/http takes the connection
// for idle, and closes those when it shuts down.
func (c *conn) Close() error {
	c.closing.Store(true)
	for {
		switch now := c.state.Load(); {
		case now == replying:
			return nil // answer closes it
		case now == closed, c.state.CompareAndSwap(now, closed):
			return c.Conn.Close()
		}
	}
}
