package lb

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"
)

// echo upgrades the connection and sends back each line.
func echo(w http.ResponseWriter, _ *http.Request) { echoOver(w, "websocket") }

func echoOver(w http.ResponseWriter, protocol string) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", protocol)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	}
}

// dialWebSocket connects through a proxy that carries the pool.
func dialWebSocket(t *testing.T, proxy string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprint(conn, "GET /live HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d: want 101", resp.StatusCode)
	}
	return conn, in
}

// proxyOf serves the pool as Caddy's reverse proxy would carry it.
func proxyOf(t *testing.T, p *Pool) string {
	t.Helper()
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "pool" },
		Transport: p,
	})
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestAWebSocketPassesAndCountsAsOne(t *testing.T) {
	a := newApp(t, echo)
	c := testConfig(a)
	c.Queue.MaxInflight = 1 // WebSockets take no slots
	p, _ := upPool(t, c, a)
	proxy := proxyOf(t, p)
	for range 2 {
		conn, in := dialWebSocket(t, proxy)
		for _, word := range []string{"one", "two"} {
			fmt.Fprintln(conn, word)
			if line, err := in.ReadString('\n'); line != "echo "+word+"\n" {
				t.Fatalf("%q, %v: want echo %s", line, err, word)
			}
		}
	}
	if r, _ := replicaOf(p, a.address); r.WebSockets != 2 || r.InFlight != 0 {
		t.Errorf("%d websockets, %d in flight: want 2 and 0", r.WebSockets, r.InFlight)
	}
}

func TestAWebSocketThatEndsIsNotCountedAnyMore(t *testing.T) {
	a := newApp(t, echo)
	p, _ := upPool(t, testConfig(a), a)
	conn, _ := dialWebSocket(t, proxyOf(t, p))
	_ = conn.Close()
	eventually(t, "no websocket", func() bool {
		r, _ := replicaOf(p, a.address)
		return r.WebSockets == 0
	})
	noneInFlight(t, p)
}

func TestAnEventStreamArrivesAsItIsWrittenAndTakesNoSlot(t *testing.T) {
	next := make(chan string)
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			_, _ = io.WriteString(w, "page")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for text := range next {
			_, _ = io.WriteString(w, text)
			_ = http.NewResponseController(w).Flush()
		}
	})
	c := testConfig(a)
	c.Queue.MaxInflight = 1
	c.Queue.Wait = ms(1)
	p, _ := upPool(t, c, a)
	req := get(t)
	req.URL.Path = "/events"
	done := make(chan struct{})
	go func() {
		defer close(done)
		next <- "data: 1\n"
	}()
	resp, err := p.RoundTrip(req.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	<-done
	lines := bufio.NewReader(resp.Body)
	for i, want := range []string{"data: 1\n", "data: 2\n"} {
		if i > 0 {
			next <- want
		}
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("%q, %v: want %q", line, err, want)
		}
	}
	if r, _ := replicaOf(p, a.address); r.Streams != 1 || r.InFlight != 0 {
		t.Errorf("%d streams, %d in flight: want 1 and 0", r.Streams, r.InFlight)
	}
	if code, _, trace := mustGet(t, p); code != 200 {
		t.Errorf("%d %+v beside a stream: want 200", code, trace)
	}
	close(next)
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	noneInFlight(t, p)
}
