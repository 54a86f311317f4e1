package httpcache

import (
	"encoding/binary"
	"iter"
	"math"
	"strings"
)

// The text of an entry is all strings of its own in one piece of memory: key, values
// of the header, tags, where the key does not say it its place, and what it varies
// by. Values of a header as net/http reads it hold on to more than themselves.

// textSpace is how much of an entry's text is gathered on the stack.
const textSpace = 2 << 10

// pack gives the entry its text, and what it has in common with others, which may
// be nil. It is not shared yet.
func (e *entry) pack(others *commons, key string, header fieldLines, tags tagList, at place) {
	var ownSpace, sharedSpace, textSpace [textSpace]byte
	shared, own, tagsDiffer := header.split(others, tags, sharedSpace[:0], ownSpace[:0])
	text := append(append(textSpace[:0], key...), own...)
	e.keySize, e.ownSize, e.tagsSize = uint32(len(key)), uint32(len(own)), 0
	e.common.lines, e.common.tags = string(shared), tags
	if tagsDiffer {
		text = append(text, tags...)
		e.tagsSize, e.common.tags = uint32(len(tags)), ""
	}
	if e.placed = at != placeOfKey(key); e.placed {
		text = binary.AppendUvarint(binary.AppendUvarint(text, uint64(at.host)), uint64(at.path))
		text = appendPart(text, at.url)
	}
	start := len(text)
	for _, one := range e.vary() {
		text = append(append(text, one.name...), one.value...)
	}
	e.text = string(text)
	cut := func(s *string) { *s, start = e.text[start:start+len(*s)], start+len(*s) }
	for i := range e.vary() {
		cut(&e.belongs.vary[i].name)
		cut(&e.belongs.vary[i].value)
	}
	e.valueCount = uint16(min(e.fields().count(), math.MaxUint16))
	e.common.pack()
	e.common = others.find(e.common)
}

// split is the lines of a header with what answers have in common, and the values
// that they have not.
func (l fieldLines) split(others *commons, tags tagList, shared, own []byte) (_, _ []byte, tagsDiffer bool) {
	if others != nil {
		others.mu.Lock()
		defer others.mu.Unlock()
	}
	for line, ok := l.next(); ok; line, ok = l.next() {
		if line.flags&noValue == 0 && others.differsLocked(line.name, line.value) {
			own = appendPart(own, line.value)
			shared = appendPart(append(shared, byte(line.flags|ownValue)), line.name)
			continue
		}
		shared = appendLine(shared, line.flags, line.name, line.value)
	}
	return shared, own, others.differsLocked(tagsName, string(tags))
}

func (e *entry) key() string { return e.text[:e.keySize] }

// fields are what the origin sent, less hop-by-hop fields, and what goes out:
// that as the verdict edited it. Age, Content-Length and Cache-Status are written
// for each answer.
func (e *entry) fields() fieldLines {
	return fieldLines{lines: e.common.lines, own: e.text[e.keySize:][:e.ownSize]}
}

// tags are the entry's own, or those of many.
func (e *entry) tags() tagList {
	if e.tagsSize > 0 {
		return tagList(e.text[e.keySize+e.ownSize:][:e.tagsSize])
	}
	return e.common.tags
}

// place is mostly what follows from the key; then it is not kept.
func (e *entry) place() place {
	if !e.placed {
		return placeOfKey(e.key())
	}
	rest := e.text[e.keySize+e.ownSize+e.tagsSize:]
	host, rest, _ := cutNumber(rest)
	path, rest, _ := cutNumber(rest)
	url, _ := cutPart(rest)
	return place{url: url, host: host, path: path}
}

// placeOfKey is the place that follows from a key: see appendKey. It is none for
// what is no key.
func placeOfKey(key string) place {
	if key == "" {
		return place{}
	}
	var parts [5]string // scheme, host, path, query, target as seen
	rest, ok := key[1:], true
	for i := range parts {
		var n int
		if n, rest, ok = cutNumber(rest); !ok || n > len(rest) {
			return place{}
		}
		parts[i], rest = rest[:n], rest[n:]
	}
	target := parts[4]
	if target == "" {
		target = targetOf(parts[2], parts[3])
	}
	return placeOf(parts[1], target)
}

// targetOf is a path with its query, as urlKey writes them.
func targetOf(path, query string) string {
	switch {
	case strings.HasPrefix(query, "?"): // "?" stands for an empty one, "??" for "?"
		return path + query
	case query != "":
		return path + "?" + query
	}
	return path
}

// cutNumber cuts off a uvarint, if there is one.
func cutNumber(s string) (n int, rest string, ok bool) {
	for i := 0; i < len(s) && i < 9; i++ {
		n |= int(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}

// tagList is tags in one string, each after its length.
type tagList string

func tagListOf(tags ...string) tagList {
	var b []byte
	for _, tag := range tags {
		b = appendPart(b, tag)
	}
	return tagList(b)
}

func (l tagList) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		for tag, rest := "", string(l); rest != ""; {
			if tag, rest = cutPart(rest); !yield(tag) {
				return
			}
		}
	}
}
