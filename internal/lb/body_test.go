package lb

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// half answers with half of a body, and then nothing.
func half(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "8")
	_, _ = io.WriteString(w, "half")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// stalled asks a replica that stops in the middle of the body, and returns when
// that has been found out.
func stalled(t *testing.T, p *Pool) {
	t.Helper()
	resp, err := p.RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if string(text) != "half" || !errors.Is(err, errStalled) {
		t.Fatalf("read %q, %v: want half, and that it stalled", text, err)
	}
}

func TestAReplicaThatStallsInTheBodyFails(t *testing.T) {
	a := newApp(t, half)
	c := testConfig(a)
	c.Transport.BodyTimeout = ms(20)
	c.Breaker.Consecutive = 3
	p, seen := upPool(t, c, a)
	for range 3 {
		stalled(t, p)
	}
	seen.await(t, BreakerOpened, a.address)
	if r, _ := replicaOf(p, a.address); r.Failures != 3 {
		t.Errorf("%d failures: want 3", r.Failures)
	}
	noneInFlight(t, p)
}

func TestAStallingReplicaIsEjected(t *testing.T) {
	a, b, c3 := newApp(t, half), newApp(t, say("b")), newApp(t, say("c"))
	c := testConfig(a, b, c3)
	c.Transport.BodyTimeout = ms(50)
	p, seen := upPool(t, c, a, b, c3)
	for range 30 {
		resp, err := p.RoundTrip(get(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
	event := seen.await(t, ReplicaEjected, a.address)
	if !strings.Contains(event.Why, "gateway failures in a row") {
		t.Errorf("why %q: want failures in a row", event.Why)
	}
}

// TestWhoMayBeSilent: what outlasts a stall, and another, was not cut for its
// silence.
func TestWhoMayBeSilent(t *testing.T) {
	late := make(chan struct{})
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			<-late
			_, _ = io.WriteString(w, "data: 2\n\n")
		case "/live":
			echo(w, r)
		case "/large": // More than the connection holds: it waits for the client.
			_, _ = w.Write(make([]byte, 64<<20))
		default:
			half(w, r)
		}
	})
	c := testConfig(a)
	c.Transport.BodyTimeout = ms(500)
	c.Breaker.Consecutive, c.Eject.Off = -1, true
	p, _ := upPool(t, c, a)
	ask := func(path string) *http.Response {
		req := get(t)
		req.URL.Path = path
		return must(p.RoundTrip(req))
	}
	events, large := ask("/events"), ask("/large")
	defer events.Body.Close()
	defer large.Body.Close()
	lines := bufio.NewReader(events.Body)
	if line, err := lines.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	if _, err := io.ReadFull(large.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	conn, in := dialWebSocket(t, proxyOf(t, p))
	for range 2 {
		stalled(t, p)
	}
	close(late)
	if rest, err := io.ReadAll(lines); !strings.Contains(string(rest), "data: 2\n") {
		t.Errorf("the event stream went on with %q, %v", rest, err)
	}
	if n, err := io.Copy(io.Discard, large.Body); n != 64<<20-1000 || err != nil {
		t.Errorf("a slow client read %d bytes more, %v", n, err)
	}
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "still\n")
	if line, err := in.ReadString('\n'); line != "echo still\n" {
		t.Errorf("the WebSocket said %q, %v", line, err)
	}
}
