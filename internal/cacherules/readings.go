package cacherules

import (
	"iter"
	"net/url"
	"strings"
)

// A path is decoded once before rules are compared with it. Servers behind us
// may do more, or less: resolve dots or not, decode twice, take a backslash for
// a slash, end a path at a NUL, a line end, or a "?" or "#" that was encoded,
// drop what follows a semicolon. Whoever knows how the origin reads can write a
// private path so that it looks public to a cache that reads otherwise. So a
// path has to mean the same to the rules by every reading.

// special are the bytes of a decoded path that not everybody reads alike.
var special = [256]bool{';': true, '%': true, '\\': true, '?': true, '#': true, 0: true, '\r': true, '\n': true}

// isPlain reports a path that everybody reads alike.
func isPlain(p string) bool {
	for i := range len(p) {
		if special[p[i]] {
			return false
		}
	}
	return !hasDots(p)
}

// readings are the ways to read a decoded path that is not plain, other than
// with its empty and dot segments resolved: as it was sent, in one of the ways
// above, and in all of them.
func readings(p string) iter.Seq[string] {
	return func(yield func(string) bool) {
		all := p
		for _, read := range []func(string) string{asSent, decodedAgain, withSlashes, endedEarly, withoutParameters} {
			all = read(all)
			if one := read(p); !yield(one) || !yield(clean(one)) {
				return
			}
		}
		if yield(all) {
			yield(clean(all))
		}
	}
}

func asSent(p string) string { return p }

// decodedAgain is for servers that decode once more than we do.
func decodedAgain(p string) string {
	if strings.IndexByte(p, '%') < 0 {
		return p
	}
	if again, err := url.PathUnescape(p); err == nil {
		return foldable(again)
	}
	return p
}

// withSlashes is for servers to which a backslash is a slash.
func withSlashes(p string) string { return strings.ReplaceAll(p, `\`, "/") }

// endedEarly is for servers that decode before they look for the end.
func endedEarly(p string) string {
	if end := strings.IndexAny(p, "?#\x00\r\n"); end >= 0 {
		p = p[:end]
	}
	if p == "" {
		return "/"
	}
	return p
}

// withoutParameters is a path as servers see it that take what follows a
// semicolon in a segment for parameters (RFC 3986, 3.3): to them
// "/account;x.css" is "/account".
func withoutParameters(p string) string {
	if strings.IndexByte(p, ';') < 0 {
		return p
	}
	var b strings.Builder
	for segment := range strings.SplitAfterSeq(p, "/") {
		name, parameters, _ := strings.Cut(segment, ";")
		b.WriteString(name)
		if strings.HasSuffix(parameters, "/") {
			b.WriteByte('/')
		}
	}
	return b.String()
}
