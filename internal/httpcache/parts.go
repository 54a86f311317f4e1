package httpcache

import (
	"net/http"
	"slices"
	"strings"
)

const (
	// maxPieces is how many separate pieces of one answer are kept.
	maxPieces = 64
	// smallChunk is up to which size neighbouring chunks are copied together,
	// so that a body of many tiny parts is not a long list.
	smallChunk = 64 << 10
)

// piece is a part of the body of an answer that is not there as a whole. The
// pieces of an answer are sorted and do not touch.
type piece struct {
	start int64
	body  body
}

func (p piece) end() int64 { return p.start + p.body.size }

// isPart reports an incomplete answer (RFC 9111, 3.3): it is never served as a
// whole. Its length is that of the whole.
func (e *entry) isPart() bool { return len(e.pieces()) > 0 }

// hasWhole reports that there is an answer that can be served as a whole.
func (sh *shard) hasWhole(hash uint64, key []byte) bool {
	for e := range sh.stored(hash, key) {
		if !e.isPart() {
			return true
		}
	}
	return false
}

// matchPart is the incomplete answer for such a request.
func (sh *shard) matchPart(hash uint64, key []byte, request http.Header) *entry {
	for e := range sh.stored(hash, key) {
		if e.isPart() && matches(e.vary(), request) {
			return e
		}
	}
	return nil
}

// part is the stored incomplete answer for the request, if the fence lets it
// stand firm: what is stale in any way serves whole answers only.
func (s *Store) part(x *exchange) *entry {
	e := s.peekPart(x.hash, x.key, x.r.Header)
	if e == nil || s.standing(e) != standsFirm {
		return nil
	}
	return e
}

func (s *Store) peekPart(hash uint64, key []byte, request http.Header) *entry {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.matchPart(hash, key, request)
}

// supersedes reports that an answer takes the place of the stored one to the
// same request: unless that is newer. A whole one replaces parts in any case.
func (e *entry) supersedes(old *entry) bool {
	return !e.isPart() && old.isPart() || !old.newerThan(e)
}

// newerThan says which of two answers was asked for later: by the generation,
// which purges go by, and within one by the clock.
func (e *entry) newerThan(other *entry) bool {
	if e.began != other.began {
		return e.began > other.began
	}
	return e.requested().After(other.requested())
}

// sealParts gives the entry pieces of its body, and counts its bytes. Pieces
// that are all there is make it a whole answer (RFC 9111, 3.4).
func (e *entry) sealParts(pieces []piece) {
	if len(pieces) == 1 && pieces[0].body.size == e.length() {
		e.seal(pieces[0].body.packed())
		return
	}
	e.afterwards().pieces = pieces
	e.size = e.weigh()
}

// holding is the piece that a range lies within.
func holding(pieces []piece, b byteRange) (piece, bool) {
	for _, p := range pieces {
		if p.start <= b.start && b.start+b.length <= p.end() {
			return p, true
		}
	}
	return piece{}, false
}

// gap is the part to ask for to have all: from the end of the first bytes to
// the beginning of the last, as far as there are any. What lies between is
// asked for again rather than in several ranges.
func gap(pieces []piece, size int64) byteRange {
	start, end := int64(0), size
	if first := pieces[0]; first.start == 0 {
		start = first.end()
	}
	if last := pieces[len(pieces)-1]; last.end() == size {
		end = last.start
	}
	return byteRange{start: start, length: end - start}
}

// withPiece adds a piece. Bytes that are there already are left alone: under
// one strong validator they are the same. Neither argument is changed.
func withPiece(pieces []piece, add piece) []piece {
	all := slices.Clone(pieces)
	at := add.start
	for _, old := range pieces {
		if old.start > at && at < add.end() {
			all = append(all, add.cut(at, min(old.start, add.end())))
		}
		at = max(at, old.end())
	}
	if at < add.end() {
		all = append(all, add.cut(at, add.end()))
	}
	slices.SortFunc(all, func(a, b piece) int { return int(min(max(a.start-b.start, -1), 1)) })
	out := all[:1]
	for _, p := range all[1:] {
		if last := &out[len(out)-1]; last.end() == p.start {
			last.body = last.body.join(p.body)
		} else {
			out = append(out, p)
		}
	}
	for len(out) > maxPieces {
		out = slices.Delete(out, smallest(out), smallest(out)+1)
	}
	return slices.Clip(out)
}

func smallest(pieces []piece) int {
	found := 0
	for i, p := range pieces {
		if p.body.size < pieces[found].body.size {
			found = i
		}
	}
	return found
}

// cut is the piece from one offset to another; a copy unless it is all of it,
// since the rest would stay in memory uncounted.
func (p piece) cut(from, to int64) piece {
	if from == p.start && to == p.end() {
		return p
	}
	var copied chunkWriter
	_, _ = p.body.writePart(&copied, from-p.start, to-from) // it cannot fail
	return piece{start: from, body: body{chunks: [][]byte{copied}, size: to - from}}
}

// chunkWriter gathers what is written.
type chunkWriter []byte

func (c *chunkWriter) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}

// join is both bodies, one after the other. Small chunks at the seam are copied
// together; others are shared.
func (b body) join(next body) body {
	if len(b.chunks) == 0 || len(next.chunks) == 0 {
		return body{chunks: append(slices.Clip(b.chunks), next.chunks...), size: b.size + next.size}
	}
	chunks := slices.Clone(b.chunks)
	last, first := chunks[len(chunks)-1], next.chunks[0]
	rest := next.chunks
	if len(last)+len(first) <= smallChunk {
		chunks[len(chunks)-1] = slices.Concat(last, first)
		rest = rest[1:]
	}
	return body{chunks: append(chunks, rest...), size: b.size + next.size}
}

// parseContentRange reads where the content of a 206 belongs (RFC 9110, 14.4).
// A whole of unknown length cannot be completed, and counts as no range at all.
func parseContentRange(h http.Header) (b byteRange, size int64, ok bool) {
	lines := h["Content-Range"]
	if len(lines) != 1 {
		return byteRange{}, 0, false
	}
	unit, rest, _ := strings.Cut(strings.Trim(lines[0], " \t"), " ")
	where, whole, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(where, "-")
	start, fine := parseOffset(first)
	end, okay := parseOffset(last)
	size, ok = parseOffset(whole)
	if !ok || !fine || !okay || !strings.EqualFold(unit, "bytes") || start > end || end >= size || size >= hugeOffset {
		return byteRange{}, 0, false
	}
	return byteRange{start: start, length: end - start + 1}, size, true
}

// partOf reads a 206 as the part of an answer that may be combined with others
// (RFC 9111, 3.4): it has a strong entity tag, and its length is that of its
// range. The header is that of the whole.
func partOf(clean http.Header) (whole http.Header, b byteRange, size int64, ok bool) {
	b, size, ok = parseContentRange(clean)
	tags := clean["Etag"]
	if !ok || len(tags) != 1 || !isStrong(tags[0]) {
		return nil, b, size, false
	}
	if n := declaredLength(clean); n != b.length && (n >= 0 || len(clean["Content-Length"]) > 0) {
		return nil, b, size, false
	}
	return asWhole(clean, size), b, size, true
}

// combinable reports that two answers are parts of the same: of one strong
// validator, one version and one coding, and alike to every purge.
func combinable(a, b *entry) bool {
	return isStrong(a.etag()) && a.etag() == b.etag() && a.length() == b.length() && a.version() == b.version() &&
		a.tags() == b.tags() && slices.Equal(a.groups().plain(), b.groups().plain()) && sameVary(a.vary(), b.vary()) &&
		joined(a.fields().values("Content-Encoding")) == joined(b.fields().values("Content-Encoding"))
}
