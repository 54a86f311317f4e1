package rawhit

import (
	"net/http"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// outgoing is what the server writes, as far as it is looked at. The
// connection's mu guards it, but for sent.
type outgoing struct {
	head  [frameHeadSize]byte
	have  int // of head
	left  int // of the payload of the current frame
	frame frameHead
	block bool // a header has begun, and has not ended

	begun        bool // the server's settings are out
	acknowledged int  // frames of the client's settings
	over         bool // no answers any more: the server, or the client, is leaving
	lost         bool // headers are not decoded any more

	dec    *hpack.Decoder
	fields []hpack.HeaderField
	sent   atomic.Int64 // bytes of DATA
}

func (o *outgoing) init() {
	o.dec = hpack.NewDecoder(tableSize, func(f hpack.HeaderField) { o.fields = append(o.fields, f) })
}

// calm reports a moment between two frames in which others may be written.
func (o *outgoing) calm() bool { return o.begun && o.have == 0 && o.left == 0 && !o.block }

// see looks at bytes on their way out.
func (c *h2conn) see(p []byte) {
	o := &c.out
	for len(p) > 0 {
		if o.left > 0 {
			n := min(o.left, len(p))
			o.left -= n
			c.payload(p[:n])
			p = p[n:]
			continue
		}
		n := copy(o.head[o.have:], p)
		o.have += n
		p = p[n:]
		if o.have == frameHeadSize {
			o.have = 0
			o.frame = parseFrameHead(o.head[:])
			o.left = o.frame.size
			c.frameBegins()
			if o.left == 0 {
				c.frameEnds()
			}
		}
	}
}

func (c *h2conn) frameBegins() {
	o := &c.out
	switch o.frame.kind {
	case http2.FrameData:
		o.sent.Add(int64(o.frame.size))
		if c.watching() && o.frame.flags.Has(http2.FlagDataPadded) {
			c.watch = nil
		}
	case http2.FrameHeaders:
		o.block = true
		// The standard server writes neither.
		o.lost = o.lost || o.frame.flags.Has(http2.FlagHeadersPadded) || o.frame.flags.Has(http2.FlagHeadersPriority)
		o.fields = o.fields[:0]
		o.dec.SetEmitEnabled(c.watching())
	case http2.FramePushPromise:
		o.block, o.lost = true, true
	case http2.FrameSettings:
		o.begun = true
		if o.frame.flags.Has(http2.FlagSettingsAck) {
			o.acknowledged++
		}
	case http2.FrameGoAway:
		o.over = true
	case http2.FrameRSTStream:
		if c.watching() {
			c.watch = nil
		}
	}
}

// watching reports that the current frame is of the stream that is watched.
func (c *h2conn) watching() bool { return c.watch != nil && c.watch.id == c.out.frame.id }

func (c *h2conn) payload(p []byte) {
	o := &c.out
	switch o.frame.kind {
	case http2.FrameData:
		if c.watching() && c.watch.capture != nil {
			c.watch.capture.takeBody(p)
		}
	case http2.FrameHeaders, http2.FrameContinuation:
		if !o.lost {
			_, err := o.dec.Write(p)
			o.lost = err != nil
		}
	}
	if o.left == 0 {
		c.frameEnds()
	}
}

func (c *h2conn) frameEnds() {
	o := &c.out
	switch o.frame.kind {
	case http2.FrameHeaders, http2.FrameContinuation:
		if o.frame.flags.Has(http2.FlagHeadersEndHeaders) {
			o.block = false
			o.lost = o.lost || o.dec.Close() != nil
			c.headerEnds()
		}
	case http2.FramePushPromise:
		o.block = !o.frame.flags.Has(http2.FlagPushPromiseEndHeaders)
	}
	ends := o.frame.kind == http2.FrameHeaders && o.frame.flags.Has(http2.FlagHeadersEndStream) ||
		o.frame.kind == http2.FrameData && o.frame.flags.Has(http2.FlagDataEndStream)
	if !ends || !c.watching() {
		return
	}
	if w := c.watch.capture; w != nil && !o.lost && !o.block {
		if m := w.memo(); m != nil {
			c.table.put(m)
		}
	}
	c.watch = nil
}

// headerEnds takes the header of an answer that is watched, of which there may
// be one: neither an interim one before it nor trailers. Whoever has not
// said by now that this is a hit will not.
func (c *h2conn) headerEnds() {
	o := &c.out
	if !c.watching() {
		return
	}
	w := c.watch.capture
	if w == nil || w.whole || o.lost {
		c.watch = nil
		return
	}
	text := []byte("HTTP/1.1 ")
	for i, f := range o.fields {
		switch {
		case i == 0 && f.Name == ":status":
			text = append(text, f.Value+" \r\n"...)
		case i == 0 || f.Name[0] == ':':
			c.watch = nil
			return
		default:
			text = append(text, http.CanonicalHeaderKey(f.Name)+": "+f.Value+"\r\n"...)
		}
	}
	w.head, w.whole = append(text, "\r\n"...), true
}
