package httpcache

import (
	"encoding/binary"
	"iter"
	"math"
	"strings"
)

// The text of an entry is all its strings in one piece of memory: key, lines of
// the header, tags and, where the key does not say it, place. Values of a header
// as net/http reads it hold on to more than themselves.

// textSpace is how much of an entry's text is gathered on the stack.
const textSpace = 2 << 10

// pack gives the entry its text, and cuts all its strings out of it.
func (e *entry) pack(key string, lines []byte, tags tagList, at place) {
	var space [textSpace]byte
	b := append(append(append(space[:0], key...), lines...), tags...)
	e.keySize, e.linesSize, e.tagsSize = uint32(len(key)), uint32(len(lines)), uint32(len(tags))
	if e.placed = at != placeOfKey(key); e.placed {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(at.host)), uint64(at.path))
		b = appendPart(b, at.url)
	}
	own := []*string{&e.madeBy}
	for i := range e.vary() {
		own = append(own, &e.belongs.vary[i].name, &e.belongs.vary[i].value)
	}
	start := len(b)
	for _, s := range own {
		b = append(b, *s...)
	}
	e.text = string(b)
	for _, s := range own {
		*s, start = e.text[start:start+len(*s)], start+len(*s)
	}
	e.valueCount = uint16(min(e.fields().count(), math.MaxUint16))
}

func (e *entry) key() string { return e.text[:e.keySize] }

// fields are what the origin sent, less hop-by-hop fields, and what goes out:
// that as the verdict edited it. Age, Content-Length and Cache-Status are written
// for each answer.
func (e *entry) fields() fieldLines {
	return fieldLines(e.text[e.keySize:][:e.linesSize])
}

func (e *entry) tags() tagList { return tagList(e.text[e.keySize+e.linesSize:][:e.tagsSize]) }

// place is mostly what follows from the key; then it is not kept.
func (e *entry) place() place {
	if !e.placed {
		return placeOfKey(e.key())
	}
	rest := e.text[e.keySize+e.linesSize+e.tagsSize:]
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
