package httpcache

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// completion is what a fill that completes stored parts knows (RFC 9111, 3.4):
// it asks for the rest only, and only as long as that belongs to them.
type completion struct {
	part *entry
	rest byteRange
	// begun: the origin sends the rest.
	begun bool
}

// complete makes the fill ask for the rest of an answer of which there are
// parts. Origins that do not send it send the whole (RFC 9110, 13.1.5). The
// parts' age is of no matter: that they still hold is what is asked.
func (f *fill) complete(part *entry) {
	if part == nil || len(f.asked["Authorization"]) > 0 {
		return
	}
	length := part.length()
	if length > f.buffer.limit {
		return
	}
	rest := gap(part.pieces(), length)
	if rest.length == length {
		return // neither the beginning nor the end is there
	}
	f.completes = &completion{part: part, rest: rest}
	last := ""
	if end := rest.start + rest.length; end < length {
		last = strconv.FormatInt(end-1, 10)
	}
	f.request.Header["Range"] = []string{"bytes=" + strconv.FormatInt(rest.start, 10) + "-" + last}
	f.request.Header["If-Range"] = []string{part.etag()}
}

// stampParts lowers the fill's stamps to those of the parts, so that no purge
// since then is forgotten.
func (f *fill) stampParts() {
	if f.completes == nil {
		return
	}
	part := f.completes.part
	f.began = min(f.began, part.began)
	if part.groups() != nil {
		f.groupsBegan = min(f.groupsBegan, part.groups().began)
	}
}

// decideRest is for the answer to a request for the rest. It reports false for
// an answer that stands by itself. A 206 that does not fit helps nobody, who
// asked for the whole; without the parts the next one is not asked for.
func (f *fill) decideRest(status int, header http.Header, source Source, received time.Time) (mine bool) {
	c := f.completes
	switch {
	case status == http.StatusPartialContent:
		whole, fits := f.fits(header, source, received)
		if c.begun = fits; fits {
			f.decideAnswer(http.StatusOK, whole, source, received)
			return true
		}
	case status != http.StatusRequestedRangeNotSatisfiable:
		if status < http.StatusInternalServerError && source.Current {
			f.h.Store.remove(c.part)
		}
		return false
	}
	f.giveUpParts()
	return true
}

// giveUpParts drops the parts, so that whoever waited asks for the whole.
func (f *fill) giveUpParts() {
	f.h.Store.remove(f.completes.part)
	f.outcome = futile
}

// fits reports that a 206 is the rest that was asked for, of the same answer as
// the parts, and gives the header of the whole.
func (f *fill) fits(header http.Header, source Source, received time.Time) (http.Header, bool) {
	c := f.completes
	clean, b, size, ok := partOf(withoutHopByHop(header))
	stands, _ := f.h.Store.fence.judge(c.part.provenance(), c.part.began)
	if !ok || stands != standsFirm || b != c.rest || size != c.part.length() {
		return nil, false
	}
	if coding := clean["Content-Encoding"]; len(coding) > 0 && joined(coding) != joined(c.part.fields().values("Content-Encoding")) {
		return nil, false // the stored field would be kept: see keptOn304
	}
	whole := asWhole(update304(c.part.fields().origin(), clean), size)
	return whole, combinable(c.part, newEntry(f.draft(http.StatusOK, maps.Clone(whole), source, received)))
}

// writeBefore writes the bytes before the rest. It runs once ready is closed,
// since a buffer that cannot keep them waits for readers.
func (f *fill) writeBefore() error {
	if f.completes == nil || !f.completes.begun {
		return nil
	}
	return f.writeStored(byteRange{length: f.completes.rest.start})
}

// writeAfter writes the bytes after the rest, if all of that has come.
func (f *fill) writeAfter() error {
	c := f.completes
	if c == nil || !c.begun || f.buffer.written() != c.rest.start+c.rest.length {
		return nil
	}
	start := c.rest.start + c.rest.length
	return f.writeStored(byteRange{start: start, length: c.part.length() - start})
}

// overflows reports more of the rest than was declared.
func (f *fill) overflows(n int) error {
	c := f.completes
	if c == nil || !c.begun || f.buffer.written()+int64(n) <= c.rest.start+c.rest.length {
		return nil
	}
	return fmt.Errorf("more than the %d bytes that the origin declared", c.rest.length)
}

func (f *fill) writeStored(b byteRange) error {
	if b.length == 0 {
		return nil
	}
	p, _ := holding(f.completes.part.pieces(), b)
	_, err := p.body.writePart(bufferWriter{f}, b.start-p.start, b.length)
	return err
}

// bufferWriter writes into a fill's buffer.
type bufferWriter struct{ f *fill }

func (w bufferWriter) Write(p []byte) (int, error) {
	if err := w.f.buffer.write(w.f.ctx, p); err != nil {
		return 0, err
	}
	return len(p), nil
}
