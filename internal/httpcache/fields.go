package httpcache

import (
	"maps"
	"net/http"
	"slices"
)

// fieldLines is the header of an answer in one string, or two: what the origin sent
// and what goes out, which are mostly the same. A stored answer has its header without
// pointers for the collector to follow that way, and a hit cuts names and values out
// of it without allocating.
//
// A line is a byte of flags, the lengths of name and value as uvarints, and
// both. Lines of one name stand together, by name; their order is kept. Lines that
// are flagged so have no value: it is the next of own.
type fieldLines struct{ lines, own string }

// linesOf are those that appendLine has written.
func linesOf(b []byte) fieldLines { return fieldLines{lines: string(b)} }

func (l fieldLines) isEmpty() bool { return l.lines == "" }

// inOne is all in one string, as on disk.
func (l fieldLines) inOne() (b []byte) {
	for line, ok := l.next(); ok; line, ok = l.next() {
		b = appendLine(b, line.flags, line.name, line.value)
	}
	return b
}

type lineFlags uint8

const (
	// fromOrigin: the origin sent it. Later 304s freshen these.
	fromOrigin lineFlags = 1 << iota
	// goesOut: clients get it, as the verdict left it.
	goesOut
	// ofCaches: a line of Cache-Status of caches before this one (RFC 9211,
	// 2). It goes out in front of ours.
	ofCaches
	// not304: a 304 leaves it out (RFC 9110, 15.4.5).
	not304
	// plainOnly: it is about the body as it is, in no other coding.
	plainOnly
	// noValue: a field without lines, by which handlers keep net/http from
	// adding its own.
	noValue
	// ownValue: the value is not in the line.
	ownValue
)

type fieldLine struct {
	flags       lineFlags
	name, value string
}

// next cuts off the first line.
func (l *fieldLines) next() (line fieldLine, ok bool) {
	rest := l.lines
	if rest == "" {
		return fieldLine{}, false
	}
	line.flags, rest = lineFlags(rest[0]), rest[1:]
	line.name, l.lines = cutPart(rest)
	if line.flags&ownValue != 0 {
		line.flags &^= ownValue
		line.value, l.own = cutPart(l.own)
		return line, true
	}
	line.value, l.lines = cutPart(l.lines)
	return line, true
}

// cutPart is what appendPart appended, and the rest.
func cutPart(s string) (part, rest string) {
	n := int(s[0])
	if n < 0x80 {
		return s[1 : 1+n], s[1+n:]
	}
	n = 0
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		n |= int(s[i]&0x7f) << shift
		if s[i] < 0x80 {
			s = s[i+1:]
			return s[:n], s[n:]
		}
	}
}

// appendFields appends the lines of both headers. Those that are written for
// each answer, Age and Content-Length, never go out as they came.
func appendFields(b []byte, origin, out http.Header, etag string) []byte {
	names := slices.AppendSeq(make([]string, 0, len(origin)+len(out)), maps.Keys(origin))
	names = slices.AppendSeq(names, maps.Keys(out))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		flags := outgoing(name, etag)
		came, comes := origin[name]
		goes, does := out[name]
		if flags == 0 {
			does = false
		}
		if comes && does && slices.Equal(came, goes) {
			b = appendLines(b, fromOrigin|flags, name, came)
			continue
		}
		if comes {
			b = appendLines(b, fromOrigin, name, came)
		}
		if does {
			b = appendLines(b, flags, name, goes)
		}
	}
	return b
}

// outgoing are the flags with which a field goes out; zero if it does not.
func outgoing(name, etag string) lineFlags {
	switch name {
	case "Age", "Content-Length":
		return 0
	case statusField:
		return ofCaches
	}
	switch {
	case describesBody(name, etag):
		return goesOut | not304
	case name == "Etag", name == "Accept-Ranges": // parts are of the body as it is
		return goesOut | plainOnly
	}
	return goesOut
}

func appendLines(b []byte, flags lineFlags, name string, values []string) []byte {
	if len(values) == 0 {
		return appendLine(b, flags|noValue, name, "")
	}
	for _, value := range values {
		b = appendLine(b, flags, name, value)
	}
	return b
}

func appendLine(b []byte, flags lineFlags, name, value string) []byte {
	return appendPart(appendPart(append(b, byte(flags)), name), value)
}

// describesBody lists what a 304 should not carry (RFC 9110, 15.4.5): the
// client has it. Last-Modified helps only where there is no entity tag.
func describesBody(name, etag string) bool {
	switch name {
	case "Content-Type", "Content-Encoding", "Content-Language", "Content-Range", "Trailer":
		return true
	case "Last-Modified":
		return etag != ""
	}
	return false
}

// count is the number of values that go out, Cache-Status included.
func (l fieldLines) count() (n int) {
	for line, ok := l.next(); ok; line, ok = l.next() {
		if line.flags&(goesOut|ofCaches) != 0 && line.flags&noValue == 0 {
			n++
		}
	}
	return n
}

// origin is the header as the origin sent it. The caller may change the map,
// not the values.
func (l fieldLines) origin() http.Header {
	h := make(http.Header)
	for line, ok := l.next(); ok; line, ok = l.next() {
		switch {
		case line.flags&fromOrigin == 0:
		case line.flags&noValue != 0:
			h[line.name] = nil
		default:
			h[line.name] = append(h[line.name], line.value)
		}
	}
	return h
}

// values are the lines of one field as the origin sent it.
func (l fieldLines) values(name string) (values []string) {
	for line, ok := l.next(); ok && line.name <= name; line, ok = l.next() {
		if line.name == name && line.flags&(fromOrigin|noValue) == fromOrigin {
			values = append(values, line.value)
		}
	}
	return values
}

// only is the only line of a field as the origin sent it, if there is one and no more.
func (l fieldLines) only(name string) (value string, ok bool) {
	n := 0
	for line, more := l.next(); more && line.name <= name; line, more = l.next() {
		if line.name == name && line.flags&(fromOrigin|noValue) == fromOrigin {
			value, n = line.value, n+1
		}
	}
	return value, n == 1
}

// first is the first line of a field as the origin sent it, or nothing.
func (l fieldLines) first(name string) string {
	for line, ok := l.next(); ok && line.name <= name; line, ok = l.next() {
		if line.name == name && line.flags&fromOrigin != 0 {
			return line.value
		}
	}
	return ""
}
