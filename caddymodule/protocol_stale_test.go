package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// aged answers are stale on arrival, within the window that the rest of
// Cache-Control gives: no test has to wait.
func aged(window string) string {
	return "Age: 100\nCache-Control: max-age=60, " + window + "\n"
}

// RFC 5861, 3: the old answer at once, one refresh meanwhile, then the new one.
func TestStaleWhileRevalidate(t *testing.T) {
	release := make(chan struct{})
	var version atomic.Int64
	address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		n := version.Add(1)
		if n == 1 {
			raw(conn, "HTTP/1.1 200 OK\nContent-Length: 3\n"+aged("stale-while-revalidate=600")+"\nold")
			return
		}
		<-release
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 3\nCache-Control: max-age=60\n\nnew")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	for range 20 { // while the refresh is under way, and takes its time
		r := e.get("/page")
		if r.Text != "old" || !strings.Contains(r.cacheStatus(), "edge; hit") || !strings.Contains(r.cacheStatus(), "detail=stale-while-revalidate") {
			t.Fatalf("%q, Cache-Status %q: want the old answer", r.Text, r.cacheStatus())
		}
	}
	close(release)
	eventually(t, "the new answer", func() bool { return e.get("/page").Text == "new" })
	if r := e.get("/page"); r.Text != "new" || !r.hit() {
		t.Errorf("%q, Cache-Status %q", r.Text, r.cacheStatus())
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want 2", n)
	}
}

// RFC 5861, 4: while the origin fails, in whatever way, the stale answer stands
// in and says so.
func TestStaleIfError(t *testing.T) {
	failures := map[string]string{
		"500":         "HTTP/1.1 500 Internal Server Error\nContent-Length: 5\n\nsorry",
		"502":         "HTTP/1.1 502 Bad Gateway\nContent-Length: 5\n\nsorry",
		"503":         "HTTP/1.1 503 Service Unavailable\nContent-Length: 5\nRetry-After: 9\n\nsorry",
		"504":         "HTTP/1.1 504 Gateway Timeout\nContent-Length: 5\n\nsorry",
		"no answer":   "",
		"half a head": "HTTP/1.1 200 OK\nContent-Le",
		"no HTTP":     "220 ready\n\n",
	}
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Bool
			address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
				if !failing.Load() {
					raw(conn, "HTTP/1.1 200 OK\nContent-Length: 4\n"+aged("stale-if-error=600")+"\npage")
					return
				}
				raw(conn, failure)
				_ = conn.Close() // it may be the failure
			})
			e := startEdge(t, staticPool(address), wholeSite)
			e.get("/page")
			failing.Store(true)
			asked := fetches.Load()
			for range 2 {
				r := e.get("/page")
				if r.StatusCode != 200 || r.Text != "page" || !strings.Contains(r.cacheStatus(), "detail=stale-if-error") {
					t.Errorf("%d %q, Cache-Status %q: want the stale answer", r.StatusCode, r.Text, r.cacheStatus())
				}
			}
			if fetches.Load() == asked {
				t.Error("the origin was not asked")
			}
			if r := e.get("/other"); r.StatusCode < 500 {
				t.Errorf("%d for what was never stored", r.StatusCode)
			}
			failing.Store(false)
			eventually(t, "the origin's own answer again", func() bool {
				r := e.get("/page")
				return r.StatusCode == 200 && !strings.Contains(r.cacheStatus(), "detail")
			})
		})
	}
}

// The same when no replica is left to ask.
func TestStaleWhenThePoolIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Age", "100")
		w.Header().Set("Cache-Control", "max-age=60, stale-if-error=600")
		fmt.Fprint(w, "page")
	})}
	go func() { _ = server.Serve(l) }() // its error says that it was closed
	t.Cleanup(func() { _ = server.Close() })
	e := startEdge(t, staticPool(l.Addr().String()), wholeSite)
	e.get("/page")
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	stale := func() {
		t.Helper()
		if r := e.get("/page"); r.Text != "page" || !strings.Contains(r.cacheStatus(), "detail=stale-if-error") {
			t.Errorf("%d %q, Cache-Status %q: want the stale answer", r.StatusCode, r.Text, r.cacheStatus())
		}
	}
	stale() // at once
	eventually(t, "the pool knows", func() bool { return e.replicasUp() == 0 })
	stale()
}

// RFC 9111, 5.2.2.2: must-revalidate forbids standing in.
func TestMustRevalidateIsNeverStale(t *testing.T) {
	var failing atomic.Bool
	address, _ := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		if failing.Load() {
			raw(conn, "HTTP/1.1 500 Internal Server Error\nContent-Length: 5\n\nsorry")
			return
		}
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 4\nETag: \"a\"\n"+aged("must-revalidate, stale-if-error=600, stale-while-revalidate=600")+"\npage")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	failing.Store(true)
	if r := e.get("/page"); r.StatusCode != 500 || r.Text != "sorry" {
		t.Errorf("%d %q, Cache-Status %q", r.StatusCode, r.Text, r.cacheStatus())
	}
}

// A stale answer with a validator is confirmed with one small exchange.
func TestRevalidation(t *testing.T) {
	address, fetches := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"a"` {
			raw(conn, "HTTP/1.1 304 Not Modified\nETag: \"a\"\nCache-Control: max-age=60\nX-New: yes\n\n")
			return
		}
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 4\nETag: \"a\"\nAge: 100\nCache-Control: max-age=60\n\npage")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/page")
	r := e.get("/page", "If-None-Match", `"mine"`)
	if r.StatusCode != 200 || r.Text != "page" || !strings.Contains(r.cacheStatus(), "fwd=stale; fwd-status=304") || r.Header.Get("X-New") != "yes" {
		t.Errorf("%d %q, %v", r.StatusCode, r.Text, r.Header)
	}
	if r := e.get("/page"); !r.hit() || r.Text != "page" || r.Header.Get("X-New") != "yes" {
		t.Errorf("%q, %v: want a hit", r.Text, r.Header)
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want 2", n)
	}
}
