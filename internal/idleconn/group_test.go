package idleconn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// queue is a listener of which a test fills the queue.
type queue struct {
	net.Listener
	group Group
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return q.group.Add(conn), nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// world is a server that others take the place of, one after another.
type world struct {
	t        *testing.T
	listener net.Listener
	queue    *queue
	server   *http.Server
	served   int
	// begun and release are of requests for /slow.
	begun, release chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	w := &world{t: t, listener: l, begun: make(chan struct{}), release: make(chan struct{})}
	w.next()
	t.Cleanup(func() { _ = w.server.Close() })
	return w
}

// next is another server, which gets no connection yet.
func (w *world) next() {
	w.served++
	name := fmt.Sprint("server ", w.served)
	w.queue = &queue{Listener: w.listener, conns: make(chan net.Conn), done: make(chan struct{})}
	w.server = &http.Server{
		Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				// The client has the header before the server is replaced.
				_ = http.NewResponseController(out).Flush()
				w.begun <- struct{}{}
				<-w.release
			}
			_, _ = io.Copy(io.Discard, r.Body) // the test tells
			fmt.Fprint(out, name)
		}),
		ConnState: func(nc net.Conn, state http.ConnState) { nc.(*Conn).StateChanged(state, true) },
	}
	go func(s *http.Server, q *queue) { _ = s.Serve(q) }(w.server, w.queue)
}

// replace puts another server in this one's place, and shuts this one down when the
// connections have left.
func (w *world) replace() (shutDown func()) {
	before, leaving := w.server, w.queue
	w.next()
	to := w.queue.conns
	leaving.group.Leave(w.t.Context(), func(conn *Moved) { to <- conn })
	for leaving.group.Busy() {
		select {
		case <-time.After(time.Millisecond):
		case <-w.t.Context().Done():
			w.t.Fatal("busy for ever")
		}
	}
	return func() {
		w.t.Helper()
		if err := before.Shutdown(w.t.Context()); err != nil {
			w.t.Error(err)
		}
	}
}

// client is a connection to the world.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) connect() *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	accepted, err := w.listener.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	w.queue.conns <- accepted
	return &client{w.t, conn, bufio.NewReader(conn)}
}

func (c *client) send(request string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, strings.ReplaceAll(request, "\n", "\r\n")); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) gets(want ...string) {
	c.t.Helper()
	got, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("want %q: %v", want, err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil || !slices.Contains(want, string(text)) {
		c.t.Errorf("%q, %v: want %q", text, err, want)
	}
}

const (
	get  = "GET / HTTP/1.1\nHost: a\n\n"
	slow = "GET /slow HTTP/1.1\nHost: a\n\n"
	post = "POST / HTTP/1.1\nHost: a\nContent-Length: 4\n\nform"
)

func TestConnectionsThatWaitLeave(t *testing.T) {
	w := newWorld(t)
	silent, used, posted := w.connect(), w.connect(), w.connect()
	used.send(get)
	used.gets("server 1")
	posted.send(post)
	posted.gets("server 1")
	for _, want := range []string{"server 2", "server 3"} {
		w.replace()()
		for _, c := range []*client{used, posted} {
			c.send(post)
			c.gets(want)
			c.send(get)
			c.gets(want)
		}
	}
	silent.send(get)
	silent.gets("server 3")
}

// An answer that is under way when its server is replaced is finished by it, and the
// connection leaves then, also when the server has been told to shut down.
func TestAConnectionLeavesAfterItsAnswer(t *testing.T) {
	for _, late := range []bool{false, true} {
		w := newWorld(t)
		c := w.connect()
		c.send(slow)
		<-w.begun
		shutDown := w.replace()
		ended := make(chan struct{})
		if late {
			close(ended)
			w.release <- struct{}{}
		} else {
			before := make(chan struct{})
			go func() {
				defer close(ended)
				close(before)
				shutDown()
			}()
			<-before
			w.release <- struct{}{}
		}
		c.gets("server 1")
		<-ended
		c.send(post)
		c.gets("server 1", "server 2") // it may have come before the answer was finished
		if late {
			shutDown()
		}
		c.send(get)
		c.gets("server 2")
	}
}

// What net/http may have read already stays with it, or nobody would answer it.
func TestPipelinedRequestsStay(t *testing.T) {
	w := newWorld(t)
	c := w.connect()
	c.send(slow + get + get)
	<-w.begun
	shutDown := w.replace()
	w.release <- struct{}{}
	for range 3 {
		c.gets("server 1")
	}
	c.send(get)
	c.gets("server 1", "server 2") // it may have come before the last answer was finished
	shutDown()
}

func TestHTTP2AndHijackedConnectionsStay(t *testing.T) {
	g := new(Group)
	for _, c := range []struct {
		first string
		then  http.ConnState
	}{{"PRI * HTTP/2.0\n\nSM\n\n", http.StateIdle}, {get, http.StateHijacked}} {
		w := newWorld(t)
		client := w.connectTo(g)
		client.send(c.first)
		conn := g.first
		if n, err := conn.Read(make([]byte, ReaderSize)); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		conn.StateChanged(c.then, true)
		if conn.SetReadDeadline(time.Time{}) != nil || conn.Leaving() {
			t.Fatal("the group has not left")
		}
		g.Leave(t.Context(), func(*Moved) { t.Error("it left") })
		client.send("more")
		if n, err := conn.Read(make([]byte, ReaderSize)); n != len("more") || err != nil {
			t.Errorf("%d, %v: want what the client sends", n, err)
		}
		if err := conn.Close(); err != nil || g.first != nil {
			t.Errorf("%v: want it closed, and out of the group", err)
		}
		g = new(Group)
	}
}

// connectTo is a connection that no server has.
func (w *world) connectTo(g *Group) *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	accepted, err := w.listener.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	if g.Idle > 0 { // or it would not matter
		accepted = &Moved{TCPConn: accepted.(*net.TCPConn)}
	}
	g.Add(accepted).(*Conn).StateChanged(http.StateNew, true)
	return &client{w.t, conn, bufio.NewReader(conn)}
}

// net/http allows a connection that has moved no more time for its next request than
// for a header: that begins with the first byte.
func TestAConnectionThatHasMovedMayWait(t *testing.T) {
	w := newWorld(t)
	read := func(c *Conn) (string, error) {
		b := make([]byte, ReaderSize)
		n, err := c.Read(b)
		return string(b[:n]), err
	}
	patient, impatient := &Group{Idle: time.Hour}, &Group{Idle: time.Nanosecond}
	waits := w.connectTo(patient)
	moved := patient.first
	if err := moved.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	waits.send("GET / H")
	if text, err := read(moved); err != nil || text != "GET / H" {
		t.Errorf("%q, %v: want what the client sends", text, err)
	}
	waits.send("TTP/1.1\n")
	if text, err := read(moved); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v: want that the time for a header is over", text, err)
	}
	if err := moved.SetReadDeadline(time.Time{}); err != nil { // net/http's own, from now on
		t.Fatal(err)
	}
	if text, err := read(moved); err != nil || text != "TTP/1.1\r\n" {
		t.Errorf("%q, %v: want what the client sends", text, err)
	}
	w.connectTo(impatient)
	if err := impatient.first.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if text, err := read(impatient.first); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v: want that it has waited too long", text, err)
	}
}
