package caddymodule

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/edgegw/edge/internal/freeport"
	"github.com/edgegw/edge/internal/sample"
)

// replicaEnv makes the test binary a replica of the sample application, so
// that replicas are real processes that can be killed.
const replicaEnv = "EDGE_TEST_REPLICA_VERSION"

// listenEnv is where such a replica listens, if not at any free port.
const listenEnv = "EDGE_TEST_REPLICA_LISTEN"

func TestMain(m *testing.M) {
	if version := os.Getenv(replicaEnv); version != "" {
		if is, err := broken(version); is {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := sample.Run(ctx, sample.Config{Version: version, Listen: os.Getenv(listenEnv), Out: os.Stdout}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if config := os.Getenv(gatewayEnv); config != "" {
		os.Args = []string{"edge", "run", "--config", config, "--adapter", "caddyfile"}
		Main()
		return
	}
	if version := os.Getenv(workerEnv); version != "" {
		if err := runWorker(version); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// OpenTelemetry reads it once, in whichever test traces first.
	if err := os.Setenv("OTEL_SERVICE_NAME", "edge under test"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// replica is a running process of the sample application.
type replica struct {
	address string
	process *os.Process
}

func startReplica(t *testing.T, version string) replica {
	t.Helper()
	return startReplicaWith(t, version)
}

// startReplicaWith has something in the replica's environment.
func startReplicaWith(t *testing.T, version string, environment ...string) replica {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(append(os.Environ(), replicaEnv+"="+version), environment...)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // it may have been killed by the test
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("replica %s gave no address: %v", version, err)
	}
	fields := strings.Fields(line)
	return replica{address: fields[len(fields)-1], process: command.Process}
}

// edge is a gateway in this process. There is one at a time: Caddy is one per
// process.
type edge struct {
	t         *testing.T
	URL       string
	Admin     string
	stateDir  string
	accessLog string
	// host is what requests name instead of the URL's host and port, if anything:
	// a site that several gateways serve.
	host string

	// What a test may change before load.
	global   string // lines of the global options
	purges   string // lines of the purge block
	controls string // lines of the control block
}

const testToken = "c0ffee-4b1d-9f27-55aa-tests"

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	list, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// newEdge is a gateway that has no configuration yet.
func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{t: t, URL: "http://" + freeAddress(t), Admin: freeAddress(t), stateDir: t.TempDir()}
	e.accessLog = filepath.Join(t.TempDir(), "access.log")
	e.purges = "drain_cap 200ms\nsettle 10ms\nsettle_everything 10ms"
	e.controls = "token " + testToken
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return e
}

// startEdge runs a gateway whose edge block and site are given.
func startEdge(t *testing.T, block, site string) *edge {
	t.Helper()
	e := newEdge(t)
	if err := e.load(block, site); err != nil {
		t.Fatal(err)
	}
	return e
}

// load adapts and loads a configuration, the first or a later one.
func (e *edge) load(block, site string) error {
	return e.loadText(e.caddyfile(block, site))
}

func (e *edge) loadText(text string) error {
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			e.t.Errorf("warning: %s", w)
		}
	}
	return caddy.Load(adapted, true)
}

func (e *edge) caddyfile(block, site string) string {
	return fmt.Sprintf(`{
	admin %s
	persist_config off
	grace_period 2s
	log {
		output discard
	}
	servers {
		listener_wrappers {
			edge
			tls
		}
	}
	%s
	edge {
		state_dir %q
		purge {
			%s
		}
		control {
			%s
		}
		%s
	}
}
%s {
	log {
		output file %q
	}
	%s
	handle /.edge/* {
		edge_control
	}
}
`, e.Admin, e.global, e.stateDir, e.purges, e.controls, block, e.URL, e.accessLog, site)
}

// response is an answer, read to its end.
type response struct {
	*http.Response
	Text string
}

func (r response) cacheStatus() string { return r.Header.Get("Cache-Status") }

// do sends one request on a connection of the shared client.
func (e *edge) do(method, path string, body io.Reader, headers ...string) response {
	e.t.Helper()
	r, err := e.try(method, path, body, headers...)
	if err != nil {
		e.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (e *edge) try(method, path string, body io.Reader, headers ...string) (response, error) {
	request, err := http.NewRequest(method, e.URL+path, body)
	if err != nil {
		return response{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	if e.host != "" {
		request.Host = e.host
	}
	got, err := testClient.Do(request)
	if err != nil {
		return response{}, err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return response{got, string(text)}, err
}

func (e *edge) get(path string, headers ...string) response {
	e.t.Helper()
	return e.do(http.MethodGet, path, nil, headers...)
}

var testClient = &http.Client{
	Timeout:       2 * time.Minute,
	Transport:     &http.Transport{MaxIdleConnsPerHost: 2000},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// control calls the control API with the token and decodes its JSON.
func (e *edge) control(method, path string, body, into any) int {
	e.t.Helper()
	var text io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			e.t.Fatal(err)
		}
		text = bytes.NewReader(encoded)
	}
	got := e.do(method, "/.edge/"+path, text, "Authorization", "Bearer "+testToken, "Content-Type", "application/json")
	if into != nil && got.StatusCode < 300 {
		if err := json.Unmarshal([]byte(got.Text), into); err != nil {
			e.t.Fatalf("%s %s: %v in %s", method, path, err, got.Text)
		}
	}
	return got.StatusCode
}

// purge orders a purge and waits until it is final.
func (e *edge) purge(order map[string]any) string {
	e.t.Helper()
	var record struct{ ID, State string }
	if status := e.control(http.MethodPost, "purge", order, &record); status != http.StatusAccepted {
		e.t.Fatalf("purge %v: %d", order, status)
	}
	if status := e.control(http.MethodGet, "purge/"+record.ID+"?wait=1m", nil, &record); status != http.StatusOK {
		e.t.Fatalf("purge %v: wait: %d", order, status)
	}
	return record.State
}

// eventually polls until the condition holds, for at most a minute.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		case <-tick.C:
		}
	}
}

// origin starts a server in this process and gives its host:port.
func startOrigin(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// staticPool is a pool app of fixed addresses.
func staticPool(addresses ...string) string {
	return fmt.Sprintf(`pool app {
	discover static %s
	health /healthz {
		interval 200ms
		version_header X-App-Version
	}
}`, strings.Join(addresses, " "))
}

const pagesSite = `
edge_rules {
	fingerprinted /assets/*
	private /api/* /account
	page /* {
		edge 60s
		stale 10m
		tag pages
		without_cookie session
	}
}
edge_cache
edge_proxy app
`
