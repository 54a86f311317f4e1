package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/control"
)

// poolOf is the status of a pool app, and of more pools, whose one replica r1 is
// in this state; without a state it is not listed.
func poolOf(state string, more ...string) control.Status {
	replicas := []map[string]any{}
	if state != "" {
		replicas = append(replicas, map[string]any{"id": "r1", "address": "10.0.0.1:3000", "state": state})
	}
	pools := []map[string]any{{"name": "app", "replicas": replicas}}
	for _, name := range more {
		pools = append(pools, map[string]any{"name": name})
	}
	return control.Status{Pools: pools}
}

func runDrain(t *testing.T, g *gateway, c DrainConfig) outcome {
	t.Helper()
	c.Connection = newSite(t, g).connection()
	var stdout, stderr bytes.Buffer
	code := Drain(t.Context(), c, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func TestDrain(t *testing.T) {
	one := []control.Drainee{{ID: "r1", Address: "10.0.0.1:3000", Version: "v1", State: "draining"}}
	for name, c := range map[string]struct {
		config DrainConfig
		answer []control.Drainee
		refuse error
		states []string // of r1, at each look
		pools  []string // besides app
		code   int
		order  string // as the gateway got it
		stdout string
		stderr string
	}{
		"a replica":                        {config: DrainConfig{Replica: "r1"}, answer: one, order: "app {Replica:r1 Version: Force:false} false", stdout: "r1 10.0.0.1:3000 v1: draining\n"},
		"a version of a pool by name":      {config: DrainConfig{Version: "v1", Pool: "shop", Force: true}, answer: one, order: "shop {Replica: Version:v1 Force:true} false", stdout: "r1 10.0.0.1:3000 v1: draining\n"},
		"undone":                           {config: DrainConfig{Version: "v1", Undo: true}, answer: one, order: "app {Replica: Version:v1 Force:false} true", stdout: "r1 10.0.0.1:3000 v1: draining\n"},
		"undone, and nobody was aside":     {config: DrainConfig{Version: "v1", Undo: true}, order: "app {Replica: Version:v1 Force:false} true", stderr: "nothing to take back"},
		"awaited":                          {config: DrainConfig{Replica: "r1", Wait: time.Minute}, answer: one, states: []string{"up", "draining", "drained"}, order: "app {Replica:r1 Version: Force:false} false", stdout: "r1 10.0.0.1:3000 v1: drained\n"},
		"awaited until it is gone":         {config: DrainConfig{Replica: "r1", Wait: time.Minute}, answer: one, states: []string{"up", "draining", ""}, order: "app {Replica:r1 Version: Force:false} false", stdout: "r1 10.0.0.1:3000 v1: gone\n"},
		"undone and awaited":               {config: DrainConfig{Replica: "r1", Undo: true, Wait: time.Minute}, answer: one, states: []string{"drained", "joining", "up"}, order: "app {Replica:r1 Version: Force:false} true", stdout: "r1 10.0.0.1:3000 v1: up\n"},
		"not finished in time":             {config: DrainConfig{Replica: "r1", Wait: 600 * time.Millisecond}, answer: one, states: []string{"up", "draining"}, code: ExitPartial, order: "app {Replica:r1 Version: Force:false} false", stdout: "r1 10.0.0.1:3000 v1: draining\n", stderr: "not within 600ms: 10.0.0.1:3000 is draining; the gateway goes on"},
		"the last one":                     {config: DrainConfig{Replica: "r1"}, refuse: fmt.Errorf("pool app: %w", control.ErrLastReplica), code: ExitUsage, order: "app {Replica:r1 Version: Force:false} false", stderr: "--force"},
		"an unknown one":                   {config: DrainConfig{Replica: "r9"}, refuse: control.ErrUnknownReplica, code: ExitUsage, order: "app {Replica:r9 Version: Force:false} false", stderr: "no such replica"},
		"nobody named":                     {config: DrainConfig{}, code: ExitUsage, stderr: "want --replica ID or --version V"},
		"both named":                       {config: DrainConfig{Replica: "r1", Version: "v1"}, code: ExitUsage, stderr: "one of them"},
		"forced and undone":                {config: DrainConfig{Replica: "r1", Undo: true, Force: true}, code: ExitUsage, stderr: "--undo and --force"},
		"several pools, and none is named": {config: DrainConfig{Replica: "r1"}, pools: []string{"shop"}, code: ExitUsage, stderr: "2 pools: want --pool, one of app, shop"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway()
			g.status = poolOf("up", c.pools...)
			looks := 0
			g.seen = func() {
				if looks < len(c.states) {
					g.status = poolOf(c.states[looks])
					looks++
				}
			}
			order := ""
			g.drained = func(pool string, o control.DrainOrder, undo bool) ([]control.Drainee, error) {
				order = fmt.Sprintf("%s %+v %v", pool, o, undo)
				return c.answer, c.refuse
			}
			got := runDrain(t, g, c.config)
			if got.code != c.code || got.stdout != c.stdout || order != c.order {
				t.Errorf("exit %d, stdout %q, order %q: want %d, %q, %q\n%s", got.code, got.stdout, order, c.code, c.stdout, c.order, got.stderr)
			}
			if !strings.Contains(got.stderr, c.stderr) || (c.stderr == "" && got.stderr != "") {
				t.Errorf("stderr %q: want %q", got.stderr, c.stderr)
			}
		})
	}
}

func TestDrainAsJSON(t *testing.T) {
	g := newGateway()
	g.status = poolOf("up")
	g.drained = func(string, control.DrainOrder, bool) ([]control.Drainee, error) { return nil, control.ErrLastReplica }
	got := runDrain(t, g, DrainConfig{Replica: "r1", JSON: true})
	var report DrainReport
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatalf("%v in %q", err, got.stdout)
	}
	if report.Pool != "app" || report.Replicas == nil || report.Exit != ExitUsage || report.Error == "" || got.code != ExitUsage {
		t.Errorf("%+v, exit %d: want the failure in it", report, got.code)
	}
}
