package rawhit

import (
	"errors"
	"time"

	"golang.org/x/net/http2"
)

// errNotWritten is of an answer after one that could not be written.
var errNotWritten = errors.New("the connection is broken")

// batch is answers that are written at once.
type batch struct {
	frames []byte
	ends   []interface{ End() }
	notes  []note
}

// note is of an answer that the access log is to have.
type note struct {
	log         func(Record)
	keep        func(now time.Time, took time.Duration) bool
	block, head []byte
	size        int
	began       time.Time
}

// maxBatch is how many answers and, about, how many bytes are written at once.
const (
	maxBatch      = 64
	maxBatchBytes = 64 << 10
)

// begin starts a batch, unless this is no moment to answer in.
func (c *h2conn) begin() bool {
	if c.in.begun {
		return true
	}
	c.mu.Lock()
	if c.out.over || !c.out.calm() || c.out.acknowledged != c.in.settings || !c.state.CompareAndSwap(waiting, replying) {
		c.mu.Unlock()
		return false
	}
	c.table.running.Add(1)
	c.in.begun = true
	return true
}

// flush ends a batch.
func (c *h2conn) flush() {
	if !c.in.begun {
		return
	}
	c.write()
	c.state.Store(waiting)
	if c.out.over || c.closing.Load() { // it was not over before
		c.out.over = true
		c.state.Store(closed)
		_ = c.Conn.Close() // what failed before is what counts
	}
	c.in.begun = false
	c.table.running.Add(-1)
	c.mu.Unlock()
}

// write writes what has been answered, within the time that a client has to
// take it.
func (c *h2conn) write() {
	b := &c.in.batch
	if len(b.frames) == 0 {
		return
	}
	err := errNotWritten
	if !c.out.over {
		err = c.writeWithin(c.table.write(), b.frames)
		c.out.over = err != nil
	}
	done := time.Now()
	for _, exchange := range b.ends {
		exchange.End()
	}
	for _, n := range b.notes {
		if err == nil && n.keep != nil && !n.keep(done, done.Sub(n.began)) {
			continue
		}
		c.table.journal.waiting <- record{log: n.log, Record: Record{
			Block: n.block, Head: n.head, Remote: c.RemoteAddr().String(), Size: n.size,
			Done: done, Duration: done.Sub(n.began), Err: err, TLS: c.tls,
		}}
	}
	clear(b.ends)
	clear(b.notes)
	b.frames, b.ends, b.notes = b.frames[:0], b.ends[:0], b.notes[:0]
	if cap(b.frames) > 2*maxBatchBytes {
		b.frames = nil
	}
}

// writeWithin writes, and leaves the connection without a deadline, as the
// server has it.
func (c *h2conn) writeWithin(limit time.Duration, b []byte) error {
	if limit > 0 {
		// A connection on which this fails is broken, which the write will tell.
		_ = c.Conn.SetWriteDeadline(time.Now().Add(limit))
		defer func() { _ = c.Conn.SetWriteDeadline(time.Time{}) }()
	}
	_, err := c.Conn.Write(b)
	return err
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
	b := &c.in.batch
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

// appendAnswer appends an answer's frames to the batch. It returns its header
// as text if that is wanted.
func (c *h2conn) appendAnswer(r *rendering, id uint32, body [][]byte, wanted bool) (text []byte) {
	b := &c.in.batch
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
			if room == 0 {
				room = min(left, maxPayload)
				h := frameHead{size: room, kind: http2.FrameData, id: id}
				if room == left {
					h.flags = http2.FlagDataEndStream
				}
				b.frames = appendFrameHead(b.frames, h)
			}
			n := min(room, len(piece))
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
