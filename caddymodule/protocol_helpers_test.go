package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wholeSite has the three handlers in a row. Lifetimes are the origin's, or the
// sixty seconds that pages have where it says nothing.
const wholeSite = `
edge_rules {
	private /private/*
	page /* {
		tag pages
		stale none
	}
}
edge_cache
edge_proxy app
`

// rawOrigin answers each request by a script, which may write what it likes on
// the connection, or close it. Checks of its health are answered for it.
func rawOrigin(t *testing.T, script func(conn net.Conn, r *http.Request)) (address string, fetches *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fetches = new(atomic.Int64)
	var mu sync.Mutex
	var conns []net.Conn
	var all sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		for in := bufio.NewReader(conn); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if r.URL.Path == "/healthz" {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") // a check that left fails by itself
				continue
			}
			fetches.Add(1)
			script(conn, r)
			_, _ = io.Copy(io.Discard, r.Body) // what the script left; the next read meets the error too
		}
	}
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the accepting
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close() // most are closed already
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().String(), fetches
}

// raw writes a response as it stands, line ends given as \n.
func raw(conn net.Conn, text string) {
	_, _ = io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")) // a reader that left is what the test sees
}

// rawClient is a connection to the gateway on which a test writes what it likes.
type rawClient struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (e *edge) rawClient() *rawClient {
	e.t.Helper()
	return rawTo(e.t, strings.TrimPrefix(e.URL, "http://"))
}

func rawTo(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the test may have closed it
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{t: t, Conn: conn, in: bufio.NewReader(conn)}
}

// send writes a request as it stands, line ends given as \n.
func (c *rawClient) send(format string, args ...any) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

// line reads one line without its end.
func (c *rawClient) line() string {
	c.t.Helper()
	text, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("after %q: %v", text, err)
	}
	return strings.TrimRight(text, "\r\n")
}

// head reads a status line and the header after it.
func (c *rawClient) head() (status string, header string) {
	c.t.Helper()
	status = c.line()
	for {
		one := c.line()
		if one == "" {
			return status, header
		}
		header += one + "\n"
	}
}

// answer reads one response to a request of the method, with its body.
func (c *rawClient) answer(method string) response {
	c.t.Helper()
	got, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response{got, string(body)}
}

// read reads an answer to its end.
func read(got *http.Response, err error) (response, error) {
	if err != nil {
		return response{}, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return response{got, string(text)}, err
}

// patterned is a body whose every part differs from every other.
func patterned(size int) string {
	var b strings.Builder
	for n := 0; b.Len() < size; n++ {
		fmt.Fprintf(&b, "%08x\n", n)
	}
	return b.String()[:size]
}

// same compares bodies without printing them.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	t.Errorf("%s: %d bytes: want %d; they differ from byte %d on", what, len(got), len(want), at)
}

func (r response) hit() bool    { return strings.HasPrefix(r.cacheStatus(), "edge; hit") }
func (r response) stored() bool { return strings.Contains(r.cacheStatus(), "; stored") }
