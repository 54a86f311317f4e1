package caddymodule

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A visitor cannot make the cache forget: the methods by which other caches are
// purged are the origin's, which may well answer them as if they were GET.
func TestVisitorsPurgeNothing(t *testing.T) {
	address, fetches := rawOrigin(t, gullible)
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	for _, method := range []string{"PURGE", "BAN", "GET", "HEAD", "OPTIONS", "TRACE"} {
		asked := fetches.Load()
		c := e.rawClient()
		c.send("%s /page HTTP/1.1\nHost: %s\nX-Purge-Tags: pages\nCache-Tag: pages\nSurrogate-Key: pages\nX-Purge-Regex: .*\nCache-Control: no-cache\nPragma: no-cache\n\n",
			method, strings.TrimPrefix(e.URL, "http://"))
		c.answer(method)
		if r := e.get("/page"); !r.hit() {
			t.Errorf("after %s: Cache-Status %q: want the page still there", method, r.cacheStatus())
		}
		if n := fetches.Load() - asked; n > 1 {
			t.Errorf("%s: %d fetches: want at most its own", method, n)
		}
	}
	for _, path := range []string{"purge", "deploy", "replicas"} {
		if r := e.do(http.MethodPost, "/.edge/"+path, strings.NewReader(`{"everything": true}`), "Content-Type", "application/json"); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("POST %s without the token: %d", path, r.StatusCode)
		}
	}
	if r := e.get("/page"); !r.hit() {
		t.Errorf("after orders without a token: Cache-Status %q", r.cacheStatus())
	}
}

// What the control API answers is in no cache, however its path is spelled and
// whoever asks first: a refusal must not be what CI gets, nor a status what
// visitors get.
func TestTheControlAPIIsNeverStored(t *testing.T) {
	address, _ := rawOrigin(t, gullible)
	e := startEdge(t, staticPool(address), wholeSite)
	host := strings.TrimPrefix(e.URL, "http://")
	for _, target := range []string{
		"/.edge/status", "/.edge/status?", "/.EDGE/status", "//.edge/status", "/.edge//status", "/./.edge/status", "/x/../.edge/status", "/.edge%2fstatus",
		"/%2eedge/status", "/.edge/status;x.css", "/.edge/status/x.css", "/.edge/../.edge/status", `/.edge\status`, e.URL + "/.edge/status",
	} {
		for _, token := range []string{"", "Authorization: Bearer " + testToken + "\n", ""} {
			c := e.rawClient()
			c.send("GET %s HTTP/1.1\nHost: %s\n%s\n", target, host, token)
			r := c.answer("GET")
			if token == "" && strings.Contains(r.Text, `"generation"`) || token != "" && r.hit() {
				t.Errorf("%s, token %t: %d, Cache-Status %q: %q", target, token != "", r.StatusCode, r.cacheStatus(), r.Text)
			}
		}
	}
	for range 2 {
		if code := e.control(http.MethodGet, "status", nil, nil); code != http.StatusOK {
			t.Errorf("then CI gets %d", code)
		}
	}
}

// HTTP/2 names the host twice. Whatever the fields of a request say beside its
// pseudo-header fields, key and origin go by the same one (RFC 9113, 8.3.1).
func TestHTTP2ThatContradictsItself(t *testing.T) {
	address, _ := rawOrigin(t, gullible)
	s := startSites(t, "", staticPool(address), "http://:PORT "+indented(wholeSite))
	victim := "GET /PATH HTTP/1.1\nHost: a.test\n\n"
	if status := s.overHTTP2(t, [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/plain"}}); status != "200" {
		t.Fatalf("a plain request: %q: the others prove nothing", status)
	}
	for n, c := range []struct {
		name   string
		fields [][2]string // after :method
	}{
		{"two hosts", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {"host", "evil.test"}}},
		{"the host as a field alone", [][2]string{{":scheme", "http"}, {":path", "/PATH"}, {"host", "evil.test"}}},
		{"an authority of another", [][2]string{{":scheme", "http"}, {":authority", "evil.test"}, {":path", "/PATH"}, {"host", "a.test"}}},
		{"user information", [][2]string{{":scheme", "http"}, {":authority", "evil@a.test"}, {":path", "/PATH"}}},
		{"another scheme", [][2]string{{":scheme", "https"}, {":authority", "a.test"}, {":path", "/PATH"}, {"x-forwarded-host", "evil.test"}}},
		{"a scheme that is a URL", [][2]string{{":scheme", "http://evil.test/?"}, {":authority", "a.test"}, {":path", "/PATH"}}},
		{"a path that is a URL", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "http://evil.test/PATH"}}},
		{"a path without a slash", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "PATH?evil"}}},
		{"a space in the path", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH HTTP/1.1\r\nHost: evil.test"}}},
		{"a connection field", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {"connection", "x-evil"}, {"x-evil", "evil"}}},
		{"a transfer coding", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {"transfer-encoding", "evil"}}},
		{"a line end in a value", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {"x-rewrite-url", "x\r\nevil: 1"}}},
		{"two paths", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {":path", "/evil"}}},
		{"an extended CONNECT", [][2]string{{":scheme", "http"}, {":authority", "a.test"}, {":path", "/PATH"}, {":protocol", "evil"}}},
	} {
		path := fmt.Sprintf("h2-%d", n)
		for i := range c.fields {
			c.fields[i][1] = strings.ReplaceAll(c.fields[i][1], "PATH", path)
		}
		s.overHTTP2(t, c.fields)
		for range 2 {
			if r := s.raw(t, strings.ReplaceAll(victim, "PATH", path)); r.StatusCode != 200 || tells(r, "evil") || !strings.Contains(r.Text, " of a.test\n") {
				t.Errorf("%s: the victim gets %d %q", c.name, r.StatusCode, r.Text)
			}
		}
	}
}

// overHTTP2 sends one GET whose fields are given as they stand, and waits until
// the server has answered it in some way: with a status, a reset, or a goodbye,
// for which the status is empty.
func (s *sites) overHTTP2(t *testing.T, fields [][2]string) (status string) {
	t.Helper()
	conn := rawTo(t, s.address)
	conn.send("%s", "PRI * HTTP/2.0\n\nSM\n\n")
	framer := http2.NewFramer(conn, conn.in)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range append([][2]string{{":method", "GET"}}, fields...) {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			t.Fatal(err)
		}
	}
	err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status // the server hung up, which is an answer
		}
		switch got := frame.(type) {
		case *http2.SettingsFrame:
			if !got.IsAck() {
				_ = framer.WriteSettingsAck() // the next read meets the error too
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status
		case *http2.DataFrame:
			if got.StreamEnded() {
				return status
			}
		case *http2.MetaHeadersFrame:
			if status = got.PseudoValue("status"); got.StreamEnded() {
				return status
			}
		}
	}
}

// A response that injects fields by a line end in what it echoes is the
// origin's mistake; it stays with the URL that caused it.
func TestResponseSplittingStaysWithItsURL(t *testing.T) {
	address, _ := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		raw(conn, "HTTP/1.1 301 Moved Permanently\nLocation: https://a.test"+r.URL.Path+"\nContent-Length: 0\n\n") // decoded, alas
	})
	s := startSites(t, "", staticPool(address), "http://:PORT "+indented(wholeSite))
	s.raw(t, "GET /go%0d%0aX-Injected:%20evil HTTP/1.1\nHost: a.test\n\n")
	s.raw(t, "GET /go%0d%0a%0d%0a%3Cevil%3E HTTP/1.1\nHost: a.test\n\n")
	for range 2 {
		if r := s.raw(t, "GET /go HTTP/1.1\nHost: a.test\n\n"); r.StatusCode != 301 || tells(r, "evil") || r.Header.Get("Location") != "https://a.test/go" {
			t.Errorf("the victim gets %d %v %q", r.StatusCode, r.Header, r.Text)
		}
	}
}
