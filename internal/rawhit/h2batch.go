package rawhit

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// errNotWritten is of an answer after one that could not be written.
var errNotWritten = errors.New("the connection is broken")

// batch is answers that are written one after the other, and end together. Only a
// connection that answers has one.
type batch struct {
	frames []byte // what is not written yet
	armed  bool   // there is a deadline for writing
	err    error  // why something was not written
	ends   []interface{ End() }
	notes  []note
}

var batches = sync.Pool{New: func() any { return &batch{frames: make([]byte, 0, maxBatchBytes)} }}

// note is of an answer that the access log is to have.
type note struct {
	log         func(Record)
	keep        func(now time.Time, took time.Duration) bool
	block, head []byte
	size        int
	began       time.Time
}

const (
	// maxRecord is the most that TLS seals at once (RFC 8446, 5.1): each record costs
	// a system call.
	maxRecord = 16 << 10
	// maxBatch is how many answers end together, and maxBatchBytes how many bytes wait
	// at most, about: no more than caches of a processor hold.
	maxBatch      = 64
	maxBatchBytes = 4 * maxRecord
)

// begin starts a batch, unless this is no moment to answer in.
func (c *h2conn) begin() bool {
	if c.in.batch != nil {
		return true
	}
	c.mu.Lock()
	if c.out.over || !c.out.calm() || c.out.acknowledged != c.in.settings || !c.state.CompareAndSwap(waiting, replying) {
		c.mu.Unlock()
		return false
	}
	c.table.running.Add(1)
	c.in.batch = batches.Get().(*batch)
	return true
}

// flush ends a batch.
func (c *h2conn) flush() {
	b := c.in.batch
	if b == nil {
		return
	}
	c.write()
	c.state.Store(waiting)
	if c.out.over || c.closing.Load() { // it was not over before
		c.out.over = true
		c.state.Store(closed)
		_ = c.Conn.Close() // what failed before is what counts
	}
	c.in.batch = nil
	if cap(b.frames) <= 2*maxBatchBytes {
		batches.Put(b)
	}
	c.table.running.Add(-1)
	c.mu.Unlock()
}

// write writes the rest of what has been answered, and ends that.
func (c *h2conn) write() {
	b := c.in.batch
	if len(b.ends) == 0 {
		return
	}
	c.push(len(b.frames))
	if b.armed { // The server has its connection without.
		_ = c.Conn.SetWriteDeadline(time.Time{})
	}
	done := time.Now()
	for _, exchange := range b.ends {
		exchange.End()
	}
	for _, n := range b.notes {
		if b.err == nil && n.keep != nil && !n.keep(done, done.Sub(n.began)) {
			continue
		}
		c.table.journal.add(record{log: n.log, Record: Record{
			Block: n.block, Head: n.head, Remote: c.RemoteAddr().String(), Size: n.size,
			Done: done, Duration: done.Sub(n.began), Err: b.err, TLS: c.tls,
		}})
	}
	clear(b.ends)
	clear(b.notes)
	b.ends, b.notes, b.err, b.armed = b.ends[:0], b.notes[:0], nil, false
}

// push writes the first n bytes of what waits, within the time that a client has to
// take all of it.
func (c *h2conn) push(n int) {
	b := c.in.batch
	if b.err == nil && c.out.over {
		b.err = errNotWritten
	}
	if b.err == nil {
		if limit := c.table.write(); limit > 0 && !b.armed {
			b.armed = true
			// A connection on which this fails is broken, which the write will tell.
			_ = c.Conn.SetWriteDeadline(time.Now().Add(limit))
		}
		_, b.err = c.Conn.Write(b.frames[:n])
		c.out.over = b.err != nil
	}
	b.frames = b.frames[:copy(b.frames, b.frames[n:])]
}

// reply answers a stream, unless that may not be done any more, or not now.
func (c *h2conn) reply(m *memo, id uint32) bool {
	now := time.Now()
	if now.Sub(c.in.passed) > c.heartbeat() || m.log != nil && !c.table.journal.hasRoom() || !c.begin() {
		return false
	}
	use, ok := m.answer.Begin(now)
	if !ok {
		c.table.drop(c.table.slot(c.in.key), m)
		return false
	}
	length := size(use.Body)
	if int64(length) > min(c.in.reserve, c.in.window) {
		use.Exchange.End()
		return false
	}
	c.in.reserve -= int64(length)
	c.in.sent += int64(length)
	b := c.in.batch
	r := m.render(use.Age, use.TTL)
	text := c.appendAnswer(r, id, use.Body, m.log != nil)
	b.ends = append(b.ends, use.Exchange)
	if m.log != nil {
		b.notes = append(b.notes, note{m.log, m.keep, requestText(c.in.fields), text, length, now})
	}
	// Whoever has the answer finds it counted.
	c.table.replies.Add(1)
	m.count(time.Since(now))
	if len(b.ends) >= maxBatch || len(b.frames) >= maxBatchBytes {
		c.write()
	}
	return true
}

// appendAnswer appends an answer's frames to the batch, and writes what is too much
// to wait. It returns its header as text if that is wanted.
func (c *h2conn) appendAnswer(r *rendering, id uint32, body [][]byte, wanted bool) (text []byte) {
	b := c.in.batch
	at := len(b.frames)
	flags := http2.FlagHeadersEndHeaders
	left := size(body)
	if left == 0 {
		flags |= http2.FlagHeadersEndStream
	}
	b.frames = appendBlock(b.frames, frameHead{kind: http2.FrameHeaders, flags: flags, id: id}, nil, r.block)
	if r.blockID >= 0 {
		putID(b.frames[at+frameHeadSize+r.blockID:][:requestIDSize])
	}
	if wanted {
		text = append(text, r.bytes...)
		if r.id >= 0 {
			copy(text[r.id:], b.frames[at+frameHeadSize+r.blockID:][:requestIDSize])
		}
	}
	room := 0 // in the current frame
	for _, piece := range body {
		for len(piece) > 0 {
			if waits := len(b.frames); waits+frameHeadSize >= maxBatchBytes {
				c.push(waits - waits%maxRecord)
			}
			if room == 0 {
				room = min(left, maxPayload)
				h := frameHead{size: room, kind: http2.FrameData, id: id}
				if room == left {
					h.flags = http2.FlagDataEndStream
				}
				b.frames = appendFrameHead(b.frames, h)
			}
			n := min(room, len(piece), maxBatchBytes-len(b.frames))
			b.frames = append(b.frames, piece[:n]...)
			piece, room, left = piece[n:], room-n, left-n
		}
	}
	return text
}

// heartbeat is how long the server may hear of no stream.
func (c *h2conn) heartbeat() time.Duration {
	if idle := c.table.idle(); idle > 0 {
		return min(idle/4, time.Minute)
	}
	return time.Minute
}
