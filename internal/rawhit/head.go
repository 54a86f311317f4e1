package rawhit

import (
	"bytes"
	"strconv"
	"strings"
)

// hole is a place in a header where something else stands each time.
type hole uint8

const (
	holeAge hole = iota // the seconds of Age
	holeTTL             // the seconds of ttl in Cache-Status (RFC 9211, 2.5)
	holeID              // X-Request-Id
)

// head is the header of an answer as net/http wrote it once, in pieces: text,
// and after each but the last piece a hole.
type head struct {
	texts []string
	holes []hole
}

// rendering is a head for an age, with any id.
type rendering struct {
	age, ttl int64
	bytes    []byte
	id       int // where the id stands; -1 without one

	// The same for HTTP/2, if that is what it is for.
	block   []byte
	blockID int
}

// parseHead takes a header apart that was written for a hit. It reports false
// for one that it would not know how to write again: it says something about
// the connection or a client, has another body, or numbers other than the
// hit's.
func parseHead(text string, h *Hit, bodySize int64) (head, bool) {
	status, rest, ok := strings.Cut(text, "\r\n")
	if !ok || !strings.HasPrefix(status, "HTTP/1.1 200 ") {
		return head{}, false
	}
	p := headParser{text: text, hit: h, size: strconv.FormatInt(bodySize, 10), at: len(status) + 2}
	for rest != "\r\n" {
		line, after, ok := strings.Cut(rest, "\r\n")
		if !ok || !p.field(line) {
			return head{}, false
		}
		p.at += len(line) + 2
		rest = after
	}
	if !p.sized {
		return head{}, false
	}
	p.done.texts = append(p.done.texts, text[p.start:])
	return p.done, true
}

// headParser stands at a line.
type headParser struct {
	text  string
	hit   *Hit
	size  string
	at    int // where the line starts
	start int // where the current piece of text starts
	sized bool
	seen  [3]bool
	done  head
}

func (p *headParser) field(line string) bool {
	name, value, ok := strings.Cut(line, ": ")
	if !ok {
		return false
	}
	switch name {
	case "Connection", "Transfer-Encoding", "Trailer", "Set-Cookie", "Upgrade", "Keep-Alive":
		return false
	case "Content-Length":
		p.sized = value == p.size
		return p.sized
	case "Date":
		return value == p.hit.Date
	case "Age":
		return p.number(holeAge, line, value, p.hit.Age)
	case "X-Request-Id":
		if len(value) != requestIDSize {
			return false
		}
		return p.cut(holeID, len(line)-len(value), len(value))
	case "Cache-Status":
		at := strings.LastIndex(value, "; hit; ttl=")
		if at < 0 {
			return true // of a cache before this one
		}
		return p.number(holeTTL, line, value[at+len("; hit; ttl="):], p.hit.TTL)
	}
	return true
}

// number makes a hole of a number at the end of the line.
func (p *headParser) number(which hole, line, text string, want int64) bool {
	return text == strconv.FormatInt(want, 10) && p.cut(which, len(line)-len(text), len(text))
}

// cut makes a hole in the current line. Each kind may be there once: one of two
// would be somebody else's.
func (p *headParser) cut(which hole, offset, size int) bool {
	if p.seen[which] {
		return false
	}
	p.seen[which] = true
	p.done.texts = append(p.done.texts, p.text[p.start:p.at+offset])
	p.done.holes = append(p.done.holes, which)
	p.start = p.at + offset + size
	return true
}

// render writes the header for an age.
func (h *head) render(age, ttl int64) *rendering {
	r := &rendering{age: age, ttl: ttl, id: -1}
	for i, text := range h.texts {
		r.bytes = append(r.bytes, text...)
		if i == len(h.holes) {
			break
		}
		switch h.holes[i] {
		case holeAge:
			r.bytes = strconv.AppendInt(r.bytes, age, 10)
		case holeTTL:
			r.bytes = strconv.AppendInt(r.bytes, ttl, 10)
		case holeID:
			r.id = len(r.bytes)
			r.bytes = append(r.bytes, make([]byte, requestIDSize)...)
		}
	}
	return r
}

// capture watches what net/http writes for a hit.
type capture struct {
	hit    Hit
	key    []byte
	head   []byte // with the empty line, once it has come as a whole
	whole  bool
	rest   [][]byte // of the body, not yet seen
	size   int64
	failed bool
	frames bool // over HTTP/2
}

// maxHead is the largest header that is learned.
const maxHead = 4 << 10

func newCapture(key []byte, h Hit) *capture {
	c := &capture{hit: h, key: bytes.Clone(key), rest: h.Body}
	for _, piece := range h.Body {
		c.size += int64(len(piece))
	}
	return c
}

// take sees bytes on their way out.
func (c *capture) take(b []byte) {
	if c.failed {
		return
	}
	if !c.whole {
		before := len(c.head)
		c.head = append(c.head, b[:min(len(b), maxHead-before+1)]...)
		i := endOfBlock(c.head)
		if i == 0 {
			c.failed = len(c.head) > maxHead
			return
		}
		c.head, c.whole = c.head[:i], true
		b = b[i-before:]
	}
	c.takeBody(b)
}

// takeBody compares: a handler in between may have changed the body.
func (c *capture) takeBody(b []byte) {
	for len(b) > 0 {
		for len(c.rest) > 0 && len(c.rest[0]) == 0 {
			c.rest = c.rest[1:]
		}
		if len(c.rest) == 0 {
			c.failed = true
			return
		}
		n := min(len(b), len(c.rest[0]))
		if !bytes.Equal(b[:n], c.rest[0][:n]) {
			c.failed = true
			return
		}
		if n == len(c.rest[0]) {
			c.rest = c.rest[1:]
		} else {
			// The pieces are the cache's: take another slice of them.
			c.rest = append([][]byte{c.rest[0][n:]}, c.rest[1:]...)
		}
		b = b[n:]
	}
}

// memo is what was learned, if everything was as the hit said.
func (c *capture) memo() *memo {
	for _, piece := range c.rest {
		if len(piece) > 0 {
			return nil
		}
	}
	if c.failed || !c.whole {
		return nil
	}
	h, ok := parseHead(string(c.head), &c.hit, c.size)
	if !ok {
		return nil
	}
	return newMemo(string(c.key), h, &c.hit, c.frames)
}
