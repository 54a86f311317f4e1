package httpcache

import (
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxRanges is how many parts one request may ask for; more gets the whole
// (RFC 9110, 14.2 and 17.15).
const maxRanges = 16

// errUnsatisfiable: no part of the body is asked for.
var errUnsatisfiable = errors.New("range not satisfiable")

// byteRange is a part of a body.
type byteRange struct{ start, length int64 }

func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, size)
}

// parseRange reads a Range field about a body of some size (RFC 9110, 14.1.2).
// Nothing and no error mean that the field is to be ignored: another unit, a
// malformed set, too many parts, or parts that together exceed the whole.
func parseRange(field string, size int64) ([]byteRange, error) {
	unit, set, found := strings.Cut(field, "=")
	if !found || !strings.EqualFold(strings.Trim(unit, " \t"), "bytes") {
		return nil, nil
	}
	var ranges []byteRange
	named, total := 0, int64(0)
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue
		}
		one, ok := parseSpec(spec, size)
		if named++; !ok || named > maxRanges {
			return nil, nil
		}
		if one.length > 0 {
			ranges = append(ranges, one)
			total += one.length
		}
	}
	switch {
	case named == 0 || total > size:
		return nil, nil
	case len(ranges) == 0:
		return nil, errUnsatisfiable
	}
	return ranges, nil
}

// parseSpec reads "first-last", "first-" or "-suffix". A length of zero stands
// for a spec that is well-formed but outside the body.
func parseSpec(spec string, size int64) (byteRange, bool) {
	first, last, found := strings.Cut(spec, "-")
	if !found {
		return byteRange{}, false
	}
	if first == "" {
		n, ok := parseOffset(last)
		n = min(n, size)
		return byteRange{start: size - n, length: n}, ok
	}
	start, ok := parseOffset(first)
	end := size - 1
	if last != "" {
		n, fine := parseOffset(last)
		if ok = ok && fine && n >= start; n < end {
			end = n
		}
	}
	if !ok {
		return byteRange{}, false
	}
	if start >= size {
		return byteRange{}, true
	}
	return byteRange{start: start, length: end - start + 1}, true
}

// hugeOffset is what larger numbers count as.
const hugeOffset = 1 << 62

// parseOffset reads digits and nothing else.
func parseOffset(text string) (int64, bool) {
	var n int64
	for i := range len(text) {
		if !isDigit(text[i]) {
			return 0, false
		}
		if n < hugeOffset/10 {
			n = n*10 + int64(text[i]-'0')
		} else {
			n = hugeOffset
		}
	}
	return n, text != ""
}

// rangeApplies evaluates If-Range (RFC 9110, 13.1.5): the validator must be
// strong and the same.
func rangeApplies(request http.Header, e *entry) bool {
	lines := request["If-Range"]
	if len(lines) != 1 {
		return len(lines) == 0 // of two, neither is to be trusted
	}
	text := strings.Trim(lines[0], " \t")
	if strings.HasPrefix(text, `"`) || strings.HasPrefix(text, "W/") {
		return isStrong(text) && text == e.etag()
	}
	since, ok := parseDate(text)
	// A Last-Modified is strong if the answer was dated at least a second
	// after it: RFC 9110, 8.8.2.2.
	modified := e.modified()
	return ok && !modified.IsZero() && since.Equal(modified) && e.date().Sub(modified) >= 1e9
}

// replyRange answers with parts of a stored 200. done is false when the whole
// is to be answered with.
func (h *Handler) replyRange(w http.ResponseWriter, r *http.Request, rp reply) (res Result, done bool) {
	e := rp.e
	if r.Method != http.MethodGet || rp.unmodified || !rangeApplies(r.Header, e) || h.mixes(r.Header, e) {
		return Result{}, false
	}
	ranges, err := parseRange(strings.Join(r.Header["Range"], ","), e.body().size)
	if err == nil && len(ranges) == 0 {
		return Result{}, false
	}
	rp.encoded = nil // parts are of the body as it is
	h.writeFields(w.Header(), rp, http.StatusPartialContent)
	h.answering(rp.o, rp.e)
	header := w.Header()
	delete(header, "Content-Range") // one that a 200 came with; several parts have none here
	if err != nil {
		header["Content-Range"] = []string{"bytes */" + strconv.FormatInt(e.body().size, 10)}
		header["Content-Length"] = []string{"0"}
		delete(header, "Content-Type")
		delete(header, "Content-Encoding")
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return resultOf(rp, http.StatusRequestedRangeNotSatisfiable), true
	}
	if len(ranges) == 1 {
		one := ranges[0]
		header["Content-Range"] = []string{one.contentRange(e.body().size)}
		header["Content-Length"] = []string{strconv.FormatInt(one.length, 10)}
		w.WriteHeader(http.StatusPartialContent)
		sent, _ := rp.body().writePart(w, one.start, one.length) // a client that leaves is nobody to tell
		h.Store.counters.sentBytes.Add(sent)
		return resultOf(rp, http.StatusPartialContent), true
	}
	writeMultipart(w, rp.body(), ranges)
	for _, one := range ranges {
		h.Store.counters.sentBytes.Add(one.length)
	}
	return resultOf(rp, http.StatusPartialContent), true
}

// writeMultipart answers with several parts (RFC 9110, 14.6). Its length is
// counted by writing the frames once without their contents.
func writeMultipart(w http.ResponseWriter, b body, ranges []byteRange) {
	header := w.Header()
	contentType := header.Get("Content-Type")
	var counted countWriter
	frames := multipart.NewWriter(&counted)
	boundary := frames.Boundary()
	_ = writeParts(frames, b, ranges, contentType, &counted) // it only counts
	header["Content-Type"] = []string{"multipart/byteranges; boundary=" + boundary}
	header["Content-Length"] = []string{strconv.FormatInt(counted.n, 10)}
	w.WriteHeader(http.StatusPartialContent)
	parts := multipart.NewWriter(w)
	_ = parts.SetBoundary(boundary)                    // valid: multipart made it
	_ = writeParts(parts, b, ranges, contentType, nil) // a client that leaves is nobody to tell
}

// writeParts writes the parts, or with a counter only counts their contents.
func writeParts(m *multipart.Writer, b body, ranges []byteRange, contentType string, counter *countWriter) error {
	for _, one := range ranges {
		head := textproto.MIMEHeader{"Content-Range": {one.contentRange(b.size)}}
		if contentType != "" {
			head["Content-Type"] = []string{contentType}
		}
		part, err := m.CreatePart(head)
		if err != nil {
			return err
		}
		if counter != nil {
			counter.n += one.length
			continue
		}
		if _, err := b.writePart(part, one.start, one.length); err != nil {
			return err
		}
	}
	return m.Close()
}

// countWriter counts what is written to it.
type countWriter struct{ n int64 }

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
