package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/redistest"
)

type readiness struct {
	Status       string
	Dependencies []dependency
}

type dependency struct {
	Name, Severity, Detail, Latency string
	OK                              bool
	Checked, Since                  time.Time
}

func TestReadyzTellsHowThingsAreAndSinceWhen(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := startEdge(t, staticPool(address), pagesSite)
	severities := map[string]string{"pool app": "critical", "purge journal": "degraded", "disk": "degraded", "certificates": "degraded", "clock": "notice"}
	eventually(t, "everything was asked, and is well", func() bool {
		var r readiness
		if e.control(http.MethodGet, "readyz", nil, &r) != http.StatusOK || len(r.Dependencies) != len(severities) {
			return false
		}
		for _, d := range r.Dependencies {
			// Whether this machine has its clock from elsewhere is not the gateway's doing.
			if severities[d.Name] != d.Severity || !d.OK && d.Name != "clock" || d.Checked.IsZero() || d.Since.IsZero() || d.Since.After(d.Checked) {
				return false
			}
		}
		return true
	})
}

func TestAnAnswerOfReadyzWaitsForNothing(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := startEdge(t, staticPool(address), pagesSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	a := live.Load()
	// In place of the checks one that hangs for as long as the test lasts.
	a.watch.Close()
	asked := make(chan struct{}, 1)
	a.watch = health.Start(&a.gateway.history, nil, health.Check{
		Name: "hangs", Severity: health.Critical, Every: time.Hour, Patience: time.Hour,
		Ask: func(ctx context.Context) (string, error) {
			asked <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		},
	})
	<-asked
	quickest := time.Hour
	for range 50 { // of many answers the quickest tells what it takes without other processes
		began := time.Now()
		r := controlled{}.Ready(t.Context())
		quickest = min(quickest, time.Since(began))
		if !slices.ContainsFunc(r.Dependencies, func(d control.Dependency) bool { return d.Name == "hangs" }) {
			t.Fatalf("%+v: the check is not among them", r)
		}
	}
	if quickest > 5*time.Millisecond {
		t.Errorf("the quickest of 50 answers took %v: want less than 5 ms", quickest)
	}
	if code := e.get("/.edge/readyz").StatusCode; code != http.StatusOK {
		t.Errorf("readyz while a check hangs: %d: want 200, as before", code)
	}
}

func TestADiskThatTakesNothingIsDown(t *testing.T) {
	folder := t.TempDir()
	a := &App{StateDir: folder}
	if detail, err := a.askDisk(t.Context()); err != nil || !strings.HasPrefix(detail, folder) {
		t.Errorf("a good folder: %q, %v", detail, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 0 {
		t.Errorf("probes are left: %v, %v", left, err)
	}
	a.StateDir = filepath.Join(folder, "gone")
	if _, err := a.askDisk(t.Context()); err == nil {
		t.Error("a folder that is not there is well")
	}
}

func TestATargetIsJudgedByTheNewestPurgeThatReachedIt(t *testing.T) {
	failed := purge.Record{Targets: []purge.TargetState{{Name: "cloudflare", Attempts: 3, Error: &purge.TargetError{HTTP: 403, Message: "no"}}}}
	went := purge.Record{Targets: []purge.TargetState{{Name: "cloudflare", Attempts: 1}}}
	waits := purge.Record{Targets: []purge.TargetState{{Name: "cloudflare"}}}
	for name, c := range map[string]struct {
		records []purge.Record
		down    bool
	}{
		"none": {nil, false}, "the newest failed": {[]purge.Record{waits, failed, went}, true}, "it recovered": {[]purge.Record{went, failed}, false},
	} {
		if _, err := targetState("cloudflare", c.records); (err != nil) != c.down {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A real redis-server goes and comes back, on a line that a test cuts.
func TestRedisIsAmongTheDependenciesOfAFleet(t *testing.T) {
	redis := redistest.New(t)
	line := newLine(t, filepath.Join(redis.Dir, "line"), redis)
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := startEdge(t, fmt.Sprintf("fleet unix://%s {\n\tlease 2s\n}\n", line.Socket)+staticPool(address), pagesSite)
	is := func(ok bool) bool {
		var r readiness
		code := e.control(http.MethodGet, "readyz", nil, &r)
		return slices.ContainsFunc(r.Dependencies, func(d dependency) bool {
			return d.Name == "redis" && d.OK == ok && !d.Checked.IsZero() && d.Latency != "" && d.Severity == "degraded" && code == http.StatusOK
		})
	}
	within(t, time.Minute, "redis answers", func() bool { return is(true) })
	line.Cut()
	within(t, time.Minute, "redis is down, and visitors are served", func() bool { return is(false) && e.get("/").StatusCode == http.StatusOK })
	line.Mend()
	within(t, time.Minute, "redis answers again", func() bool { return is(true) })
}
