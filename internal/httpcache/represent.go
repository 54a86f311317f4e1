package httpcache

import (
	"net/http"
	"strings"

	"github.com/edgegw/edge/internal/coding"
)

// represent chooses the representation that a reply is about: its coding, and
// whether the client has it already. Only an answer that may be encoded takes
// more than a look. What is missing is asked for; nobody waits for it.
func (h *Handler) represent(r *http.Request, rp *reply) {
	e := rp.e
	// An answer that is not stored was asked for as a whole; it goes as one.
	conditional := !rp.firstHand || rp.stored
	rp.among = e.encodings.Load()
	// Trailing fields may be about the bytes as they are.
	if !e.encodable || h.Policy.Encode.Off || rp.trails() {
		rp.unmodified = conditional && notModified(r.Header, e)
		return
	}
	accept := acceptOf(r.Header)
	now, encodings := coding.Identity, rp.among
	if !rp.firstHand {
		order := h.Policy.Encode.order()
		ready, possible := encodings.offered()
		if best := accept.Choose(order, possible); best != coding.Identity && !ready.Has(best) {
			h.encodeLater(e, best)
		}
		now = accept.Choose(order, ready)
		rp.encoded = encodings.get(now)
	}
	if !conditional {
		return
	}
	lines := r.Header["If-None-Match"]
	if len(lines) == 0 || e.status < 200 || e.status > 299 {
		rp.unmodified = notModified(r.Header, e)
		return
	}
	has, ok := clientHas(lines, e.etag(), now, accept)
	if !ok {
		return
	}
	rp.unmodified = true
	if has != now {
		if rp.encoded = encodings.get(has); rp.encoded == nil {
			rp.tag = tagOf(e.etag(), has)
		}
	}
}

// body, lines and length are those of the chosen representation: its body, the
// fields that are its own, its Content-Length.
func (rp *reply) body() body {
	if rp.encoded != nil {
		return rp.encoded.body
	}
	b := rp.e.body()
	b.open = rp.open
	return b
}

func (rp *reply) lines() fieldLines {
	if rp.encoded != nil {
		return rp.encoded.lines
	}
	return fieldLines{}
}

func (rp *reply) length() string {
	switch {
	case rp.encoded != nil:
		return rp.encoded.lengthText
	case !rp.firstHand:
		return rp.e.lengthText()
	case rp.e.length() >= 0: // the fill may just be giving the entry its body
		return rp.e.fields().first("Content-Length")
	}
	return ""
}

// acceptOf is what codings an answer to the request may have (RFC 9110,
// 12.5.3). A request may forbid transforms (RFC 9111, 5.2.1.6).
func acceptOf(request http.Header) coding.Accept {
	if len(request["Cache-Control"]) > 0 && forbidsTransforms(request) {
		return coding.Accept{}
	}
	return coding.ParseAccept(request[acceptEncoding])
}

// clientHas is the representation of the answer that the client has and that
// still holds, given the one that it would get. Any that it accepts will do:
// which one to select is the server's choice (RFC 9110, 12.1), and a client
// that got one before its encoding was there, or that was made before a
// restart, need not get it again.
func clientHas(lines []string, etag string, now coding.Coding, accept coding.Accept) (has coding.Coding, ok bool) {
	for _, line := range lines {
		for {
			line = strings.TrimLeft(line, " \t,")
			if line == "" {
				break
			}
			var tag string
			tag, line = cutTag(line)
			if tag == "*" {
				return now, true
			}
			if etag == "" {
				continue
			}
			c, named := codingOf(tag, etag)
			switch {
			case !named, c != coding.Identity && !accept.Accepts(c):
			case c == now, c == coding.Identity && !isStrong(etag): // a weak tag is that of all
				return now, true
			case !ok:
				has, ok = c, true
			}
		}
	}
	return has, ok
}

// mixes reports an If-Range with a date for a body that goes out in several
// codings. The date does not say of which one the client has a part, and parts
// of two must not be joined (RFC 9110, 8.8.2.2).
func (h *Handler) mixes(request http.Header, e *entry) bool {
	lines := request["If-Range"]
	if len(lines) == 0 || strings.Contains(lines[0], `"`) || !e.encodable {
		return false
	}
	return h.Policy.Encode.fits(max(e.body().size, e.length())) || e.encodings.Load() != nil
}

// plainTags is the request with the origin's own entity tags in If-Match beside
// those of ours: a client that edits what it got in a coding would always fail
// otherwise, since the origin knows only the tag of the body as it is.
func (x *exchange) plainTags() *http.Request {
	lines := x.r.Header["If-Match"]
	if len(lines) == 0 || x.h.Policy.Encode.Off {
		return x.r
	}
	var plain []string
	for _, line := range lines {
		for rest := strings.TrimLeft(line, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
			var tag string
			if tag, rest = cutTag(rest); isStrong(tag) {
				plain = appendPlain(plain, tag)
			}
		}
	}
	if plain == nil {
		return x.r
	}
	r := x.r.WithContext(x.r.Context())
	r.Header = x.r.Header.Clone()
	r.Header["If-Match"] = append(r.Header["If-Match"], strings.Join(plain, ", "))
	return r
}

// appendPlain appends the tag that one of a body in a coding was made from.
func appendPlain(tags []string, tag string) []string {
	for c := coding.Identity + 1; c < coding.Count; c++ {
		if opaque, ok := strings.CutSuffix(tag, "-"+c.String()+`"`); ok {
			return append(tags, opaque+`"`)
		}
	}
	return tags
}
