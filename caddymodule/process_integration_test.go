package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/named"
)

// processPool is a pool app whose replicas edge runs: the sample application,
// by this test binary. Which version comes from edge's own environment.
func processPool(t *testing.T, version, words string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_SAMPLE_VERSION", version)
	return fmt.Sprintf(`pool app {
	discover process %s {port} {
		env %s={env.TEST_SAMPLE_VERSION} %s=127.0.0.1:{port}
	}
	health /healthz {
		interval 200ms
		version_header X-App-Version
	}
	slow_start 1ms
	drain 5s
	%s
}`, self, replicaEnv, listenEnv, words)
}

// signalTo signals a process that is not our own child.
func signalTo(pid int, signal os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(signal)
}

func (e *edge) versionsServed() map[string]int {
	seen := make(map[string]int)
	for range 30 {
		seen[e.get("/api/contacts").Header.Get("X-App-Version")]++
	}
	return seen
}

func TestEdgeRunsTheReplicasAndDeploysThem(t *testing.T) {
	e := startEdge(t, processPool(t, "v1", ""), sampleSite)
	eventually(t, "it is up", func() bool { return e.replicasUp() == 1 })
	before := e.poolStatus()

	stop := e.underLoad(150, "/api/contacts?n=N", "/contacts/1?n=N")
	// The same command, whatever else changes, restarts nobody.
	if err := e.load(processPool(t, "v1", "retry {\n\t\tattempts 3\n\t}"), sampleSite); err != nil {
		t.Fatal(err)
	}
	served := requests(e.poolStatus())
	eventually(t, "traffic after the reload", func() bool { return requests(e.poolStatus()) > served+50 })
	if after := e.poolStatus(); len(after.Replicas) != 1 || after.Replicas[0].Address != before.Replicas[0].Address {
		t.Errorf("%+v became %+v: want the same replica", before.Replicas, after.Replicas)
	}
	// A variable that changed, from edge's own environment, is another command.
	if err := e.load(processPool(t, "v2", ""), sampleSite); err != nil {
		t.Fatal(err)
	}
	eventually(t, "only v2 serves", func() bool {
		seen := e.versionsServed()
		return len(seen) == 1 && seen["v2"] > 0
	})
	eventually(t, "one is left", func() bool { return len(e.poolStatus().Replicas) == 1 })
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed, such as %s", len(failures), sent, failures[0])
	}
}

func TestACrashedReplicaIsBackBeforeVisitorsAreTurnedAway(t *testing.T) {
	e := startEdge(t, processPool(t, "v1", "queue {\n\t\twait 10s\n\t}"), sampleSite)
	eventually(t, "it is up", func() bool { return e.replicasUp() == 1 })
	address := e.poolStatus().Replicas[0].Address
	var pid int
	if _, err := fmt.Sscanf(e.get("/api/contacts").Header.Get("X-App-Instance"), "sample-%d", &pid); err != nil {
		t.Fatal(err)
	}
	if err := signalTo(pid, os.Kill); err != nil {
		t.Fatal(err)
	}
	if r := e.get("/api/contacts"); r.StatusCode != http.StatusOK {
		t.Errorf("%d %s: want it to wait for the next one", r.StatusCode, r.Text)
	}
	if now := e.poolStatus().Replicas; len(now) != 1 || now[0].Address == address {
		t.Errorf("%+v: want one, elsewhere than %s", now, address)
	}
}

func TestCheckMissesTheProgram(t *testing.T) {
	of := func(command string) lb.Config {
		return lb.Config{Discover: []named.Spec{{Name: "static", Args: []string{"a:1"}}, {Name: "process", Args: []string{command}}}}
	}
	want := `[discover process: exec: "no-such-program-here": executable file not found in $PATH: want a program of this machine]`
	if got := fmt.Sprint(missingPrograms(of("no-such-program-here"))); got != want {
		t.Errorf("%s: want %s", got, want)
	}
	if got := missingPrograms(of("sh")); len(got) != 0 {
		t.Errorf("%v: want nothing of a program that is there", got)
	}
}
