package caddymodule

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

const modified = "Wed, 21 Oct 2015 07:28:00 GMT"

// aPage is stored for a minute, with both validators.
func aPage(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Etag", `"strong"`)
	h.Set("Last-Modified", modified)
	fmt.Fprint(w, "0123456789")
}

// RFC 9110, 13: conditions are evaluated against the stored answer, whether
// the request finds it or has it fetched.
func TestConditionalRequests(t *testing.T) {
	address, fetches := counting(t, aPage)
	e := startEdge(t, staticPool(address), wholeSite)
	cases := map[string]struct {
		headers []string
		status  int
	}{
		"the tag matches":                        {[]string{"If-None-Match", `"strong"`}, 304},
		"it matches weakly":                      {[]string{"If-None-Match", `W/"strong"`}, 304},
		"one of several matches":                 {[]string{"If-None-Match", `"other", "strong"`}, 304},
		"any tag matches":                        {[]string{"If-None-Match", `*`}, 304},
		"no tag matches":                         {[]string{"If-None-Match", `"other"`}, 200},
		"not modified since":                     {[]string{"If-Modified-Since", modified}, 304},
		"modified since an earlier date":         {[]string{"If-Modified-Since", "Wed, 21 Oct 2015 07:27:59 GMT"}, 200},
		"the tag outranks the date (13.2.2)":     {[]string{"If-None-Match", `"other"`, "If-Modified-Since", modified}, 200},
		"a date that is none is ignored":         {[]string{"If-Modified-Since", "yesterday"}, 200},
		"the browser's own freshness is its own": {[]string{"Cache-Control", "no-cache", "Pragma", "no-cache"}, 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path, asked := "/"+fmt.Sprint(fetches.Load()), fetches.Load()
			for n := range 2 {
				if n == 1 {
					e.get(path) // has it stored where the first request was passed on
				}
				r := e.get(path, c.headers...)
				if r.StatusCode != c.status {
					t.Errorf("request %d: %d: want %d", n, r.StatusCode, c.status)
				}
				if r.StatusCode == 304 && (r.Text != "" || r.Header.Get("Etag") != `"strong"` || r.Header.Get("Cache-Control") != "max-age=60") {
					t.Errorf("request %d: %q, %v: a 304 carries what a 200 would (15.4.5)", n, r.Text, r.Header)
				}
				if r.StatusCode == 200 && r.Text != "0123456789" {
					t.Errorf("request %d: %q", n, r.Text)
				}
			}
			if got := fetches.Load() - asked; got > 2 {
				t.Errorf("%d fetches", got)
			}
		})
	}
}

// RFC 9110, 14: parts of a stored answer.
func TestRangeRequests(t *testing.T) {
	address, fetches := counting(t, aPage)
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	asked := fetches.Load()
	cases := map[string]struct {
		headers      []string
		status       int
		text, ranges string
	}{
		"first to last":                    {[]string{"Range", "bytes=2-4"}, 206, "234", "bytes 2-4/10"},
		"to the end":                       {[]string{"Range", "bytes=7-"}, 206, "789", "bytes 7-9/10"},
		"past the end":                     {[]string{"Range", "bytes=7-99"}, 206, "789", "bytes 7-9/10"},
		"the last two":                     {[]string{"Range", "bytes=-2"}, 206, "89", "bytes 8-9/10"},
		"a suffix larger than the whole":   {[]string{"Range", "bytes=-99"}, 206, "0123456789", "bytes 0-9/10"},
		"outside":                          {[]string{"Range", "bytes=10-12"}, 416, "", "bytes */10"},
		"an empty suffix":                  {[]string{"Range", "bytes=-0"}, 416, "", "bytes */10"},
		"another unit is ignored":          {[]string{"Range", "lines=1-2"}, 200, "0123456789", ""},
		"nonsense is ignored":              {[]string{"Range", "bytes=4-2"}, 200, "0123456789", ""},
		"the tag still holds":              {[]string{"Range", "bytes=2-4", "If-Range", `"strong"`}, 206, "234", "bytes 2-4/10"},
		"the tag no longer holds":          {[]string{"Range", "bytes=2-4", "If-Range", `"other"`}, 200, "0123456789", ""},
		"a weak tag never holds (13.1.5)":  {[]string{"Range", "bytes=2-4", "If-Range", `W/"strong"`}, 200, "0123456789", ""},
		"the date still holds":             {[]string{"Range", "bytes=2-4", "If-Range", modified}, 206, "234", "bytes 2-4/10"},
		"the date no longer holds":         {[]string{"Range", "bytes=2-4", "If-Range", "Wed, 21 Oct 2015 07:28:01 GMT"}, 200, "0123456789", ""},
		"a 304 outranks a range (13.2.2)":  {[]string{"Range", "bytes=2-4", "If-None-Match", `"strong"`}, 304, "", ""},
		"the browser's cache asks as well": {[]string{"Range", "bytes=2-4", "If-None-Match", `"other"`}, 206, "234", "bytes 2-4/10"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := e.get("/page", c.headers...)
			if r.StatusCode != c.status || r.Text != c.text || r.Header.Get("Content-Range") != c.ranges {
				t.Errorf("%d %q, Content-Range %q: want %d %q %q", r.StatusCode, r.Text, r.Header.Get("Content-Range"), c.status, c.text, c.ranges)
			}
			if r.ContentLength != int64(len(c.text)) {
				t.Errorf("Content-Length %d of %d bytes", r.ContentLength, len(c.text))
			}
			if !r.hit() {
				t.Errorf("Cache-Status %q", r.cacheStatus())
			}
		})
	}
	if got := fetches.Load() - asked; got != 0 {
		t.Errorf("%d fetches for what is stored", got)
	}
}

func TestSeveralRangesAtOnce(t *testing.T) {
	address, _ := counting(t, aPage)
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	r := e.get("/page", "Range", "bytes=0-1,8-")
	kind, values, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.StatusCode != 206 || kind != "multipart/byteranges" || r.ContentLength != int64(len(r.Text)) {
		t.Fatalf("%d, Content-Type %q, Content-Length %d of %d", r.StatusCode, r.Header.Get("Content-Type"), r.ContentLength, len(r.Text))
	}
	parts := multipart.NewReader(strings.NewReader(r.Text), values["boundary"])
	for _, want := range []struct{ text, ranges string }{{"01", "bytes 0-1/10"}, {"89", "bytes 8-9/10"}} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil || string(text) != want.text || part.Header.Get("Content-Range") != want.ranges ||
			part.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%q, %v, %v: want %q of %s", text, part.Header, err, want.text, want.ranges)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("%v: want the end after two parts", err)
	}
}

// A range of what is not stored is the origin's to answer, and a part is not
// stored as if it were the whole.
func TestARangeOfWhatIsNotStored(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "bytes=2-4" {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Content-Range", "bytes 2-4/10")
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, "234")
			return
		}
		aPage(w, r)
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for range 2 {
		if r := e.get("/page", "Range", "bytes=2-4"); r.StatusCode != 206 || r.Text != "234" || r.stored() {
			t.Errorf("%d %q, Cache-Status %q", r.StatusCode, r.Text, r.cacheStatus())
		}
	}
	if r := e.get("/page"); r.StatusCode != 200 || r.Text != "0123456789" || !r.stored() {
		t.Errorf("%d %q, Cache-Status %q", r.StatusCode, r.Text, r.cacheStatus())
	}
	if n := fetches.Load(); n != 3 {
		t.Errorf("%d fetches: want 3", n)
	}
}

func gzipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text) // a buffer takes everything
	_ = w.Close()
	return out.String()
}

func gunzipped(t *testing.T, text string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// RFC 9111, 4.1: each encoding is stored by itself, and nobody gets one that he
// did not ask for.
func TestVaryByEncoding(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "accept-encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, gzipped("page"))
			return
		}
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for n := range 3 {
		packed := e.get("/page", "Accept-Encoding", "gzip")
		if packed.Header.Get("Content-Encoding") != "gzip" || gunzipped(t, packed.Text) != "page" || packed.hit() != (n > 0) {
			t.Errorf("round %d: %v", n, packed.Header)
		}
		plain := e.get("/page", "Accept-Encoding", "identity")
		if plain.Header.Get("Content-Encoding") != "" || plain.Text != "page" || plain.hit() != (n > 0) {
			t.Errorf("round %d: %q %v", n, plain.Text, plain.Header)
		}
		if n == 0 && !strings.Contains(plain.cacheStatus(), "fwd=vary-miss") {
			t.Errorf("Cache-Status %q: want a vary-miss", plain.cacheStatus())
		}
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want one for each encoding", n)
	}
}

func TestVaryByEverythingIsNotStored(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "*")
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for range 3 {
		if r := e.get("/page"); r.Text != "page" || r.hit() || r.stored() {
			t.Errorf("%q, Cache-Status %q", r.Text, r.cacheStatus())
		}
	}
	if n := fetches.Load(); n != 3 {
		t.Errorf("%d fetches: want 3", n)
	}
}

// Caddy's own compression stands in front of the cache: the store holds one
// plain answer, every visitor gets what he accepts.
func TestEncodeInFrontOfTheCache(t *testing.T) {
	text := patterned(4 << 10)
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Etag", `"strong"`)
		fmt.Fprint(w, text)
	})
	e := startEdge(t, staticPool(address), "encode gzip\n"+wholeSite)
	for n := range 3 {
		packed := e.get("/page", "Accept-Encoding", "gzip")
		if packed.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(packed.Header.Get("Vary"), "Accept-Encoding") {
			t.Fatalf("round %d: %v", n, packed.Header)
		}
		same(t, "gzip", gunzipped(t, packed.Text), text)
		again := e.get("/page", "Accept-Encoding", "gzip", "If-None-Match", packed.Header.Get("Etag"))
		if again.StatusCode != 304 {
			t.Errorf("round %d: %d for the tag %s that was just given", n, again.StatusCode, packed.Header.Get("Etag"))
		}
		plain := e.get("/page", "Accept-Encoding", "identity")
		if plain.Header.Get("Content-Encoding") != "" || plain.Header.Get("Etag") != `"strong"` {
			t.Errorf("round %d: %v", n, plain.Header)
		}
		same(t, "identity", plain.Text, text)
		part := e.get("/page", "Accept-Encoding", "gzip", "Range", "bytes=0-99")
		if part.StatusCode != 206 || part.Header.Get("Content-Encoding") != "" {
			t.Errorf("round %d: %d %v", n, part.StatusCode, part.Header)
		}
		same(t, "a part", part.Text, text[:100])
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1", n)
	}
}
