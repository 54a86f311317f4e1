package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/coding"
)

func TestConditionalRequestsAndCodings(t *testing.T) {
	const modified = "Sun, 06 Nov 1994 08:49:37 GMT"
	for name, c := range map[string]struct {
		tag    string // of the origin
		fields []string
		code   int
		coding string // of a 200
		etag   string
	}{
		"the tag of the coding that it gets": {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "abc-br"`}, 304, "", `"abc-br"`},
		"weakly compared":                    {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: W/"abc-br"`}, 304, "", `"abc-br"`},
		"in a list":                          {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "x", "abc", "abc-br"`}, 304, "", `"abc-br"`},
		"on another line":                    {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "x"`, `If-None-Match: "abc-br"`}, 304, "", `"abc-br"`},
		"it has the body as it is, which it accepts too":    {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "abc"`}, 304, "", `"abc"`},
		"it has another coding that it accepts":             {`"abc"`, []string{"Accept-Encoding: gzip, br", `If-None-Match: "abc-gzip"`}, 304, "", `"abc-gzip"`},
		"it has a coding that it does not accept any more":  {`"abc"`, []string{"Accept-Encoding: gzip", `If-None-Match: "abc-br"`}, 200, "gzip", `"abc-gzip"`},
		"it has a coding, and accepts none":                 {`"abc"`, []string{`If-None-Match: "abc-br"`}, 200, "", `"abc"`},
		"the plain tag, no coding":                          {`"abc"`, []string{`If-None-Match: "abc"`}, 304, "", `"abc"`},
		"another version in the coding":                     {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "abd-br"`}, 200, "br", `"abc-br"`},
		"a tag that only begins alike":                      {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "abc-brx", "abc-", "abcbr", "abc-br`}, 200, "br", `"abc-br"`},
		"anything":                                          {`"abc"`, []string{"Accept-Encoding: br", "If-None-Match: *"}, 304, "", `"abc-br"`},
		"a weak tag is that of every coding":                {`W/"abc"`, []string{"Accept-Encoding: br", `If-None-Match: W/"abc"`}, 304, "", `W/"abc"`},
		"and has no siblings":                               {`W/"abc"`, []string{"Accept-Encoding: br", `If-None-Match: W/"abc-br"`}, 200, "br", `W/"abc"`},
		"no tag: by date":                                   {"", []string{"Accept-Encoding: br", "If-Modified-Since: " + modified}, 304, "", ""},
		"no tag, and asked by one":                          {"", []string{"Accept-Encoding: br", `If-None-Match: ""`}, 200, "br", ""},
		"no tag, anything":                                  {"", []string{"Accept-Encoding: br", "If-None-Match: *"}, 304, "", ""},
		"If-None-Match outranks the date":                   {`"abc"`, []string{"Accept-Encoding: br", `If-None-Match: "x"`, "If-Modified-Since: " + modified}, 200, "br", `"abc-br"`},
		"a request that forbids transforms has another tag": {`"abc"`, []string{"Accept-Encoding: br", "Cache-Control: no-transform", `If-None-Match: "abc-br"`}, 200, "", `"abc"`},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				fields := []string{"Last-Modified: " + modified}
				if c.tag != "" {
					fields = append(fields, "ETag: "+c.tag)
				}
				w := pageWorld(t, fields...)
				w.warm()
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					got := w.do(method, site, c.fields...)
					h := got.Header()
					if got.ResponseRecorder.Code != c.code || h.Get("Etag") != c.etag || h.Get("Content-Encoding") != c.coding {
						t.Errorf("%s: %d %v: want %d in %q, ETag %s", method, got.ResponseRecorder.Code, h, c.code, c.coding, c.etag)
					}
					if h.Get("Vary") != "Accept-Encoding" || h.Get("Cache-Control") != "max-age=60" {
						t.Errorf("%s: %v: want Vary and Cache-Control (RFC 9110, 15.4.5)", method, h)
					}
					if c.code == 304 && (h.Get("Content-Length") != "" || got.Body.Len() > 0) {
						t.Errorf("%s: a 304 with %v and %d bytes", method, h, got.Body.Len())
					}
				}
			})
		})
	}
}

// After a restart or an eviction nothing is encoded, but clients have what was
// before. They need not get it again.
func TestATagFromBeforeStillHolds(t *testing.T) {
	w := pageWorld(t, `ETag: "abc"`)
	for i := range 2 { // stored by the first answer, from the store by the second
		got := w.get(site, "Accept-Encoding: gzip, br", `If-None-Match: "abc-br"`)
		if got.ResponseRecorder.Code != 304 || got.Header().Get("Etag") != `"abc-br"` {
			t.Errorf("answer %d: %d, ETag %s: want 304 about the client's copy", i, got.ResponseRecorder.Code, got.Header().Get("Etag"))
		}
	}
	if asked := w.origin.lastAsked(); len(asked["If-None-Match"]) > 0 {
		t.Errorf("the origin was asked about %q", asked["If-None-Match"])
	}
}

func TestPartsAreOfTheBodyAsItIs(t *testing.T) {
	const modified = "Sun, 06 Nov 1994 08:49:37 GMT"
	for name, c := range map[string]struct {
		fields []string
		code   int
		coding string
		body   string
	}{
		"a part":                           {nil, 206, "", longPage[10:20]},
		"of the plain tag":                 {[]string{`If-Range: "abc"`}, 206, "", longPage[10:20]},
		"of a coding's tag: the whole":     {[]string{`If-Range: "abc-br"`}, 200, "br", longPage},
		"of another's":                     {[]string{`If-Range: "abc-gzip"`}, 200, "br", longPage},
		"of a date, which tells no coding": {[]string{"If-Range: " + modified}, 200, "br", longPage},
		"it has it already":                {[]string{`If-None-Match: "abc-br"`}, 304, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := pageWorld(t, `ETag: "abc"`, "Last-Modified: "+modified)
				w.warm()
				got := w.get(site, append(c.fields, "Accept-Encoding: br", "Range: bytes=10-19")...)
				h := got.Header()
				if got.ResponseRecorder.Code != c.code || h.Get("Content-Encoding") != c.coding || got.plain(t) != c.body && c.code != 304 {
					t.Fatalf("%d %v %q: want %d in %q", got.ResponseRecorder.Code, h, got.Body.String(), c.code, c.coding)
				}
				if c.code == 206 && (h.Get("Etag") != `"abc"` || h.Get("Vary") != "Accept-Encoding" || h.Get("Content-Length") != "10") {
					t.Errorf("%v: want the plain tag, and Vary", h)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t, `ETag: "abc"`)
		w.warm()
		got := w.get(site, "Accept-Encoding: br", "Range: bytes=999999-")
		if got.ResponseRecorder.Code != 416 || got.Header().Get("Content-Range") != "bytes */"+itoa(len(longPage)) {
			t.Errorf("%d %v: want 416 about the body as it is", got.ResponseRecorder.Code, got.Header())
		}
	})
}

func TestIfMatchReachesTheOriginWithItsOwnTags(t *testing.T) {
	for name, c := range map[string]struct {
		off        bool
		sent, want []string
	}{
		"a coding's tag":           {false, []string{`"abc-br"`}, []string{`"abc-br"`, `"abc"`}},
		"several":                  {false, []string{`"x", "abc-gzip",`, `"y-zstd"`}, []string{`"x", "abc-gzip",`, `"y-zstd"`, `"abc", "y"`}},
		"one of the origin's":      {false, []string{`"abc"`}, []string{`"abc"`}},
		"anything":                 {false, []string{"*"}, []string{"*"}},
		"weak tags match nothing":  {false, []string{`W/"abc-br"`}, []string{`W/"abc-br"`}},
		"encoding is switched off": {true, []string{`"abc-br"`}, []string{`"abc-br"`}},
	} {
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			w := pageWorld(t)
			w.h.Policy.Encode.Off = c.off
			fields := make([]string, len(c.sent))
			for i := range fields {
				fields[i] = "If-Match: " + c.sent[i]
			}
			w.do(method, site, fields...)
			if got := w.origin.lastAsked()["If-Match"]; !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: the origin got %q: want %q", name, method, got, c.want)
			}
		}
	}
}

// FuzzClientHas: a 304 is about something that the client named and accepts.
func FuzzClientHas(f *testing.F) {
	f.Add(`"abc-br", W/"abc"`, `"abc"`, "gzip, br", uint8(1))
	f.Add(`*`, `W/"abc"`, "", uint8(0))
	f.Add(`"abc-gzip`, `"abc"`, "gzip", uint8(3))
	f.Fuzz(func(t *testing.T, list, etag, field string, n uint8) {
		accept := coding.ParseAccept([]string{field})
		now := coding.Coding(n % uint8(coding.Count))
		has, ok := clientHas([]string{list}, etag, now, accept)
		if !ok || has == now {
			return
		}
		if has != coding.Identity && !accept.Accepts(has) {
			t.Fatalf("%q about %q: %s, which %q does not accept", list, etag, has, field)
		}
		if tag := tagOf(etag, has); !strings.Contains(list, strings.TrimPrefix(tag, "W/")) {
			t.Fatalf("%q about %q: %s, whose tag %s is not in it", list, etag, has, tag)
		}
	})
}
