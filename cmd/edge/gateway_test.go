package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/freeport"
	"github.com/edgegw/edge/internal/purge/standin"
)

const (
	controlToken    = "c0ffee-4b1d-9f27-55aa-tests"
	cloudflareToken = "cf-4f1d7a90b2c34e58a6d1e2f3"
	zoneID          = "0123456789abcdef0123456789abcdef"
)

// gateway is a running edge process.
type gateway struct {
	t        *testing.T
	url      string
	stateDir string
	config   string
	env      []string   // besides the control token
	files    []*os.File // that the process gets from 3 on
	within   []string   // the command that runs it; nil for none
	process  *exec.Cmd
	log      *lockedBuffer
	ended    chan struct{}
}

// lockedBuffer may be written by a process while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func freeAddress(t *testing.T) string {
	t.Helper()
	list, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// configure writes a gateway's Caddyfile, with the lines given in its edge block.
func configure(t *testing.T, origin string, lines ...string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{t: t, url: "http://" + freeAddress(t), stateDir: filepath.Join(dir, "state"), config: filepath.Join(dir, "Caddyfile"), log: new(lockedBuffer)}
	text := fmt.Sprintf(`{
	admin %s
	persist_config off
	edge {
		state_dir %q
		pool app {
			discover static %s
			health /healthz {
				interval 200ms
				version_header X-App-Version
			}
		}
		control {
			token {env.EDGE_TOKEN}
		}
		%s
	}
}

%s {
	edge_rules {
		page /* {
			edge 1h
			tag pages
		}
	}
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
}
`, freeAddress(t), g.stateDir, origin, strings.Join(lines, "\n"), g.url)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// start runs the gateway and waits until it answers.
func (g *gateway) start() {
	g.t.Helper()
	g.launch()
	g.ready()
}

// launch runs the gateway.
func (g *gateway) launch() {
	g.t.Helper()
	run := append(slices.Clone(g.within), binary, "run", "--config", g.config, "--adapter", "caddyfile")
	g.process = exec.Command(run[0], run[1:]...)
	g.process.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.t.TempDir(), "EDGE_TOKEN=" + controlToken}
	g.process.Env = append(g.process.Env, g.env...)
	g.process.Stderr = g.log
	g.process.ExtraFiles = g.files
	g.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.process.Start(); err != nil {
		g.t.Fatal(err)
	}
	ended := make(chan struct{})
	g.ended = ended
	go func(p *exec.Cmd) {
		_ = p.Wait() // how it ended is the test's business
		close(ended)
	}(g.process)
	g.t.Cleanup(g.kill)
}

// ready waits until the gateway answers, and has a replica.
func (g *gateway) ready() {
	g.t.Helper()
	g.answers("/.edge/readyz")
}

// answers waits until the gateway answers 200 at the path.
func (g *gateway) answers(path string) {
	g.t.Helper()
	g.eventually("200 at "+path, func() bool {
		got, err := http.Get(g.url + path)
		if err != nil {
			return false
		}
		defer got.Body.Close()
		return got.StatusCode == http.StatusOK
	})
}

func (g *gateway) kill() {
	_ = g.process.Process.Kill() // it may have ended
	<-g.ended
}

func (g *gateway) eventually(what string, holds func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-ctx.Done():
			g.t.Fatalf("not within a minute: %s\n%s", what, g.log)
		case <-tick.C:
		}
	}
}

// edge runs a client command against the gateway.
func (g *gateway) edge(args ...string) ran {
	g.t.Helper()
	return command(g.t, []string{"EDGE_SERVER=" + g.url + "/.edge", "EDGE_TOKEN=" + controlToken}, args...)
}

func (g *gateway) page(path string) (text, cacheStatus string) {
	g.t.Helper()
	a := g.answer(path)
	if a.err != nil {
		g.t.Fatal(a.err)
	}
	return a.text, a.header.Get("Cache-Status")
}

// answer is what a visitor got.
type answer struct {
	code   int
	header http.Header
	text   string
	err    error
}

func (g *gateway) answer(path string) answer {
	got, err := http.Get(g.url + path)
	if err != nil {
		return answer{err: err}
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(body), err}
}

// load says what is wrong with an answer, if anything is.
func (g *gateway) load(path string) string {
	a := g.answer(path)
	if a.err != nil || a.code != http.StatusOK {
		return fmt.Sprintf("%s: %d, %v, %.100s", path, a.code, a.err, a.text)
	}
	return ""
}

// origin answers its health and numbered pages.
func origin(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", "v2")
		if r.URL.Path == "/healthz" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		fmt.Fprintf(w, "answer %d", n)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// cloudflare is a stand-in, and the lines that point a gateway to it. What is
// accepted there may be handed on.
func cloudflare(t *testing.T, accepted ...func(standin.Call)) (*standin.Server, string) {
	t.Helper()
	o := standin.Options{Token: cloudflareToken, Plan: "business", Zones: []standin.Zone{{ID: zoneID, Name: "example.com"}}}
	if len(accepted) > 0 && accepted[0] != nil {
		o.Accepted = accepted[0]
	}
	server, err := standin.New(o)
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(func() {
		listening.CloseClientConnections()
		listening.Close()
	})
	return server, fmt.Sprintf("cloudflare {\nzone_id %s\napi_token %s\nplan business\napi_url %s/client/v4\n}\npurge {\ndrain_cap 200ms\nsettle 10ms\nsettle_everything 10ms\ndeadline 5m\n}",
		zoneID, cloudflareToken, listening.URL)
}

// report is what edge purge --json prints.
type report struct {
	ID      string
	State   string
	Exit    int
	Error   string
	Targets []struct {
		Name, State string
		Attempts    int
		Error       *struct {
			HTTP, Code int
			Message    string
		}
	}
}

func reportOf(t *testing.T, r ran) report {
	t.Helper()
	var parsed report
	if err := json.Unmarshal([]byte(r.stdout), &parsed); err != nil {
		t.Fatalf("stdout is not one JSON object: %v\n%s\n%s", err, r.stdout, r.stderr)
	}
	return parsed
}
