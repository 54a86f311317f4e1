package httpcache

import (
	"strconv"
	"strings"
	"unsafe"

	"github.com/edgegw/edge/internal/coding"
)

// encoded is a stored body in a coding, and the fields that differ for it.
type encoded struct {
	body       body
	lengthText string
	lines      fieldLines // Content-Encoding and ETag
}

// encodings are what a stored body has been encoded in. They are never changed:
// an entry gets others. Nil stands for none.
type encodings struct {
	ready coding.Set
	// useless: not worth it, or it failed.
	useless coding.Set
	of      [coding.Count]*encoded
	size    int64 // accounted bytes
}

// leastGain: a coding that saves less than a twentieth is not worth the memory,
// nor the client's work.
const leastGain = 20

func newEncoded(e *entry, c coding.Coding, text []byte) *encoded {
	b := body{chunks: [][]byte{text}, size: int64(len(text))}
	lines := appendLine(nil, goesOut|not304, "Content-Encoding", c.String())
	if e.etag() != "" {
		lines = appendLine(lines, goesOut, "Etag", tagOf(e.etag(), c))
	}
	return &encoded{body: b, lengthText: strconv.FormatInt(b.size, 10), lines: linesOf(lines)}
}

// tagOf is the entity tag of a body in a coding: another one for each, since
// strong tags name bytes, and the same if it is weak (RFC 9110, 8.8.1, 8.8.3.3).
func tagOf(etag string, c coding.Coding) string {
	if c == coding.Identity || !isStrong(etag) {
		return etag
	}
	return etag[:len(etag)-1] + "-" + c.String() + `"`
}

// codingOf is the coding whose entity tag a request names. Tags are compared
// weakly: this is for If-None-Match (RFC 9110, 13.1.2).
func codingOf(tag, etag string) (c coding.Coding, ok bool) {
	tag, weak := strings.TrimPrefix(tag, "W/"), strings.TrimPrefix(etag, "W/")
	if tag == weak {
		return coding.Identity, true
	}
	if !isStrong(etag) || !strings.HasPrefix(tag, etag[:len(etag)-1]) {
		return coding.Identity, false
	}
	suffix := tag[len(etag)-1:]
	for c = coding.Identity + 1; c < coding.Count; c++ {
		if name := c.String(); len(suffix) == len(name)+2 && suffix[0] == '-' && suffix[1:len(suffix)-1] == name && suffix[len(suffix)-1] == '"' {
			return c, true
		}
	}
	return coding.Identity, false
}

// with is the encodings and one more; nil for a useless one.
func (s *encodings) with(c coding.Coding, one *encoded) *encodings {
	more := encodings{size: managed(int64(allocated(int(unsafe.Sizeof(encodings{})))))}
	if s != nil {
		more = *s
	}
	if one == nil {
		more.useless |= coding.Of(c)
		return &more
	}
	more.ready |= coding.Of(c)
	more.of[c] = one
	more.size += one.weigh()
	return &more
}

func (o *encoded) weigh() int64 {
	n := scanned(unsafe.Sizeof(*o), 1) + allocated(len(o.lengthText)) + allocated(len(o.lines.lines))
	return managed(int64(n) + o.body.held())
}

func (s *encodings) settled(c coding.Coding) bool { return s != nil && (s.ready | s.useless).Has(c) }

// get is the body in a coding; nil for identity, and when there is none.
func (s *encodings) get(c coding.Coding) *encoded {
	if s == nil {
		return nil
	}
	return s.of[c]
}

// offered are the codings that can be had at once, and those that can be had at
// all.
func (s *encodings) offered() (ready, possible coding.Set) {
	if s == nil {
		return 0, coding.All
	}
	return s.ready, coding.All &^ s.useless
}

func (s *encodings) bytes() int64 {
	if s == nil {
		return 0
	}
	return s.size
}

// lengths are the lengths of the bodies by coding; 0 for a useless one.
func (s *encodings) lengths() map[string]int64 {
	all := make(map[string]int64)
	for c := range coding.Count {
		switch {
		case s.ready.Has(c):
			all[c.String()] = s.of[c].body.size
		case s.useless.Has(c):
			all[c.String()] = 0
		}
	}
	return all
}

// held is all that the entry has in the store's account. For a stored entry
// the shard's lock must be held, since more encodings may come.
func (e *entry) held() int64 { return e.size + e.encodings.Load().bytes() }

// inherit gives an entry that a 304 freshened the encodings of the body that
// both share. It is not shared yet.
func (e *entry) inherit(from *entry) {
	old := from.encodings.Load()
	if !e.encodable || old == nil {
		return
	}
	var mine *encodings
	for c := range coding.Count {
		switch {
		case old.useless.Has(c):
			mine = mine.with(c, nil)
		case old.ready.Has(c): // the tag may have become weak
			mine = mine.with(c, newEncoded(e, c, old.of[c].body.chunks[0]))
		}
	}
	e.encodings.Store(mine)
	e.asked.Store(uint32(old.ready | old.useless))
}
