package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/redistest"
)

// gatewayEnv makes the test binary a gateway: edge run, with that Caddyfile.
const gatewayEnv = "EDGE_TEST_GATEWAY"

// fleetWorld is three gateways, each a process of its own, that meet in a real
// Redis, an origin whose pages have a version, and visitors who ask all the time.
type fleetWorld struct {
	t       *testing.T
	redis   *redistest.Server
	nodes   []*fleetProcess
	version atomic.Int64

	mu       sync.Mutex
	acks     []acknowledged
	hits     int
	visits   int
	behind   int
	slowest  time.Duration
	faults   []string
	stopping atomic.Bool
	visitors sync.WaitGroup
}

// acknowledged is a purge after which nobody may see what is older than the
// version that pages had when it was asked.
type acknowledged struct {
	at      time.Time
	version int64
}

// fleetProcess is a gateway in a process of its own.
type fleetProcess struct {
	*edge
	name    string
	config  string
	command *exec.Cmd
	line    *redistest.Line
	// absent counts reasons for which visitors may be left without an answer.
	absent atomic.Int64
}

func end(command *exec.Cmd) {
	_ = command.Process.Kill() // it may be gone
	_ = command.Wait()
}

const fleetSite = `edge_rules {
		page /* {
			edge 1h
			tag pages
		}
	}
	edge_cache
	edge_proxy app`

// newFleetWorld starts it all, without visitors.
func newFleetWorld(t *testing.T, lease string) *fleetWorld {
	t.Helper()
	w := newFleet(t)
	origin := startOrigin(t, func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, w.version.Load())
	})
	for i := range 3 {
		block := staticPool(origin)
		if i == 2 {
			block += "\ncache {\n\tdisk 16MiB\n}\n" // what it holds outlives the process
		}
		w.add(lease, block, fleetSite)
	}
	for _, n := range w.nodes {
		n.awaitTrust()
	}
	return w
}

// newFleet starts a Redis; nodes are added.
func newFleet(t *testing.T) *fleetWorld {
	t.Helper()
	w := &fleetWorld{t: t, redis: redistest.New(t)}
	return w
}

// newLine is a way to Redis, until the test ends.
func newLine(t *testing.T, socket string, redis *redistest.Server) *redistest.Line {
	t.Helper()
	line, err := redistest.NewLine(socket, redis.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	return line
}

// add starts a node with a pool and a site.
func (w *fleetWorld) add(lease, block, site string) *fleetProcess {
	w.t.Helper()
	i := len(w.nodes)
	n := &fleetProcess{name: fmt.Sprint("edge-", i), config: filepath.Join(w.redis.Dir, fmt.Sprint("Caddyfile-", i))}
	n.edge = &edge{t: w.t, URL: "http://" + freeAddress(w.t), Admin: freeAddress(w.t), stateDir: w.t.TempDir(), accessLog: os.DevNull}
	n.purges = "drain_cap 200ms\nsettle 10ms\nsettle_everything 10ms"
	n.controls = "token " + testToken
	socket := filepath.Join(w.redis.Dir, fmt.Sprint("line-", i))
	n.line = newLine(w.t, socket, w.redis)
	block += fmt.Sprintf("\nfleet unix://%s {\n\tnode %s\n\tlease %s\n}\n", socket, n.name, lease)
	if err := os.WriteFile(n.config, []byte(n.caddyfile(block, site)), 0o600); err != nil {
		w.t.Fatal(err)
	}
	n.start()
	w.t.Cleanup(func() { end(n.command) })
	w.nodes = append(w.nodes, n)
	return n
}

func (n *fleetProcess) start() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	n.command = exec.Command(self)
	n.command.Env = append(os.Environ(), gatewayEnv+"="+n.config, "XDG_DATA_HOME="+n.stateDir, "XDG_CONFIG_HOME="+n.stateDir)
	n.command.Stderr = os.Stderr
	if err := n.command.Start(); err != nil {
		n.t.Fatal(err)
	}
}

// fleetStatus is the part of a status that is about the fleet.
type fleetStatus struct {
	Fleet struct {
		Trusted bool
		Lag     uint64
		Members []struct{ Node string }
	}
	Generation uint64
}

// status is nil when there is no answer.
func (n *fleetProcess) status() *fleetStatus {
	r, err := n.try(http.MethodGet, "/.edge/status", nil, "Authorization", "Bearer "+testToken)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil
	}
	return decoded[fleetStatus](n.t, r.Text)
}

// awaitTrust waits until a node serves from its cache.
func (n *fleetProcess) awaitTrust() {
	n.t.Helper()
	n.awaitTrustAt("/up")
}

// awaitTrustAt has a path that its replicas know.
func (n *fleetProcess) awaitTrustAt(path string) {
	n.t.Helper()
	within(n.t, time.Minute, n.name+" is trusted, and its pool is up", func() bool {
		s := n.status()
		if s == nil || !s.Fleet.Trusted {
			return false
		}
		r, err := n.try(http.MethodGet, path, nil)
		return err == nil && r.StatusCode == http.StatusOK
	})
}

// signal stops, resumes or kills a node; while it is absent, visitors may wait.
func (n *fleetProcess) signal(sig syscall.Signal) {
	n.t.Helper()
	if sig == syscall.SIGCONT {
		defer n.absent.Add(-1)
	} else {
		n.absent.Add(1)
	}
	if err := n.command.Process.Signal(sig); err != nil {
		n.t.Error(err)
	}
}

// again starts a killed node anew.
func (n *fleetProcess) again() {
	n.t.Helper()
	_ = n.command.Wait() // it was killed
	n.start()
	n.awaitTrust()
	n.absent.Add(-1)
}

// visit asks a node for a page again and again, and holds each answer against
// the purges that were acknowledged before it was asked for.
func (w *fleetWorld) visit(n *fleetProcess, path string) {
	w.visitors.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ; !w.stopping.Load(); <-tick.C {
			excused := n.absent.Load() > 0
			asked := time.Now()
			r, err := n.try(http.MethodGet, path, nil)
			took := time.Since(asked)
			excused = excused || n.absent.Load() > 0
			w.note(n, asked, took, r, err, excused)
		}
	})
}

func (w *fleetWorld) note(n *fleetProcess, asked time.Time, took time.Duration, r response, err error, excused bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.visits++
	if err != nil || r.StatusCode != http.StatusOK {
		if !excused {
			w.faults = append(w.faults, fmt.Sprintf("%s left a visitor without an answer: %v %s", n.name, err, r.Text))
		}
		return
	}
	if !excused {
		w.slowest = max(w.slowest, took)
	}
	if strings.Contains(r.cacheStatus(), "hit") {
		w.hits++
	}
	if strings.Contains(r.cacheStatus(), "fleet-behind") {
		w.behind++
	}
	version, err := strconv.ParseInt(r.Text, 10, 64)
	if err != nil {
		w.faults = append(w.faults, fmt.Sprintf("%s answered %q", n.name, r.Text))
		return
	}
	for _, a := range w.acks {
		if a.at.Before(asked) && version < a.version {
			w.faults = append(w.faults, fmt.Sprintf("%s gave version %d, %s, %s after a purge of all before %d was acknowledged",
				n.name, version, r.cacheStatus(), asked.Sub(a.at), a.version))
			return
		}
	}
}

// purgeAnswer is the part of a record that tells what became of it.
type purgeAnswer struct {
	ID, State string
	Exit      int
}

// deploy changes the pages and has them purged at a node. It says whether the
// purge was acknowledged within the time.
func (w *fleetWorld) deploy(n *fleetProcess, patience time.Duration) (id string, done bool) {
	version := w.version.Add(1)
	r, err := n.try(http.MethodPost, "/.edge/purge", strings.NewReader(`{"tags":["pages"]}`),
		"Authorization", "Bearer "+testToken, "Content-Type", "application/json")
	if err != nil || r.StatusCode != http.StatusAccepted {
		return "", false
	}
	record := decoded[purgeAnswer](w.t, r.Text)
	r, err = n.try(http.MethodGet, fmt.Sprintf("/.edge/purge/%s?wait=%s", record.ID, patience), nil, "Authorization", "Bearer "+testToken)
	if err != nil || r.StatusCode != http.StatusOK {
		return record.ID, false
	}
	record = decoded[purgeAnswer](w.t, r.Text)
	if (record.State == "done") != (record.Exit == 0) {
		w.t.Errorf("purge %s: state %s with exit %d", record.ID, record.State, record.Exit)
	}
	if record.State != "done" {
		return record.ID, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, acknowledged{time.Now(), version})
	return record.ID, true
}

// judged ends the visits and reports what went wrong.
func (w *fleetWorld) judged() {
	w.stopping.Store(true)
	w.visitors.Wait()
	for i, fault := range w.faults {
		if i == 20 {
			w.t.Errorf("and %d more", len(w.faults)-i)
			break
		}
		w.t.Error(fault)
	}
	w.t.Logf("%d visits, %d hits, %d without trust, %d purges acknowledged, the slowest answer after %s",
		w.visits, w.hits, w.behind, len(w.acks), w.slowest.Round(time.Millisecond))
}
