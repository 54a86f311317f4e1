package rawhit

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// tableSize is that of the tables of HPACK, unless somebody asks for another.
const tableSize = 4096

// maxFrame is the largest frame that the standard server takes.
const maxFrame = 1 << 20

// maxLearned is the largest header, as HTTP/2 counts it, that is learned.
const maxLearned = 16 << 10

// firstWindow is a connection's at its start (RFC 9113, 6.9.2).
const firstWindow = 1<<16 - 1

// maxWindow is the largest that one may be (RFC 9113, 6.9.1).
const maxWindow = 1<<31 - 1

// incoming is what the client sends. Only the goroutine that reads touches it.
type incoming struct {
	buf  []byte // what has been read, from start to end
	next int    // where in buf the next frame begins
	end  int

	server  bytes.Buffer // what the server gets to read
	through int          // bytes of a payload that go to it as they come
	blind   bool         // all goes through: the server will end this
	err     error

	dec    *hpack.Decoder
	enc    *hpack.Encoder
	coded  bytes.Buffer        // what enc writes
	fields []hpack.HeaderField // of the current frame
	size   int                 // of all fields of the current block, as HTTP/2 counts
	limit  int                 // of the server, for that
	over   bool                // the limit has been passed

	maxPassed, maxAnswered uint32                  // the last streams that were
	answered               [remembered / 64]uint64 // bits: of the last streams, those that were
	passed                 time.Time
	settings               int  // frames of them that have come
	small                  bool // the client's table is not of full size

	// Windows, in bytes: of a new stream; what is kept for answers here; what
	// the client has granted beyond the first; what was sent here; and the
	// largest that the connection has had.
	window, reserve, granted, sent, largest int64

	key   []byte
	batch *batch // of answers, nil between two
}

func (in *incoming) init(limit int) {
	in.buf = make([]byte, 4<<10)
	in.limit = limit
	in.window, in.largest = firstWindow, firstWindow
	in.passed = time.Now()
	in.dec = hpack.NewDecoder(tableSize, in.emit)
	in.dec.SetMaxStringLength(limit)
	in.enc = hpack.NewEncoder(&in.coded)
}

// emit keeps a field of the current frame. The server has two limits, for
// fields and for names of trailers: past both, nothing but the mistake counts.
func (in *incoming) emit(f hpack.HeaderField) {
	in.fields = append(in.fields, f)
	if in.size += int(f.Size()); in.size > 2*in.limit {
		in.over = true
		in.dec.SetEmitEnabled(false)
	}
}

// Read is what the server reads: all frames but those that were answered.
func (c *h2conn) Read(p []byte) (int, error) {
	in := &c.in
	for {
		if in.server.Len() > 0 {
			return in.server.Read(p)
		}
		if in.through > 0 {
			return in.pass(c.Conn, p)
		}
		if in.blind {
			in.through = max(in.end-in.next, maxFrame)
			continue
		}
		if cap(in.fields) > maxKept || in.server.Cap() > maxBatchBytes {
			in.fields, in.server, in.coded = nil, bytes.Buffer{}, bytes.Buffer{}
		}
		some := false
		for c.frame() {
			some = true
		}
		c.flush()
		switch {
		case some: // the server, or the rest of a payload, comes first
		case in.err != nil:
			return 0, in.err
		default:
			c.fill()
		}
	}
}

// maxKept is how many fields of a header a connection keeps room for.
const maxKept = 1 << 10

// pass reads of a payload, from the buffer as long as it has any.
func (in *incoming) pass(from io.Reader, p []byte) (n int, err error) {
	p = p[:min(len(p), in.through)]
	if in.next < in.end {
		n = copy(p, in.buf[in.next:in.end])
		in.next += n
	} else {
		n, err = from.Read(p)
	}
	in.through -= n
	return n, err
}

// fill reads more, for a frame of which not all has come.
func (c *h2conn) fill() {
	in := &c.in
	if in.next > 0 {
		in.end = copy(in.buf, in.buf[in.next:in.end])
		in.next = 0
	}
	if in.end == len(in.buf) {
		in.buf = append(in.buf, make([]byte, len(in.buf))...)
	}
	n, err := c.Conn.Read(in.buf[in.end:])
	in.end += n
	in.err = err
}

// frame takes in the next frame. It reports false if it has not come as a
// whole, or what is next is not for it.
func (c *h2conn) frame() bool {
	in := &c.in
	got := in.buf[in.next:in.end]
	if in.through > 0 || in.blind || len(got) < frameHeadSize || in.server.Len() > maxBatchBytes {
		return false
	}
	h := parseFrameHead(got)
	if !in.wants(h) {
		in.server.Write(got[:frameHeadSize])
		in.next += frameHeadSize
		n := min(h.size, len(got)-frameHeadSize)
		in.server.Write(in.buf[in.next : in.next+n])
		in.next += n
		in.through = h.size - n
		return true
	}
	if len(got) < frameHeadSize+h.size {
		return false
	}
	whole := got[:frameHeadSize+h.size]
	in.next += len(whole)
	c.take(h, whole)
	if len(in.buf) > 4*tableSize && in.next == in.end {
		in.buf, in.next, in.end = make([]byte, 4<<10), 0, 0
	}
	return true
}

// wants reports a frame that is looked at as a whole. Those that are too large,
// or not as large as they should be, are the server's to refuse.
func (in *incoming) wants(h frameHead) bool {
	switch h.kind {
	case http2.FrameHeaders, http2.FrameContinuation:
		return h.size <= maxFrame
	case http2.FrameSettings:
		return h.id == 0 && h.size <= tableSize
	case http2.FrameWindowUpdate, http2.FrameRSTStream:
		return h.size == 4
	case http2.FramePriority:
		return h.size == 5
	}
	return false
}

func (c *h2conn) take(h frameHead, whole []byte) {
	in := &c.in
	payload := whole[frameHeadSize:]
	switch h.kind {
	case http2.FrameHeaders:
		c.headers(h, whole, payload)
		return
	case http2.FrameContinuation:
		in.continuation(h, whole, payload)
		return
	case http2.FrameSettings:
		in.takeSettings(h, payload)
	case http2.FrameWindowUpdate:
		if h.id == 0 {
			c.grant(whole, int64(binary.BigEndian.Uint32(payload)&(1<<31-1)))
			return
		}
	case http2.FrameRSTStream:
		c.forget(h.id)
	}
	if !in.own(h.id) {
		in.server.Write(whole)
	}
}

// own reports a stream that is closed, and that the server has not heard of: it
// might think that it was not opened yet. What was passed on need not have
// raised the server's last stream: it may have refused the header before. A
// client may have a few hundred streams open, so those before are not asked for.
func (in *incoming) own(id uint32) bool {
	if id%2 == 0 || id > in.maxAnswered {
		return false
	}
	recent := in.maxAnswered-id < 2*remembered
	return id > in.maxPassed || recent && in.answered[id/2%remembered/64]&(1<<(id/2%64)) != 0
}

// remember notes who has a new stream.
func (in *incoming) remember(id uint32, answered bool) {
	first := max(in.maxAnswered, in.maxPassed) + 1
	for skipped := max(first, id-min(id, 2*remembered)) | 1; skipped <= id; skipped += 2 {
		in.answered[skipped/2%remembered/64] &^= 1 << (skipped / 2 % 64)
	}
	if !answered {
		in.maxPassed, in.passed = id, time.Now()
		return
	}
	in.maxAnswered = id
	in.answered[id/2%remembered/64] |= 1 << (id / 2 % 64)
}

// remembered is how many streams are.
const remembered = 1024

// headers answers a stream, or passes its header on.
func (c *h2conn) headers(h frameHead, whole, payload []byte) {
	in := &c.in
	priority, block, ok := headersPayload(h, payload)
	if !ok {
		in.server.Write(whole) // and the server will not decode it either
		return
	}
	in.size, in.over = 0, false
	in.dec.SetEmitEnabled(true)
	if !in.decode(h, block) {
		return
	}
	alone := h.flags.Has(http2.FlagHeadersEndHeaders)
	fresh := h.id%2 == 1 && h.id > in.maxPassed && h.id > in.maxAnswered
	if in.own(h.id) {
		h.id = 0 // A mistake, which the server does not know: RFC 9113, 5.1.1.
	}
	if fresh && alone && h.flags.Has(http2.FlagHeadersEndStream) && !dependsOnItself(priority, h.id) && c.known(h.id) {
		return
	}
	if fresh {
		in.remember(h.id, false)
	}
	in.encode(h, priority)
}

// continuation passes the rest of a header on.
func (in *incoming) continuation(h frameHead, whole, payload []byte) {
	if in.over && len(payload) > 0 {
		in.server.Write(whole) // The server does not decode it either.
		in.blind = true
		return
	}
	if in.decode(h, payload) {
		in.encode(h, nil)
	}
}

// decode reads the fields of a frame. If it cannot, the server will not be able
// to either.
func (in *incoming) decode(h frameHead, block []byte) bool {
	clear(in.fields)
	in.fields = in.fields[:0]
	_, err := in.dec.Write(block)
	if err == nil && h.flags.Has(http2.FlagHeadersEndHeaders) {
		err = in.dec.Close()
	}
	if err == nil {
		return true
	}
	h.flags = (h.flags | http2.FlagHeadersEndHeaders) &^ (http2.FlagHeadersPadded | http2.FlagHeadersPriority)
	const indexZero = "\x80" // RFC 7541, 6.1: a decoding error
	in.server.Write(appendBlock(nil, h, nil, []byte(indexZero)))
	in.blind = true
	return false
}

// encode hands the fields of a frame to the server.
func (in *incoming) encode(h frameHead, priority []byte) {
	in.coded.Reset()
	for _, f := range in.fields {
		_ = in.enc.WriteField(f) // to memory
	}
	h.flags &^= http2.FlagHeadersPadded
	in.server.Write(appendBlock(nil, h, priority, in.coded.Bytes()))
}

// known answers a stream whose fields are those of one that was learned. If it
// does not, the stream may become one to learn from.
func (c *h2conn) known(id uint32) bool {
	in := &c.in
	if in.small || in.size > maxLearned || c.table.draining.Load() || !mayRepeat(in.fields) {
		return false
	}
	in.key = c.prefix(in.key[:0])
	start := len(in.key)
	key, ok := c.table.fields.appendFieldKey(in.key, in.fields)
	if in.key = key; !ok {
		return false
	}
	chosen := false
	if c.trust.Load() != unknown {
		m := c.table.find(key)
		chosen = m != nil && c.table.choose != nil && c.table.choose()
		if m != nil && !chosen && c.reply(m, id) {
			in.remember(id, true)
			return true
		}
	}
	c.follow(id, key[start:], chosen)
	return false
}

// follow has the server's answer to a stream watched, if no other is.
// One that was chosen is told so in any case.
func (c *h2conn) follow(id uint32, key []byte, chosen bool) {
	defer c.lock()()
	number := strconv.FormatUint(uint64(id), 10)
	switch {
	case chosen:
		number += chosenMark
	case c.watch != nil || c.out.over:
		return
	default:
		c.watch = &watched{id: id, key: bytes.Clone(key)}
	}
	c.in.fields = append(c.in.fields, hpack.HeaderField{Name: streamFieldLower, Value: number, Sensitive: true})
}

// forget ends the watch of a stream that the client does not want any more.
func (c *h2conn) forget(id uint32) {
	defer c.lock()()
	if c.watch != nil && c.watch.id == id {
		c.watch = nil
	}
}

// lock takes mu, if no batch holds it, and returns what gives it back.
func (c *h2conn) lock() (unlock func()) {
	if c.in.batch != nil {
		return func() {}
	}
	c.mu.Lock()
	return c.mu.Unlock
}
