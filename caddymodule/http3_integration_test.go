package caddymodule

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/quic-go/quic-go/http3"
)

// The server of HTTP/3 does not say whether a request has a body.
func TestHTTP3IsCachedAsTheOthersAre(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s, length %d, %q, %v", r.Method, r.URL.Path, r.ContentLength, got, err)
	})
	e := startRawEdge(t, address, taggedSite)
	if err := e.loadText(strings.ReplaceAll(e.text, "protocols h1 h2", "protocols h1 h2 h3")); err != nil {
		t.Fatal(err)
	}
	client := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "example.com"}}
	defer client.Close()
	ask := func(method, path string, body io.Reader) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+e.secureOther+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return resp, string(text)
	}
	// unsized hides how long a body is.
	unsized := func(text string) io.Reader { return struct{ io.Reader }{strings.NewReader(text)} }

	const page = `GET /a, length 0, "", <nil>`
	for i, want := range []string{"fwd=uri-miss", "hit", "hit"} {
		before := fetches.Load()
		resp, text := ask(http.MethodGet, "/a", nil)
		if got := resp.Header.Get("Cache-Status"); text != page || !strings.Contains(got, want) || resp.ProtoMajor != 3 {
			t.Errorf("visit %d over %s: %q, %s: want %q and %s", i, resp.Proto, text, got, page, want)
		}
		if n := fetches.Load() - before; (n == 0) != (want == "hit") {
			t.Errorf("visit %d: %d fetches", i, n)
		}
	}
	if resp, _ := ask(http.MethodHead, "/a", nil); !strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
		t.Errorf("HEAD: %s: want a hit", resp.Header.Get("Cache-Status"))
	}
	resp, text := ask(http.MethodGet, "/a", unsized("fat"))
	if want := `GET /a, length -1, "fat", <nil>`; text != want || !strings.Contains(resp.Header.Get("Cache-Status"), "request-body") {
		t.Errorf("with a body: %q, %s: want %q, and no hit", text, resp.Header.Get("Cache-Status"), want)
	}
	if _, text := ask(http.MethodPost, "/b", unsized("words")); text != `POST /b, length -1, "words", <nil>` {
		t.Errorf("a POST: %q", text)
	}
	if _, text := ask(http.MethodDelete, "/b", nil); text != `DELETE /b, length 0, "", <nil>` {
		t.Errorf("a DELETE: %q", text)
	}
}

func TestABegunBodyIsWhatItWas(t *testing.T) {
	for name, r := range map[string]struct {
		body    io.Reader
		want    string
		err     error
		nothing bool
	}{
		"none":            {strings.NewReader(""), "", nil, true},
		"one byte":        {strings.NewReader("a"), "a", nil, false},
		"some":            {strings.NewReader("abc"), "abc", nil, false},
		"broken at once":  {iotest.ErrReader(io.ErrUnexpectedEOF), "", io.ErrUnexpectedEOF, false},
		"broken later on": {io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(io.ErrUnexpectedEOF)), "ab", io.ErrUnexpectedEOF, false},
	} {
		t.Run(name, func(t *testing.T) {
			request := &http.Request{Method: http.MethodGet, ProtoMajor: 3, ContentLength: -1, Body: io.NopCloser(r.body)}
			settleLength(request)
			got, err := io.ReadAll(request.Body)
			if string(got) != r.want || err != r.err || (request.ContentLength == 0) != r.nothing {
				t.Errorf("%q, %v, length %d: want %q, %v", got, err, request.ContentLength, r.want, r.err)
			}
		})
	}
}
