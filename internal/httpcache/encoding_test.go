package httpcache

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/coding"
	"github.com/edgegw/edge/internal/unit"
)

var longPage = strings.Repeat("<p>a line of a page that compresses well</p>\n", 200)

// pageWorld has a page that may be encoded at the origin.
func pageWorld(t *testing.T, fields ...string) *world {
	w := newWorld(t)
	fields = append([]string{"Cache-Control: max-age=60", "Content-Type: text/html; charset=utf-8"}, fields...)
	w.origin.answer = validatingPage(longPage, fields...)
	return w
}

// validatingPage answers 304 to the page's own tag only.
func validatingPage(body string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		setFields(w.Header(), fields)
		if tag := w.Header().Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		_, err := io.WriteString(w, body)
		return err
	}
}

// warm has the page stored and encoded in all codings.
func (w *world) warm() {
	w.t.Helper()
	w.get(site)
	for _, name := range []string{"br", "zstd", "gzip"} {
		w.get(site, "Accept-Encoding: "+name)
		w.settled()
	}
}

// plain is an answer's body decoded as its header says.
func (a answer) plain(t *testing.T) string {
	t.Helper()
	return decoded(t, a.Header().Get("Content-Encoding"), a.Body.Bytes())
}

func decoded(t *testing.T, name string, body []byte) string {
	t.Helper()
	if name == "" {
		return string(body)
	}
	c, err := coding.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := coding.Decode(c, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestABodyIsEncodedAfterItWasAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t, `ETag: "abc"`, "Accept-Ranges: bytes")
		const accept = "Accept-Encoding: gzip, br"
		for i, want := range []struct {
			status           Status
			coding, tag, rng string
		}{
			{StatusMiss, "", `"abc"`, "bytes"}, // streamed
			{StatusHit, "", `"abc"`, "bytes"},  // nobody waits for an encoding
			{StatusHit, "br", `"abc-br"`, ""},
			{StatusHit, "br", `"abc-br"`, ""},
		} {
			got := w.get(site, accept)
			w.settled()
			h := got.Header()
			if got.Status != want.status || h.Get("Content-Encoding") != want.coding || h.Get("Etag") != want.tag || h.Get("Accept-Ranges") != want.rng {
				t.Errorf("answer %d: %s %v: want %+v", i, got.Status, h, want)
			}
			if h.Get("Vary") != "Accept-Encoding" || len(h["Content-Encoding"]) > 1 {
				t.Errorf("answer %d: Vary %q, Content-Encoding %q", i, h["Vary"], h["Content-Encoding"])
			}
			if length := h.Get("Content-Length"); got.plain(t) != longPage || want.coding != "" && length != itoa(got.Body.Len()) {
				t.Errorf("answer %d: Content-Length %s of %d bytes, the page: %v", i, length, got.Body.Len(), got.plain(t) == longPage)
			}
		}
		if s := w.h.Store.Stats(); s.Encoded != 1 || s.EncodedBytes <= 0 || s.EncodedBytes >= s.Bytes {
			t.Errorf("%+v: want one encoding, in bytes", s)
		}
		if n := w.origin.fetches(); n != 1 {
			t.Errorf("%d fetches: want 1", n)
		}
	})
}

func TestEachClientGetsWhatItAccepts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t, `ETag: "abc"`)
		w.warm()
		for field, want := range map[string]string{
			"gzip, deflate, br, zstd": "br", "gzip, br": "br", "gzip": "gzip", "zstd": "zstd", "gzip, zstd": "zstd",
			"br;q=0.1, gzip": "gzip", "br;q=0, *": "zstd", "identity": "", "": "", "deflate": "", "identity;q=0, gzip": "gzip",
		} {
			got := w.get(site, "Accept-Encoding: "+field)
			if c := got.Header().Get("Content-Encoding"); got.Status != StatusHit || c != want || got.plain(t) != longPage {
				t.Errorf("%q: %s in %q: want a hit in %q", field, got.Status, c, want)
			}
			head := w.do(http.MethodHead, site, "Accept-Encoding: "+field)
			for _, name := range []string{"Content-Encoding", "Content-Length", "Etag", "Vary", "Content-Type"} {
				if one, other := got.Header().Get(name), head.Header().Get(name); one != other {
					t.Errorf("%q: %s is %q for GET, %q for HEAD", field, name, one, other)
				}
			}
			if head.Body.Len() != 0 {
				t.Errorf("%q: HEAD has a body", field)
			}
		}
		if got := w.get(site); got.Header().Get("Content-Encoding") != "" || got.Body.String() != longPage {
			t.Errorf("without Accept-Encoding: %v", got.Header())
		}
		if got := w.get(site, "Accept-Encoding: br", "Cache-Control: no-transform"); got.Header().Get("Content-Encoding") != "" {
			t.Error("encoded for a request that forbids transforms (RFC 9111, 5.2.1.6)")
		}
		if s := w.h.Store.Stats(); s.Encoded != 3 {
			t.Errorf("%d encodings: want one for each coding", s.Encoded)
		}
	})
}

// Until the best coding is there, another that is ready will do.
func TestAReadyCodingServesUntilABetterOneIs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		w.get(site)
		w.get(site, "Accept-Encoding: gzip")
		w.settled()
		for i, want := range []string{"gzip", "br"} {
			if got := w.get(site, "Accept-Encoding: gzip, br").Header().Get("Content-Encoding"); got != want {
				t.Errorf("answer %d is in %q: want %q", i, got, want)
			}
			w.settled()
		}
	})
}

func TestTheOrderIsTheOperators(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		w.h.Policy.Encode.Codings = []coding.Coding{coding.Gzip, coding.Brotli}
		for range 4 {
			w.get(site, "Accept-Encoding: br, gzip, zstd")
			w.get(site, "Accept-Encoding: zstd")
			w.settled()
		}
		if got := w.get(site, "Accept-Encoding: br, gzip, zstd").Header().Get("Content-Encoding"); got != "gzip" {
			t.Errorf("in %q: want gzip, the first in order", got)
		}
		if got := w.get(site, "Accept-Encoding: zstd").Header().Get("Content-Encoding"); got != "" {
			t.Errorf("in %q, which is not on offer", got)
		}
		w.h.Policy.Encode.Off = true
		if got := w.get(site, "Accept-Encoding: gzip"); got.Header().Get("Content-Encoding") != "" || got.Body.String() != longPage {
			t.Error("encoded after it was switched off")
		}
	})
}

func TestWhatIsEncoded(t *testing.T) {
	const html, fresh = "Content-Type: text/html", "Cache-Control: max-age=60"
	for name, c := range map[string]struct {
		fields  []string
		request []string
		policy  Policy
		status  int
		body    string
		want    bool
	}{
		"a page":                             {fields: []string{fresh, html}, want: true},
		"JSON":                               {fields: []string{fresh, "Content-Type: application/json"}, want: true},
		"a suffix":                           {fields: []string{fresh, "Content-Type: application/ld+json; charset=utf-8"}, want: true},
		"SVG":                                {fields: []string{fresh, "Content-Type: image/svg+xml"}, want: true},
		"WebAssembly":                        {fields: []string{fresh, "Content-Type: Application/WASM"}, want: true},
		"a long 404":                         {fields: []string{fresh, html}, status: 404, want: true},
		"it varies on something else":        {fields: []string{fresh, html, "Vary: Accept-Language"}, want: true},
		"it varies on the coding already":    {fields: []string{fresh, html, "Vary: accept-encoding"}, want: true},
		"a weak tag":                         {fields: []string{fresh, html, `ETag: W/"a"`}, want: true},
		"a picture":                          {fields: []string{fresh, "Content-Type: image/png"}},
		"no media type":                      {fields: []string{fresh, "Content-Type: "}},
		"encoded by the origin":              {fields: []string{fresh, html, "Content-Encoding: deflate"}},
		"no-transform (RFC 9111, 5.2.2.6)":   {fields: []string{"Cache-Control: max-age=60, no-transform", html}},
		"a cookie that is stored":            {fields: []string{fresh, html, "Set-Cookie: a=b"}, policy: Policy{StoreSetCookie: true}},
		"an answer to credentials":           {fields: []string{"Cache-Control: public, max-age=60", html}, request: []string{"Authorization: Basic YQ=="}},
		"an answer for each cookie":          {fields: []string{fresh, html, "Vary: Cookie"}},
		"an answer for each credential":      {fields: []string{fresh, html, "Vary: Authorization"}},
		"an answer to an API key":            {fields: []string{fresh, html}, request: []string{"X-Api-Key: secret"}},
		"an answer to a token":               {fields: []string{fresh, html}, request: []string{"X-Session-Token: secret"}},
		"an answer to a framework's field":   {fields: []string{fresh, html}, request: []string{"HX-Request: true"}, want: true},
		"a digest of the content":            {fields: []string{fresh, html, "Content-Digest: sha-256=:YQ==:"}},
		"a digest of the representation":     {fields: []string{fresh, html, "Repr-Digest: sha-256=:YQ==:"}},
		"an old digest":                      {fields: []string{fresh, html, "Digest: sha-256=YQ=="}},
		"an older one":                       {fields: []string{fresh, html, "Content-MD5: YQ=="}},
		"a signature":                        {fields: []string{fresh, html, "Signature: a=:YQ==:"}},
		"a tag that is none":                 {fields: []string{fresh, html, "ETag: abc"}},
		"a tag without an end":               {fields: []string{fresh, html, `ETag: "abc`}},
		"short":                              {fields: []string{fresh, html}, body: longPage[:1023]},
		"just long enough":                   {fields: []string{fresh, html}, body: longPage[:1024], want: true},
		"longer than the operator wants":     {fields: []string{fresh, html}, policy: Policy{Encode: Encoding{MaxLength: unit.Bytes(len(longPage) - 1)}}},
		"as long as the operator wants":      {fields: []string{fresh, html}, policy: Policy{Encode: Encoding{MaxLength: unit.Bytes(len(longPage))}}, want: true},
		"shorter than the operator wants":    {fields: []string{fresh, html}, policy: Policy{Encode: Encoding{MinLength: unit.Bytes(len(longPage) + 1)}}},
		"switched off":                       {fields: []string{fresh, html}, policy: Policy{Encode: Encoding{Off: true}}},
		"the conformance profile":            {fields: []string{fresh, html}, policy: Conformance()},
		"an answer that varies on each wish": {fields: []string{fresh, html, "Vary: *"}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.h.Policy = c.policy
				if c.body == "" {
					c.body = longPage
				}
				w.origin.answer = respond(max(200, c.status), c.body, append(c.fields, "Content-Length: "+itoa(len(c.body)))...)
				request := append([]string{"Accept-Encoding: br"}, c.request...)
				var got answer
				for range 3 {
					got = w.get(site, request...)
					w.settled()
				}
				encoded := got.Header().Get("Content-Encoding") == "br"
				if encoded != c.want || encoded && got.plain(t) != c.body {
					t.Errorf("%s %v: encoded %v, want %v", got.Status, got.Header(), encoded, c.want)
				}
				said := strings.Contains(strings.ToLower(strings.Join(got.Header()["Vary"], ",")), "accept-encoding")
				if c.want && !said {
					t.Errorf("Vary %q: want Accept-Encoding in it", got.Header()["Vary"])
				}
				if w.h.Policy.Encode.Off && said {
					t.Errorf("Vary %q, although it is switched off", got.Header()["Vary"])
				}
			})
		})
	}
}

// The CDN must learn it from the first answer on, which a rule has edited.
func TestTheFirstAnswerSaysThatItVaries(t *testing.T) {
	w := pageWorld(t, "Vary: Accept-Language")
	w.verdict = &cacherules.Verdict{Mode: cacherules.Cacheable, Edge: cacherules.Lifetime{Set: true, D: unit.Duration(time.Minute)}, Override: true}
	got := w.get(site)
	if vary := strings.Join(got.Header()["Vary"], ", "); vary != "Accept-Language, Accept-Encoding" {
		t.Errorf("Vary %q", vary)
	}
	if got.Header().Get("Cloudflare-Cdn-Cache-Control") == "" {
		t.Error("the rule has not spoken to the CDN")
	}
	encoded := newWorld(t, "Cache-Control: max-age=60", "Content-Encoding: br")
	if vary := encoded.get(site, "Accept-Encoding: br").Header()["Vary"]; len(vary) != 1 || vary[0] != "Accept-Encoding" {
		t.Errorf("an origin that encodes without saying so: Vary %q", vary)
	}
}

func TestEncodingValidate(t *testing.T) {
	for name, o := range map[string]Encoding{
		"a coding twice":         {Codings: []coding.Coding{coding.Brotli, coding.Gzip, coding.Brotli}},
		"identity":               {Codings: []coding.Coding{coding.Identity}},
		"less than nothing":      {MinLength: -1},
		"the bounds cross":       {MinLength: 2000, MaxLength: 1000},
		"above the default most": {MinLength: 16 << 20},
	} {
		if err := (&Policy{Encode: o}).Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (&Policy{Encode: Encoding{Codings: []coding.Coding{coding.Zstd}, MinLength: 1, MaxLength: 1}}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestAHitInACodingAllocatesNextToNothing(t *testing.T) {
	h, r, o := stored(t)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	for h.Store.Stats().Encoded == 0 { // the order is in the queue after the first hit
		if _, err := h.Serve(httptest.NewRecorder(), r, nil, o); err != nil {
			t.Fatal(err)
		}
		h.Store.encoder.wg.Wait()
	}
	w := &sink{header: make(http.Header)}
	got := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		if _, err := h.Serve(w, r, nil, o); err != nil {
			t.Fatal(err)
		}
	})
	if got > 2 || fmt.Sprint(w.header["Content-Encoding"]) != "[br]" {
		t.Errorf("%v allocations for a hit in %q: want at most 2, in br", got, w.header["Content-Encoding"])
	}
}

func BenchmarkEncodedHit(b *testing.B) {
	h, r, o := stored(b)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	_, _ = h.Serve(httptest.NewRecorder(), r, nil, o)
	h.Store.encoder.wg.Wait()
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		_, _ = h.Serve(w, r, nil, o)
	}
}
