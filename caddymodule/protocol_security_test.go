package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// Requests that two parsers may read in two ways are refused before they reach
// the cache or a replica (RFC 9112, 11.2).
func TestSmugglingShapesAreRefused(t *testing.T) {
	shapes := map[string]string{
		"two lengths":                    "POST /page HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 4\nContent-Length: 5\n\nabcde",
		"two lengths in one line":        "POST /page HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 4, 5\n\nabcde",
		"a negative length":              "POST /page HTTP/1.1\nHost: 127.0.0.1\nContent-Length: -1\n\n",
		"a length with a sign":           "POST /page HTTP/1.1\nHost: 127.0.0.1\nContent-Length: +5\n\nabcde",
		"an unknown transfer coding":     "POST /page HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: xchunked\n\n0\n\n",
		"two transfer codings":           "POST /page HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding: chunked\nTransfer-Encoding: identity\n\n0\n\n",
		"a space before the colon":       "POST /page HTTP/1.1\nHost: 127.0.0.1\nTransfer-Encoding : chunked\n\n0\n\n",
		"a folded first field":           "GET /page HTTP/1.1\n Host: 127.0.0.1\n\n",
		"a bare CR in a value":           "GET /page HTTP/1.1\nHost: 127.0.0.1\nX-One: a\rX-Two: b\n\n",
		"a NUL in a value":               "GET /page HTTP/1.1\nHost: 127.0.0.1\nX-One: a\x00b\n\n",
		"a space in a name":              "GET /page HTTP/1.1\nHost: 127.0.0.1\nX One: a\n\n",
		"no host":                        "GET /page HTTP/1.1\n\n",
		"two hosts":                      "GET /page HTTP/1.1\nHost: 127.0.0.1\nHost: evil.test\n\n",
		"a host that is none":            "GET /page HTTP/1.1\nHost: 127.0.0.1/evil\n\n",
		"a control character in the URL": "GET /pa\x01ge HTTP/1.1\nHost: 127.0.0.1\n\n",
		"a space in the URL":             "GET /pa ge HTTP/1.1\nHost: 127.0.0.1\n\n",
		"a version that is none":         "GET /page HTTP/9.9\nHost: 127.0.0.1\n\n",
	}
	address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 4\nCache-Control: max-age=60\n\npage")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			c := e.rawClient()
			c.send("%s", shape)
			r, err := http.ReadResponse(c.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode < 400 || r.StatusCode > 505 {
				t.Errorf("%d: want a refusal", r.StatusCode)
			}
		})
	}
	if n := fetches.Load(); n != 0 {
		t.Errorf("%d of them reached the replica", n)
	}
	if r := e.get("/page"); r.Text != "page" || !r.stored() {
		t.Errorf("then %q, Cache-Status %q: want the page as if nothing had been", r.Text, r.cacheStatus())
	}
}

// RFC 9112, 6.1, permits to go by Transfer-Encoding alone when both are sent,
// and 2.2 to read a bare LF as a line end. Go's server does; what matters is
// that the replica is told one thing only, and nothing is left over for the
// next request.
func TestWhatIsReadLenientlyIsSentStrictly(t *testing.T) {
	heads := make(chan string, 10)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // ends the accepting
	serve := func(conn net.Conn) {
		defer conn.Close()
		var told strings.Builder
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &told)))
		if err != nil {
			return
		}
		// To its end: closing before would reset the connection under the answer.
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if r.URL.Path != "/healthz" {
			heads <- told.String()
		}
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\nCache-Control: max-age=60\n\nok")
	}
	go func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			go serve(conn)
		}
	}()
	e := startEdge(t, staticPool(l.Addr().String()), wholeSite)

	c := e.rawClient()
	c.send("POST /both HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 50\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n")
	if r := c.answer("POST"); r.StatusCode != 200 {
		t.Errorf("both framings: %d", r.StatusCode)
	} else {
		head := <-heads
		if strings.Contains(head, "Content-Length") || !strings.Contains(head, "Transfer-Encoding: chunked") {
			t.Errorf("the replica was told %q: want one framing", head)
		}
	}
	c = e.rawClient()
	if _, err := io.WriteString(c, "GET /bare HTTP/1.1\nHost: 127.0.0.1\nX-One: 1\n\n"); err != nil {
		t.Fatal(err)
	}
	if r := c.answer("GET"); r.StatusCode != 200 {
		t.Errorf("bare LF: %d", r.StatusCode)
	} else if head := <-heads; strings.Count(head, "\n") != strings.Count(head, "\r\n") || !strings.Contains(head, "X-One: 1\r\n") {
		t.Errorf("the replica was told %q: want CRLF", head)
	}
}

// A target is one key and one request: what the cache tells apart the origin
// sees apart, byte for byte, and nothing is resolved on the way.
func TestTargetsReachTheOriginAsTheyStandInTheKey(t *testing.T) {
	targets := []string{
		"/a/b", "/a//b", "//a/b", "/a/./b", "/a/../a/b", "/a%2Fb", "/a%2fb", "/a;x=1/b", "/a/b;x=1", "/a/b?", "/a/b??", "/a/b?x=1;y=2",
		"/a/b?x=1&y=2", "/a/b?y=2&x=1", "/A/b", "/a/%62", "/a/b/", "/a/b%00", "/a/b%0d%0aX-One:%201", "/a/%2e%2e/b", `/a\b`, "/a/b%3Fx=1", "/a/b%23x", "/a/b?x=%zz", "/ä",
	}
	seen := make(chan string, len(targets)+1)
	address, fetches := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		seen <- r.RequestURI
		raw(conn, fmt.Sprintf("HTTP/1.1 200 OK\nContent-Length: %d\nCache-Control: max-age=60\n\n%s", len(r.RequestURI), r.RequestURI))
	})
	e := startEdge(t, staticPool(address), wholeSite)
	ask := func(target string) response {
		c := e.rawClient()
		c.send("GET %s HTTP/1.1\nHost: 127.0.0.1\n\n", target)
		return c.answer("GET")
	}
	told := make(map[string]string)
	for _, target := range targets {
		first := ask(target)
		if first.StatusCode != 200 {
			t.Errorf("%s: %d", target, first.StatusCode)
			continue
		}
		got := <-seen
		if before, twice := told[got]; twice {
			t.Errorf("%s and %s: the origin sees %s for both, which are two keys", before, target, got)
		}
		told[got] = target
		if got != target && target != "/ä" && target != `/a\b` { // which are no URLs: the origin gets them encoded
			t.Errorf("%s: the origin sees %s", target, got)
		}
		if again := ask(target); !again.hit() || again.Text != first.Text {
			t.Errorf("%s: then %q, Cache-Status %q: want a hit", target, again.Text, again.cacheStatus())
		}
	}
	if n := fetches.Load(); n != int64(len(told)) {
		t.Errorf("%d fetches for %d targets", n, len(told))
	}
}

// Rules go by every reading of a path: what a server behind us might resolve to
// something private is private.
func TestPrivatePathsInDisguise(t *testing.T) {
	address, _ := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nContent-Length: 6\n\nsecret")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for _, target := range []string{
		"/private/x", "/PRIVATE/x", "//private/x", "/a/../private/x", "/a/..%2Fprivate/x", "/a%2f..%2fprivate/x", "/%70rivate/x", "/./private/x", "/private/../private/x", "/private//x", "/private;a=1/x", "/private;/x;b.css",
	} {
		c := e.rawClient()
		c.send("GET %s HTTP/1.1\nHost: 127.0.0.1\n\n", target)
		if r := c.answer("GET"); r.stored() || !strings.Contains(r.Header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: Cache-Status %q, Cache-Control %q", target, r.cacheStatus(), r.Header.Get("Cache-Control"))
		}
	}
}
