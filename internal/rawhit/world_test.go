package rawhit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// cached is an answer that the test's handler has: for each path under /hit/
// one, whose body depends on the path and on how often everything changed.
type cached struct {
	world  *world
	path   string
	change int64
}

func (a cached) Begin(time.Time) (Reply, bool) {
	if a.world.changes.Load() != a.change {
		return Reply{}, false
	}
	a.world.running.Add(1)
	age, ttl := a.world.shown()
	return Reply{Age: age, TTL: ttl, Body: [][]byte{a.world.body(a.path)}, Exchange: a}, true
}

func (a cached) End() { a.world.running.Add(-1) }

// world is a server, with a table or without one.
type world struct {
	t       testing.TB
	address string
	secure  *tls.Config // of clients; nil without TLS
	table   *Table
	server  *http.Server

	changes atomic.Int64
	age     atomic.Int64
	running atomic.Int64
	counted atomic.Int64
	trusted atomic.Bool
	told    atomic.Int64 // requests of which Chosen said that they were
	choose  atomic.Bool
	idle    atomic.Int64 // in nanoseconds
	log     func(Record) // nil for nobody
}

const lifetime = 3600

// newWorld starts a server; raw says whether it has a table.
func newWorld(t testing.TB, raw bool) *world { return startWorld(t, raw, nil) }

// newSecureWorld starts one with TLS.
func newSecureWorld(t testing.TB, raw bool) *world {
	return startWorld(t, raw, &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}, NextProtos: []string{"h2", "http/1.1"}})
}

func startWorld(t testing.TB, raw bool, secure *tls.Config) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, address: l.Addr().String()}
	if secure != nil {
		// The certificate was made for this test.
		w.secure = &tls.Config{InsecureSkipVerify: true, ServerName: "example.com"}
		l = tls.NewListener(l, secure)
	}
	w.server = &http.Server{Handler: w, ErrorLog: log.New(io.Discard, "", 0), IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute}
	//lint:ignore SA1019 As Caddy does it.
	if err := http2.ConfigureServer(w.server, nil); err != nil {
		t.Fatal(err)
	}
	if raw {
		minute := func() time.Duration { return time.Minute }
		w.idle.Store(int64(time.Minute))
		idle := func() time.Duration { return time.Duration(w.idle.Load()) }
		w.table = NewTable(Config{Kept: []string{"X-Real-IP"}, Choose: w.choose.Load, Idle: idle, Write: minute, Handshake: minute, HTTP2: true})
		w.server.ConnContext, w.server.ConnState = w.table.ConnContext, w.table.ConnState
		w.server.RegisterOnShutdown(w.table.Drain)
		l = w.table.Listener(l)
	}
	done := make(chan error, 1)
	go func() { done <- w.server.Serve(l) }()
	t.Cleanup(func() {
		if err := w.server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != http.ErrServerClosed {
			t.Error(err)
		}
	})
	return w
}

func (w *world) shown() (age, ttl int64) {
	age = w.age.Load()
	return age, lifetime - age
}

func (w *world) body(path string) []byte {
	size := 20
	if n, err := strconv.Atoi(path[strings.LastIndexByte(path, '/')+1:]); err == nil {
		size = n
	}
	text := fmt.Sprintf("%s after %d changes. ", path, w.changes.Load())
	return []byte(strings.Repeat(text, size/len(text)+1)[:size])
}

// ServeHTTP has hits under /hit/, and answers that say what came.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	rw.Header()["Date"] = []string{"Thu, 01 Jan 2026 00:00:00 GMT"}
	id := NewID()
	if given := r.Header["X-Request-Id"]; len(given) == 1 {
		id = given[0]
	}
	rw.Header()["X-Request-Id"] = []string{id}
	switch {
	case strings.HasPrefix(r.URL.Path, "/hit/"):
		w.hit(rw, r)
	case r.URL.Path == "/tunnel":
		w.tunnel(rw)
	case r.URL.Path == "/ignore":
		fmt.Fprintf(rw, "ignored the body of %s", r.Method)
	default:
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %s %d fields, body %q, %v", r.Method, r.RequestURI, len(r.Header), body, err)
	}
}

func (w *world) hit(rw http.ResponseWriter, r *http.Request) {
	if Chosen(r) && !Chosen(r) {
		w.told.Add(1)
	}
	age, ttl := w.shown()
	body := w.body(r.URL.Path)
	h := rw.Header()
	h.Set("Age", strconv.FormatInt(age, 10))
	h["Cache-Status"] = []string{"front; hit", fmt.Sprintf("edge; hit; ttl=%d", ttl)}
	h.Set("Content-Type", "text/plain")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.URL.Path == "/hit/cookie" {
		h.Set("Set-Cookie", "a=b")
	}
	Learn(r, func() (Hit, bool) {
		return Hit{
			Answer: cached{w, r.URL.Path, w.changes.Load()}, Age: age, TTL: ttl, Body: [][]byte{body[:len(body)/2], body[len(body)/2:]},
			Date: h.Get("Date"), Trusted: w.trusted.Load(),
			Varies: func(name string) bool { return r.URL.Path == "/hit/varies" && name == "User-Agent" },
			Count:  func(time.Duration) { w.counted.Add(1) }, Log: w.log,
		}, true
	})
	if r.URL.Path == "/hit/edited" { // a handler in front changes the body
		body = bytes.ToUpper(body)
	}
	if _, err := rw.Write(body); err != nil && r.Method != http.MethodHead {
		w.t.Logf("write: %v", err) // the client has left
	}
}

// tunnel takes the connection over and sends back what comes.
func (w *world) tunnel(rw http.ResponseWriter) {
	nc, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		w.t.Error(err)
		return
	}
	defer nc.Close()
	if _, err := io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"); err != nil {
		return
	}
	// Until the client is done; it compares what it got.
	_, _ = io.Copy(nc, buffered)
}

// client is one connection.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	nc, err := streams.Dial(w.address, w.secure)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client{t: w.t, Conn: nc}
	w.t.Cleanup(func() { _ = c.Close() }) // most have been closed
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	c.in = bufio.NewReader(c.Conn)
	return c
}

// ask sends a request and reads the answer.
func (c *client) ask(text string) (*http.Response, string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
	return c.next(http.MethodGet)
}

func (c *client) next(method string) (*http.Response, string) {
	c.t.Helper()
	got, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return got, string(body)
}

func get(path string, lines ...string) string { return streams.Get(path, lines...) }

// learned asks until the answer comes from the table: a client that is quicker
// than net/http, which looks for the client's leaving until the answer is out,
// has asked its next question in a way that has to be passed on.
func (w *world) learned(c *client, text string) {
	w.t.Helper()
	for range 200 {
		if w.replied(c, text) {
			return
		}
	}
	w.t.Fatalf("not learned: %q", text)
}

// ended waits until no exchange is running.
func (w *world) ended() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	waitFor(ctx, w.t, func() bool { return w.running.Load() == 0 })
}

// replied reports whether the next answer comes from the table.
func (w *world) replied(c *client, text string) bool {
	w.t.Helper()
	before := w.table.Replies()
	c.ask(text)
	return w.table.Replies() > before
}

// waitFor polls, without a bound of its own: the test has one.
func waitFor(ctx context.Context, t testing.TB, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not happen")
		case <-tick.C:
		}
	}
}

// logged returns what the server has logged since.
func (w *world) logged() func() string {
	var mu sync.Mutex
	var all strings.Builder
	w.server.ErrorLog.SetOutput(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return all.Write(b)
	}))
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
