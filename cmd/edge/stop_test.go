package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// echoSocket is a WebSocket that says what it is told.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer socket.CloseNow()
	for {
		kind, text, err := socket.Read(context.Background())
		if err != nil || socket.Write(context.Background(), kind, text) != nil {
			return
		}
	}
}

// liveOrigin has a page, orders, a WebSocket and a stream of events.
func liveOrigin(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page") })
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	mux.HandleFunc("/ws", echoSocket)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 1; ; n++ {
			fmt.Fprintf(w, "id: %d\ndata: tick\n\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// launchLive starts a gateway with edge_hits before a live origin.
func launchLive(t *testing.T, lines string) *gateway {
	t.Helper()
	g := configure(t, liveOrigin(t), lines)
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	wrapped := strings.Replace(string(text), "persist_config off", "persist_config off\nservers {\nlistener_wrappers {\nedge\ntls\nedge_hits\n}\n}", 1)
	wrapped = strings.Replace(wrapped, "page /* {", "private /orders /ws /events /api/*\npage /* {", 1)
	if err := os.WriteFile(g.config, []byte(wrapped), 0o600); err != nil {
		t.Fatal(err)
	}
	g.start()
	return g
}

// visitors use the gateway in every way at once, and note what goes wrong.
type visitors struct {
	g   *gateway
	ctx context.Context

	requests, kept atomic.Int64 // kept: replies that left the connection open
	unready        atomic.Bool  // readyz has answered 503
	enough         atomic.Bool  // no further requests
	work           sync.WaitGroup

	mu     sync.Mutex
	closed []time.Time // when each WebSocket and stream ended
	faults []string
}

func (v *visitors) fault(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

func (v *visitors) ended() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = append(v.closed, time.Now())
}

// request sends one request and notes whether its connection may be used again.
func (v *visitors) request(client *http.Client, method, path, body string) error {
	r, err := http.NewRequestWithContext(v.ctx, method, v.g.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	after := v.unready.Load()
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	want := "page"
	if method == http.MethodPost {
		want = body
	}
	if resp.StatusCode != http.StatusOK || string(text) != want {
		return fmt.Errorf("%d %q", resp.StatusCode, text)
	}
	v.requests.Add(1)
	if after && !resp.Close {
		v.kept.Add(1)
	}
	return nil
}

func (v *visitors) ask(method, path, body string) {
	v.work.Go(func() {
		client := &http.Client{Transport: &http.Transport{}}
		for !v.enough.Load() && v.ctx.Err() == nil {
			if err := v.request(client, method, path, body); err != nil {
				v.fault("%s %s: %v", method, path, err)
				return
			}
		}
	})
}

// converse echoes over a WebSocket until it is told to come back.
func (v *visitors) converse() error {
	socket, _, err := websocket.Dial(v.ctx, v.g.url+"/ws", nil)
	if err != nil {
		return err
	}
	v.work.Go(func() {
		defer socket.CloseNow()
		for {
			err := socket.Write(v.ctx, websocket.MessageText, []byte("word"))
			var text []byte
			if err == nil {
				_, text, err = socket.Read(v.ctx)
			} else {
				_, _, err = socket.Read(v.ctx) // why it could not be written
			}
			if err == nil && string(text) == "word" {
				continue
			}
			v.ended()
			if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				v.fault("WebSocket: %q, %v: want a Close frame 1012", text, err)
			}
			return
		}
	})
	return nil
}

// listen follows a stream until its end, which must be clean.
func (v *visitors) listen() error {
	r, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.g.url+"/events", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	in := bufio.NewReader(resp.Body)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	v.work.Go(func() {
		defer resp.Body.Close()
		text, err := io.ReadAll(in)
		v.ended()
		if err != nil || !strings.HasSuffix(string(text), "\n\n") {
			v.fault("event stream: %v after %q: want a clean end after an event", err, text[max(0, len(text)-40):])
		}
	})
	return nil
}

// visit begins with everything.
func visit(t *testing.T, g *gateway, lasting int) *visitors {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	v := &visitors{g: g, ctx: ctx}
	for range lasting {
		if err := errors.Join(v.converse(), v.listen()); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// unharmed waits until everybody is gone, the gateway too, and wants that nobody
// has noted a fault.
func (v *visitors) unharmed() {
	v.g.t.Helper()
	v.work.Wait()
	select {
	case <-v.g.ended:
	case <-v.ctx.Done():
		v.g.t.Fatalf("it does not end\n%s", v.g.log)
	}
	for _, fault := range v.faults {
		v.g.t.Error(fault)
	}
	if code := v.g.process.ProcessState.ExitCode(); code != 0 {
		v.g.t.Errorf("exit %d\n%s", code, v.g.log)
	}
}

// readyz is the status code, 0 when nobody answers.
func (g *gateway) readyz() int {
	got, err := http.Get(g.url + "/.edge/readyz")
	if err != nil {
		return 0
	}
	defer got.Body.Close()
	return got.StatusCode
}

// TestSIGTERMFailsNobody: requests of all kinds go on until the balancer in
// front, which asks readyz, sends them elsewhere.
func TestSIGTERMFailsNobody(t *testing.T) {
	const lasting, announced, window = 20, 4 * time.Second, 1500 * time.Millisecond
	g := launchLive(t, "stop {\nannounce 4s\nwindow 1500ms\n}")
	v := visit(t, g, lasting)
	for range 2 {
		v.ask(http.MethodGet, "/page", "")
		v.ask(http.MethodGet, "/api/x", "")
		v.ask(http.MethodPost, "/orders", "one order")
	}
	g.eventually("the load is on", func() bool { return v.requests.Load() > 500 })
	if n := v.kept.Load(); n != 0 {
		t.Fatalf("%d replies counted too early", n)
	}
	asked := time.Now()
	if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	g.eventually("readyz says no", func() bool { return g.readyz() == http.StatusServiceUnavailable })
	v.unready.Store(true)
	before := v.requests.Load()
	g.eventually("requests are still served", func() bool { return v.requests.Load() > before+200 })
	v.enough.Store(true)
	v.unharmed()
	if n := v.kept.Load(); n != 0 {
		t.Errorf("%d replies after readyz said no left their connection open: want none", n)
	}
	if len(v.closed) != 2*lasting {
		t.Fatalf("%d connections ended: want %d", len(v.closed), 2*lasting)
	}
	// By its own clock it is never early; how late it is depends on the machine.
	first, last := v.closed[0].Sub(asked), v.closed[len(v.closed)-1].Sub(asked)
	if first < announced || last-first < window/2 {
		t.Errorf("connections ended from %s to %s after SIGTERM: want them spread over %s, after %s", first, last, window, announced)
	}
	t.Logf("%d requests, %d connections from %s to %s after SIGTERM", v.requests.Load(), len(v.closed), first.Round(time.Millisecond), last.Round(time.Millisecond))
}

// TestWhoeverWaitsIsNotKeptWaiting: Ctrl-C, and a second signal, end at once
// what would be spread over minutes; clients are told all the same.
func TestWhoeverWaitsIsNotKeptWaiting(t *testing.T) {
	for name, signals := range map[string][]syscall.Signal{
		"Ctrl-C":               {syscall.SIGINT},
		"SIGTERM, then Ctrl-C": {syscall.SIGTERM, syscall.SIGINT},
		"SIGTERM twice":        {syscall.SIGTERM, syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			g := launchLive(t, "stop {\nannounce 10m\nwindow 10m\n}")
			v := visit(t, g, 3)
			for i, signal := range signals {
				if i > 0 {
					g.eventually("it is leaving", func() bool { return g.readyz() == http.StatusServiceUnavailable })
				}
				if err := g.process.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			v.unharmed()
		})
	}
}
