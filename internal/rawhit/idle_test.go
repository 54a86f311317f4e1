package rawhit

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/idleconn"
)

// script is a client that sends one text after another, each as soon as the
// server waits for it.
type script struct {
	net.Conn
	texts []string
	waits func()
	got   bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	s.waits()
	if len(s.texts) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.texts[0])
	if s.texts[0] = s.texts[0][n:]; s.texts[0] == "" {
		s.texts = s.texts[1:]
	}
	return n, nil
}

func (s *script) Write(b []byte) (int, error) { return s.got.Write(b) }

func (s *script) SetReadDeadline(time.Time) error { return nil }

func (s *script) SetWriteDeadline(time.Time) error { return nil }

// next is what net/http does when it has written an answer to a GET.
func next(c *conn, p []byte) (int, error) {
	c.isGet = true
	c.becomesIdle()
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return 0, err
	}
	return c.Read(p)
}

func TestAConnectionThatWaitsForARequestHoldsNoMemoryOfThoseBefore(t *testing.T) {
	w := newWorld(t, true)
	w.learned(w.dial(), get("/hit/16000"))
	unknown := get("/hit/b", "User-Agent: "+strings.Repeat("a", 1000))
	s := &script{texts: []string{get("/hit/16000"), get("/hit/16000"), unknown}}
	c := &conn{Conn: s, table: w.table, known: true}
	waits, held := 0, 0
	s.waits = func() {
		waits++
		if c.work != nil {
			held++
		}
	}
	p := make([]byte, idleconn.ReaderSize)
	n, err := next(c, p)
	if err != nil || string(p[:n]) != unknown {
		t.Fatalf("%q, %v: want what was not learned", p[:n], err)
	}
	if c.work == nil || string(c.work.block) != unknown {
		t.Error("the request that is served is not kept")
	}
	if _, err := next(c, p); err != io.EOF {
		t.Errorf("%v: want the end", err)
	}
	if waits != 4 || held != 0 {
		t.Errorf("memory was held in %d of %d waits: want 0 of 4", held, waits)
	}
	in := bufio.NewReader(&s.got)
	for i := range 2 {
		got, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(got.Body)
		if want := w.body("/hit/16000"); err != nil || !bytes.Equal(body, want) {
			t.Errorf("answer %d: %d bytes, %v: want %d", i, len(body), err, len(want))
		}
	}
}

// repeated is a client that asks the same for ever.
type repeated struct {
	script
	text string
	left int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left--; r.left < 0 {
		return 0, io.EOF
	}
	return copy(p, r.text), nil
}

func (r *repeated) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkReply(b *testing.B) {
	w := newWorld(b, true)
	text := get("/hit/1000", "User-Agent: another", "Accept: */*")
	w.learned(w.dial(), text)
	c := &conn{Conn: &repeated{text: text, left: b.N}, table: w.table, known: true}
	p := make([]byte, idleconn.ReaderSize)
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := next(c, p); err != io.EOF {
		b.Errorf("%v: want the end", err)
	}
}
