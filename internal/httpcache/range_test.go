package httpcache

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestParseRange(t *testing.T) {
	all := []byteRange{{0, 10}}
	for name, c := range map[string]struct {
		field string
		size  int64
		want  []byteRange
		err   error
	}{
		"the first bytes":                 {"bytes=0-4", 10, []byteRange{{0, 5}}, nil},
		"from an offset on":               {"bytes=9-", 10, []byteRange{{9, 1}}, nil},
		"the last bytes":                  {"bytes=-3", 10, []byteRange{{7, 3}}, nil},
		"more last bytes than there are":  {"bytes=-99", 10, all, nil},
		"an end past the body":            {"bytes=0-99", 10, all, nil},
		"several":                         {"bytes=0-1, 4-5 ,-1", 10, []byteRange{{0, 2}, {4, 2}, {9, 1}}, nil},
		"the unit in capitals":            {"Bytes=0-4", 10, []byteRange{{0, 5}}, nil},
		"one inside, one outside":         {"bytes=0-1,20-30", 10, []byteRange{{0, 2}}, nil},
		"an offset past the body":         {"bytes=10-", 10, nil, errUnsatisfiable},
		"the last zero bytes":             {"bytes=-0", 10, nil, errUnsatisfiable},
		"anything of an empty body":       {"bytes=0-", 0, nil, errUnsatisfiable},
		"a huge offset":                   {"bytes=99999999999999999999999-", 10, nil, errUnsatisfiable},
		"an end before the start":         {"bytes=5-4", 10, nil, nil},
		"no number":                       {"bytes=a-b", 10, nil, nil},
		"a sign":                          {"bytes=+1-2", 10, nil, nil},
		"nothing but a dash":              {"bytes=-", 10, nil, nil},
		"no set":                          {"bytes=", 10, nil, nil},
		"no unit":                         {"0-4", 10, nil, nil},
		"another unit":                    {"lines=0-4", 10, nil, nil},
		"more than everything":            {"bytes=0-,0-", 10, nil, nil},
		"more parts than anyone may want": {"bytes=" + strings.Repeat("0-0,", maxRanges+1), 1000, nil, nil},
	} {
		got, err := parseRange(c.field, c.size)
		if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
			t.Errorf("%s: %v %v: want %v %v", name, got, err, c.want, c.err)
		}
	}
}

// FuzzRange: whatever is asked for lies within the body, and is not more of it.
func FuzzRange(f *testing.F) {
	f.Add("bytes=0-4,-1", int64(10))
	f.Add("bytes=9223372036854775807-", int64(1))
	f.Fuzz(func(t *testing.T, field string, size int64) {
		size = max(0, size)
		ranges, err := parseRange(field, size)
		if err != nil && len(ranges) > 0 {
			t.Fatalf("%q of %d: both %v and %v", field, size, ranges, err)
		}
		total := int64(0)
		for _, one := range ranges {
			if one.start < 0 || one.length <= 0 || one.length > size || one.start > size-one.length {
				t.Fatalf("%q of %d: %+v", field, size, one)
			}
			total += one.length
		}
		if total > size || len(ranges) > maxRanges {
			t.Fatalf("%q of %d: %d bytes in %d parts", field, size, total, len(ranges))
		}
	})
}

func TestSeveralParts(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60", "Content-Type: text/x", "Content-Range: of a 200: no meaning")
	w.get(site)
	got := w.get(site, "Range: bytes=0-1,3-4")
	if got.ResponseRecorder.Code != http.StatusPartialContent {
		t.Fatalf("status %d: want 206", got.ResponseRecorder.Code)
	}
	if values, found := got.Header()["Content-Range"]; found {
		t.Errorf("Content-Range %q beside several parts: want none (RFC 9110, 15.3.7.2)", values)
	}
	if length := got.Header().Get("Content-Length"); length != itoa(got.Body.Len()) {
		t.Errorf("Content-Length %s of %d bytes", length, got.Body.Len())
	}
	kind, params, err := mime.ParseMediaType(got.Header().Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		t.Fatalf("Content-Type %q %v", got.Header().Get("Content-Type"), err)
	}
	parts := multipart.NewReader(got.Body, params["boundary"])
	for _, want := range []struct{ text, where string }{{"he", "bytes 0-1/5"}, {"lo", "bytes 3-4/5"}} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(part)
		if string(text) != want.text || part.Header.Get("Content-Range") != want.where || part.Header.Get("Content-Type") != "text/x" {
			t.Errorf("part %q %v: want %q of %q", text, part.Header, want.text, want.where)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestPartsOfABodyInPieces(t *testing.T) {
	b := body{chunks: [][]byte{[]byte("abc"), []byte("def"), []byte("gh")}, size: 8}
	for start := range int64(8) {
		for length := range 8 - start + 1 {
			rec := httptest.NewRecorder()
			n, err := b.writePart(rec, start, length)
			if want := "abcdefgh"[start : start+length]; err != nil || n != length || rec.Body.String() != want {
				t.Errorf("%d from %d: %q %v: want %q", length, start, rec.Body, err, want)
			}
		}
	}
}
