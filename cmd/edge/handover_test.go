package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// handed is what edge handover --json prints.
type handed struct {
	Before, PID, Exit int
	Took, Error       string
}

// handOver has a process of the binary take over.
func (g *gateway) handOver(binary string, flags ...string) (ran, handed) {
	g.t.Helper()
	r := command(g.t, []string{"EDGE_SERVER=http://" + g.admin() + "/edge"}, append([]string{"handover", "--json", "--binary", binary}, flags...)...)
	var h handed
	if err := json.Unmarshal([]byte(r.stdout), &h); err != nil {
		g.t.Fatalf("handover: %v: exit %d\n%s%s\n%s", err, r.code, r.stdout, r.stderr, g.log)
	}
	return r, h
}

// follow makes the process that has taken over the gateway's, to be ended with the
// test.
func (g *gateway) follow(h handed) {
	g.t.Helper()
	g.t.Cleanup(func() { _ = syscall.Kill(h.PID, syscall.SIGKILL) }) // it may have ended
}

// copyOfBinary is the binary under another name, as a release is.
func copyOfBinary(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	text, err := os.ReadFile(binary)
	if err == nil {
		err = os.WriteFile(path, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// enduring is an origin with pages, a download that lasts, and a WebSocket.
func enduring(t *testing.T, pages *counted, pieces <-chan struct{}) string {
	t.Helper()
	behind, err := url.Parse("http://" + pages.address)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(behind))
	mux.HandleFunc("/api/download", func(w http.ResponseWriter, r *http.Request) {
		for range pieces {
			_, _ = io.WriteString(w, strings.Repeat("d", 1000))
			_ = http.NewResponseController(w).Flush()
		}
	})
	mux.HandleFunc("/api/ws", echoSocket)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// secured adds the listener wrappers, and a site with TLS, whose URL it gives.
func (g *gateway) secured() string {
	g.t.Helper()
	secure := strings.Replace(freeAddress(g.t), "127.0.0.1", "https://localhost", 1)
	text := strings.Replace(read(g.t, g.config), "persist_config off", "persist_config off\nskip_install_trust\nauto_https disable_redirects\nservers {\ntimeouts {\nread_header 10m\n}\nlistener_wrappers {\nedge\ntls\nedge_hits\n}\n}", 1)
	text = strings.Replace(text, "page /* {", "private /api/*\npage /* {", 1)
	text += fmt.Sprintf("\n%s {\nbind 127.0.0.1\ntls internal\nedge_rules {\npage /* {\nedge 1h\n}\n}\nedge_cache\nedge_proxy app\n}\n", secure)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return secure
}

// crowd asks for pages in several ways until it is told to stop.
type crowd struct {
	t       *testing.T
	sent    atomic.Int64
	fetched atomic.Int64 // not from the cache
	stop    atomic.Bool
	work    sync.WaitGroup
}

func (c *crowd) ask(base string, pages []string, transport func() *http.Transport) {
	c.work.Go(func() {
		client := &http.Client{Transport: transport(), Timeout: time.Minute}
		defer client.CloseIdleConnections()
		for n := 0; !c.stop.Load(); n++ {
			page := pages[n%len(pages)]
			got, err := client.Get(base + page)
			if err != nil {
				c.t.Errorf("%s: %v", base+page, err)
				continue
			}
			text, err := io.ReadAll(got.Body)
			_ = got.Body.Close() // It has been read to its end.
			if err != nil || got.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), page+" ") {
				c.t.Errorf("%s: %d, %v, %.50q", base+page, got.StatusCode, err, text)
			}
			if !strings.Contains(got.Header.Get("Cache-Status"), "; hit") {
				c.fetched.Add(1)
			}
			c.sent.Add(1)
		}
	})
}

// more waits until the crowd has asked so often again.
func (c *crowd) more(g *gateway, n int64) {
	before := c.sent.Load()
	g.eventually(fmt.Sprintf("%d more requests", n), func() bool { return c.sent.Load() >= before+n })
}

// purged has a page purged, and wants that it is fetched anew: once by each process
// that serves, which are two while one of them takes leave.
func (g *gateway) purged(o *counted, page string) {
	g.t.Helper()
	before := o.fetches(page)
	if r := g.edge("purge", "--wait", "1m", "--url", g.url+page); r.code != 0 {
		g.t.Fatalf("purge: exit %d\n%s\n%s", r.code, r.stderr, g.log)
	}
	for range 3 {
		text, _ := g.page(page)
		var fetch int
		if _, err := fmt.Sscanf(text, page+" %d ", &fetch); err != nil || fetch <= before || fetch > before+2 {
			g.t.Errorf("%s after its purge: %.30q, %v: want fetch %d, or the next", page, text, err, before+1)
		}
	}
}

// TestABinaryIsReplacedUnderLoad: nobody notices, whatever they are at.
func TestABinaryIsReplacedUnderLoad(t *testing.T) {
	pages, pieces := newCounted(t, "v1"), make(chan struct{}, 100)
	g := configure(t, enduring(t, pages, pieces), diskLines, "stop {\nannounce 500ms\nwindow 1s\n}")
	secure := g.secured()
	g.start()
	g.certified(secure)
	names := pagesNamed(20)
	g.warm(names)
	g.purged(pages, "/page3")

	load := &crowd{t: t}
	for range 3 {
		load.ask(g.url, names, func() *http.Transport { return new(http.Transport) })
		load.ask(g.url, names, func() *http.Transport { return &http.Transport{DisableKeepAlives: true} })
		load.ask(secure, names[5:], func() *http.Transport {
			return &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		})
	}
	defer load.work.Wait()
	defer load.stop.Store(true)
	load.more(g, 500)
	pieces <- struct{}{} // without one there is no header
	download, err := http.Get(g.url + "/api/download")
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()

	filled := load.fetched.Load()
	pid := g.process.Process.Pid
	for round := range 3 {
		socket, _, err := websocket.Dial(t.Context(), g.url+"/api/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		r, h := g.handOver(copyOfBinary(t, fmt.Sprint("edge-", round)))
		g.follow(h)
		if r.code != 0 || h.Before != pid || h.PID == pid {
			t.Fatalf("exit %d, %+v: want 0, from %d to another\n%s\n%s", r.code, h, pid, r.stderr, g.log)
		}
		t.Logf("process %d took over from %d in %s", h.PID, h.Before, h.Took)
		pid = h.PID
		pieces <- struct{}{}
		converses(t, socket, round)
		g.purged(pages, "/page3") // while the old one still serves
		load.more(g, 300)
	}
	close(pieces)
	if text, err := io.ReadAll(download.Body); err != nil || len(text) != 4000 {
		t.Errorf("download: %d bytes, %v: want 4000", len(text), err)
	}
	g.eventually("all old processes have ended", func() bool { return strings.Count(g.log.String(), "shutdown complete") == 3 })
	load.more(g, 300)
	load.stop.Store(true)
	load.work.Wait()
	for _, page := range names {
		want := 1
		if page == "/page3" {
			want = 8 // warm, a purge, and three while two processes serve
		}
		if got := pages.fetches(page); got > want+1 { // the site with TLS has a copy of its own
			t.Errorf("%s was fetched %d times: want %d: it was stored", page, got, want)
		}
	}
	t.Logf("%d requests over three handovers, %d of them fetched", load.sent.Load(), load.fetched.Load()-filled)
}

// converses has a WebSocket answer until it is told to come back.
func converses(t *testing.T, socket *websocket.Conn, round int) {
	t.Helper()
	defer socket.CloseNow()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for words := 0; ; words++ {
		err := socket.Write(ctx, websocket.MessageText, []byte("word"))
		if err == nil {
			_, _, err = socket.Read(ctx)
		} else {
			_, _, err = socket.Read(ctx) // why it could not be written
		}
		if err == nil {
			continue
		}
		if websocket.CloseStatus(err) != websocket.StatusServiceRestart || words == 0 {
			t.Errorf("round %d: WebSocket after %d words: %v: want a Close frame 1012", round, words, err)
		}
		return
	}
}

// script is a program that is taken for edge.
func script(t *testing.T, run string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edge")
	text := "#!/bin/sh\ncase $1 in\nversion | validate) exit 0 ;;\nesac\n" + run + "\n"
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestABinaryThatIsNoGoodTakesNothingOver: the old one serves and purges as before.
func TestABinaryThatIsNoGoodTakesNothingOver(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v1")
	g := configure(t, o.address, diskLines)
	g.secured()
	g.start()
	names := pagesNamed(5)
	g.warm(names)
	stays := func(what string) {
		t.Helper()
		if g.readyz() != http.StatusOK {
			t.Errorf("%s: not ready", what)
		}
		before := o.fetches("/page1")
		if _, status := g.page("/page1"); o.fetches("/page1") != before || !strings.Contains(status, "; hit") {
			t.Errorf("%s: %q: want a hit", what, status)
		}
		g.purged(o, "/page2")
		if d := g.disk(); d == nil || !d.Serving || d.Failing {
			t.Errorf("%s: the disk: %+v", what, d)
		}
	}
	writable := copyOfBinary(t, "edge")
	if err := os.Chmod(writable, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, binary, want string }{
		{"no file", "/nonexistent/edge", "no such file"},
		{"no program", g.config, "may be executed"},
		{"anybody may write it", writable, "nobody else may write"},
		{"not edge", "/bin/false", "version: exit status 1"},
		{"it dies", script(t, "echo it is broken >&2\nexit 3"), "exit status 3: it is broken"},
		{"it hangs", script(t, "exec sleep 600"), "not ready within 3s"},
	} {
		r, h := g.handOver(c.binary, "--wait", "3s")
		if r.code != 7 || !strings.Contains(h.Error, c.want) {
			t.Errorf("%s: exit %d, %q: want 7, and %q", c.what, r.code, h.Error, c.want)
		}
		stays(c.what)
	}
	// It starts, and cannot open the state, which the old one has let go of by then.
	text := read(t, g.config)
	elsewhere := filepath.Join(t.TempDir(), "state")
	if err := os.MkdirAll(filepath.Join(elsewhere, "purge.journal"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.config, []byte(strings.Replace(text, g.stateDir, elsewhere, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, h := g.handOver(binary); r.code != 7 || !strings.Contains(h.Error, "state_dir") {
		t.Errorf("state that cannot be opened: exit %d, %q: want 7, and what it is", r.code, h.Error)
	}
	stays("state that cannot be opened")
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, h := g.handOver(binary)
	g.follow(h)
	if r.code != 0 {
		t.Fatalf("a good one: exit %d, %s\n%s", r.code, h.Error, g.log)
	}
	stays("a good one")
}
