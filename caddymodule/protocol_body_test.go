package caddymodule

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// echoed tells what the origin saw of a request, and gives its body back.
func echoed(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Method", r.Method)
	w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
	w.Header().Set("X-Coding", strings.Join(r.TransferEncoding, ","))
	_, _ = w.Write(body) // a reader that left is what the test sees
}

func TestRequestBodiesReachTheOriginWhole(t *testing.T) {
	address, _ := counting(t, echoed)
	e := startEdge(t, staticPool(address), wholeSite)
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		for _, size := range []int{0, 1, 1 << 20} {
			for _, chunked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s of %d bytes, chunked %t", method, size, chunked), func(t *testing.T) {
					want := patterned(size)
					length, coding := fmt.Sprint(size), ""
					body := io.Reader(bytes.NewReader([]byte(want)))
					if chunked {
						body = io.NopCloser(body) // of unknown length
						length, coding = "-1", "chunked"
						if size == 0 && method == "DELETE" {
							// net/http looks for a first byte of such bodies and finds none.
							length, coding = "0", ""
						}
					}
					r := e.do(method, "/echo", body)
					same(t, "echo", r.Text, want)
					if got := r.Header.Get("X-Method"); got != method {
						t.Errorf("the origin saw %s", got)
					}
					if got := r.Header.Get("X-Length"); got != length {
						t.Errorf("the origin saw Content-Length %s: want %s", got, length)
					}
					if got := r.Header.Get("X-Coding"); got != coding {
						t.Errorf("the origin saw Transfer-Encoding %q: want %q", got, coding)
					}
					if got := r.cacheStatus(); got != "edge; fwd=method; detail=method" {
						t.Errorf("Cache-Status %q", got)
					}
				})
			}
		}
	}
}

// RFC 9110, 10.1.1: the client waits for 100 before it sends the body, and may
// be spared sending it.
func TestExpectContinue(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		echoed(w, r)
	})
	e := startEdge(t, staticPool(address), wholeSite)

	c := e.rawClient()
	c.send("POST /taken HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\nExpect: 100-continue\n\n")
	if status, _ := c.head(); status != "HTTP/1.1 100 Continue" {
		t.Fatalf("%q: want 100", status)
	}
	c.send("hello")
	if r := c.answer("POST"); r.StatusCode != 200 || r.Text != "hello" {
		t.Errorf("%d %q: want the echo", r.StatusCode, r.Text)
	}

	// An origin that wants no body: Caddy's server reads it first, so the
	// client that does not wait for ever is the one to test.
	c = e.rawClient()
	c.send("POST /refused HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\nExpect: 100-continue\n\nhello")
	if status, _ := c.head(); status != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("%q: want the refusal", status)
	}
}

// An origin that goes on reading before it says 100 has the client told once: edge
// does not wait for it for more than a second.
func TestALateContinueIsToldOnce(t *testing.T) {
	address, _ := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		raw(conn, fmt.Sprintf("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: %d\n\n%s", len(body), body))
	})
	e := startEdge(t, staticPool(address), wholeSite)
	c := e.rawClient()
	c.send("POST /taken HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\nExpect: 100-continue\n\nhello")
	if status, _ := c.head(); status != "HTTP/1.1 100 Continue" {
		t.Fatalf("%q: want 100", status)
	}
	if r := c.answer("POST"); r.StatusCode != 200 || r.Text != "hello" {
		t.Errorf("%d %q: want the echo", r.StatusCode, r.Text)
	}
}

// However an origin delimits a body, the visitor gets the same: on a first and
// on later requests, stored and unstorable.
func TestResponseFramings(t *testing.T) {
	const body = "hello, world"
	framings := map[string]struct {
		head, body string
		status     int
		text       string
	}{
		"Content-Length":     {"HTTP/1.1 200 OK\nContent-Length: 12\n", body, 200, body},
		"chunked":            {"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n", "5\nhello\n7\n, world\n0\n\n", 200, body},
		"empty":              {"HTTP/1.1 200 OK\nContent-Length: 0\n", "", 200, ""},
		"chunked and empty":  {"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n", "0\n\n", 200, ""},
		"until the close":    {"HTTP/1.1 200 OK\nConnection: close\n", body, 200, body},
		"of HTTP/1.0":        {"HTTP/1.0 200 OK\n", body, 200, body},
		"204":                {"HTTP/1.1 204 No Content\n", "", 204, ""},
		"404 with a body":    {"HTTP/1.1 404 Not Found\nContent-Length: 12\n", body, 404, body},
		"a status of no RFC": {"HTTP/1.1 299 Whatever\nContent-Length: 12\n", body, 299, body},
	}
	for name, f := range framings {
		for _, control := range []string{"max-age=60", "no-store"} {
			t.Run(name+", "+control, func(t *testing.T) {
				address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
					raw(conn, f.head+"Cache-Control: "+control+"\nX-Kept: as it was\n\n"+f.body)
					if strings.Contains(f.head, "close") || strings.Contains(f.head, "HTTP/1.0") {
						_ = conn.Close() // the end of the body
					}
				})
				e := startEdge(t, staticPool(address), wholeSite)
				stores := control != "no-store"
				for n := range 3 {
					r := e.get("/page")
					if r.StatusCode != f.status || r.Text != f.text {
						t.Errorf("request %d: %d %q: want %d %q", n, r.StatusCode, r.Text, f.status, f.text)
					}
					if r.hit() != (stores && n > 0) {
						t.Errorf("request %d: Cache-Status %q", n, r.cacheStatus())
					}
					if got := r.Header.Get("X-Kept"); got != "as it was" {
						t.Errorf("request %d: X-Kept %q", n, got)
					}
					if stores && n > 0 && f.status != 204 && r.ContentLength != int64(len(f.text)) {
						t.Errorf("request %d: Content-Length %d: the cache knows that it is %d", n, r.ContentLength, len(f.text))
					}
					if f.status == 204 && r.Header.Get("Content-Length") != "" {
						t.Errorf("request %d: a 204 with a Content-Length (RFC 9110, 8.6)", n)
					}
				}
				if want := map[bool]int64{true: 1, false: 3}[stores]; fetches.Load() != want {
					t.Errorf("%d fetches: want %d", fetches.Load(), want)
				}
			})
		}
	}
}

// RFC 9110, 9.3.2: HEAD gets the header that GET would, and no body, be it
// passed on or answered from a stored GET.
func TestHead(t *testing.T) {
	address, fetches := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 12\nCache-Control: max-age=60\nETag: \"a\"\n\n")
		if r.Method != http.MethodHead {
			raw(conn, "hello, world")
		}
	})
	e := startEdge(t, staticPool(address), wholeSite)
	c := e.rawClient()
	ask := func(want string) {
		t.Helper()
		c.send("HEAD /page HTTP/1.1\nHost: %s\n\n", strings.TrimPrefix(e.URL, "http://"))
		r := c.answer("HEAD")
		if r.StatusCode != 200 || r.ContentLength != 12 || r.Header.Get("Etag") != `"a"` {
			t.Errorf("%d, Content-Length %d, ETag %q", r.StatusCode, r.ContentLength, r.Header.Get("Etag"))
		}
		if !strings.HasPrefix(r.cacheStatus(), want) {
			t.Errorf("Cache-Status %q: want %s", r.cacheStatus(), want)
		}
	}
	ask("edge; fwd=uri-miss; detail=head")
	e.get("/page")
	asked := fetches.Load()
	ask("edge; hit")
	ask("edge; hit") // on the same connection: nothing of a body came in between
	if n := fetches.Load() - asked; n != 0 {
		t.Errorf("%d fetches for what was stored", n)
	}
}
