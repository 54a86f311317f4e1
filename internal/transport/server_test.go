package transport

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// server answers each request on a raw connection by a script.
type server struct {
	address string
	script  func(c net.Conn, r *http.Request) (keep bool)

	mu    sync.Mutex
	conns int
	asked []string // METHOD PATH, in the order in which they came
}

func serve(t testing.TB, script func(c net.Conn, r *http.Request) bool) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: l.Addr().String(), script: script}
	var work sync.WaitGroup
	var open sync.Map
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Store(c, nil)
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			work.Go(func() {
				defer c.Close()
				s.attend(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		open.Range(func(c, _ any) bool { _ = c.(net.Conn).Close(); return true })
		work.Wait()
	})
	return s
}

func (s *server) attend(c net.Conn) {
	reader := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		if !s.script(c, r) {
			return
		}
	}
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

// says is a script that gives every request the same answer.
func says(answer string) func(net.Conn, *http.Request) bool {
	return func(c net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(c, answer)
		return err == nil
	}
}

func (s *server) transport(t testing.TB, o Options) *Transport {
	o.Dial = func(ctx context.Context) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
		if err != nil {
			return nil, &DialError{err}
		}
		return c, nil
	}
	tr := New(o)
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func request(t testing.TB, method, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://replica.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fetch reads the whole answer.
func fetch(t testing.TB, tr *Transport, r *http.Request) (*http.Response, string, error) {
	t.Helper()
	if !Takes(r) {
		t.Fatalf("%s %s is not taken", r.Method, r.URL)
	}
	resp, err := tr.RoundTrip(r, nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

func want(t testing.TB, tr *Transport, r *http.Request, status int, body string) {
	t.Helper()
	resp, got, err := fetch(t, tr, r)
	if err != nil || resp.StatusCode != status || got != body {
		t.Fatalf("%s %s: %v %q %v; want %d %q", r.Method, r.URL.Path, resp, got, err, status, body)
	}
}

// eventually polls for what another goroutine brings about.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
