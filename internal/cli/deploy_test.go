package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

func runDeploy(ctx context.Context, c DeployConfig) outcome {
	var stdout, stderr bytes.Buffer
	code := Deploy(ctx, c, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// see shows the pool app, with one healthy replica of each version.
func (g *gateway) see(versions ...string) deploy.Findings {
	s := deploy.Sight{Pool: "app"}
	for _, version := range versions {
		s.Replicas = append(s.Replicas, deploy.Replica{ID: version, Name: "app/" + version, Version: version, State: "up"})
	}
	return g.book.Look(time.Now(), s)
}

// arrives has every replica run the version, and its purge ordered, which ends
// as the gateway's become says.
func (g *gateway) arrives(t *testing.T) func(deploy.Record) {
	return func(r deploy.Record) {
		if r.Stage != deploy.Waiting {
			return
		}
		for _, o := range g.see(r.Version).Orders {
			p, err := g.Submit(t.Context(), purge.Order{Selectors: purge.Selectors{Versions: o.Versions}, IdempotencyKey: o.Deploy})
			if err != nil {
				t.Error(err)
				return
			}
			g.become(&p)
			g.book.Ordered(o.Deploy, p.ID)
			g.book.Purged(time.Now(), o.Deploy, deploy.Outcome{Final: true, State: string(p.State), Exit: purge.ExitCode(p)})
		}
	}
}

// versioned is a website where the page /V is of version V.
func versioned(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", strings.Trim(r.URL.Path, "/"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestDeployEndsWithAnExitCodeThatTells(t *testing.T) {
	for name, c := range map[string]struct {
		become func(*purge.Record)
		config DeployConfig
		roll   bool
		code   int
		says   string // on stderr
	}{
		"done":                           {done, DeployConfig{Version: "v2"}, true, 0, "deploy d"},
		"done, and verified":             {done, DeployConfig{Version: "v2", Verify: []string{"PROBE/v2"}}, true, 0, "new"},
		"done, but a page is still old":  {done, DeployConfig{Version: "v2", Verify: []string{"PROBE/v1"}, Wait: 2 * time.Second}, true, 6, `is done, but: purge p1 is applied, but 1 of 1 URLs`},
		"a target fails":                 {targetFails(purge.RateLimited), DeployConfig{Version: "v2"}, true, 5, "rate limited by a target"},
		"the rollout does not arrive":    {done, DeployConfig{Version: "v2", Timeout: time.Millisecond}, false, 7, "nothing purged"},
		"the caller waits less than so":  {done, DeployConfig{Version: "v2", Wait: 600 * time.Millisecond}, false, 7, "is still waiting after 600ms, and goes on at the gateway: not there yet: app/v1 version v1 up"},
		"no version":                     {done, DeployConfig{}, false, 2, "no version"},
		"every mistake at once":          {done, DeployConfig{Version: "a b", Timeout: -1, Wait: -1, Verify: []string{"x"}}, false, 2, "timeout -1ns"},
		"cancel and version":             {done, DeployConfig{Version: "v2", Cancel: "d1"}, false, 2, "want one of them"},
		"cancel what is not known":       {done, DeployConfig{Cancel: "d1"}, false, 2, "no such deploy"},
		"nothing of it, only what would": {done, DeployConfig{Version: "v2", DryRun: true}, false, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway()
			g.become = c.become
			g.see("v1")
			if c.roll {
				g.roll = g.arrives(t)
			} else if c.config.Timeout == time.Millisecond {
				g.roll = func(deploy.Record) { g.book.Look(time.Now().Add(time.Second), deploy.Sight{Pool: "app"}) }
			} else {
				g.roll = func(deploy.Record) { g.see("v1") }
			}
			s := newSite(t, g)
			visited := versioned(t)
			c.config.Connection = s.connection()
			for i := range c.config.Verify {
				c.config.Verify[i] = strings.Replace(c.config.Verify[i], "PROBE", visited, 1)
			}
			o := runDeploy(t.Context(), c.config)
			if o.code != c.code || !strings.Contains(o.stderr, c.says) {
				t.Errorf("exit %d, %s: want %d, %q", o.code, o.stderr, c.code, c.says)
			}
			c.config.JSON, c.config.IdempotencyKey = true, "again"
			o = runDeploy(t.Context(), c.config)
			var report DeployReport
			if err := json.Unmarshal([]byte(o.stdout), &report); err != nil || report.Exit != o.code || report.Error == "" != (o.code == 0) {
				t.Errorf("%v: exit %d, %s", err, o.code, o.stdout)
			}
		})
	}
}

func TestADeployIsCancelledFromTheCommandLine(t *testing.T) {
	g := newGateway()
	g.see("v1")
	s := newSite(t, g)
	ctx, interrupt := context.WithCancel(t.Context())
	taken := make(chan string, 1)
	g.roll = func(r deploy.Record) {
		g.see("v1")
		taken <- r.ID
	}
	called := make(chan outcome)
	go func() { called <- runDeploy(ctx, DeployConfig{Connection: s.connection(), Version: "v2"}) }()
	id := <-taken
	interrupt()
	if o := <-called; o.code != ExitInterrupted {
		t.Errorf("exit %d, %s", o.code, o.stderr)
	}
	if r, _ := g.book.Get(id); r.Stage != deploy.Waiting {
		t.Errorf("interrupted: %+v: want that it goes on", r)
	}
	for range 2 {
		o := runDeploy(t.Context(), DeployConfig{Connection: s.connection(), Cancel: id})
		if r, _ := g.book.Get(id); r.Stage != deploy.Canceled {
			t.Errorf("exit %d, %+v", o.code, r)
		}
		if strings.Contains(o.stderr, "finished") != (o.code == ExitUsage) {
			t.Errorf("exit %d, %s", o.code, o.stderr)
		}
	}
}

func TestTheHistoryOfDeploysIsShown(t *testing.T) {
	g := newGateway()
	s := newSite(t, g)
	show := func(c DeploysConfig) outcome {
		c.Connection = s.connection()
		var stdout, stderr bytes.Buffer
		code := Deploys(t.Context(), c, &stdout, &stderr)
		return outcome{code, stdout.String(), stderr.String()}
	}
	if o := show(DeploysConfig{}); o.code != 0 || !strings.Contains(o.stdout, "no deploy yet") {
		t.Errorf("%+v", o)
	}
	g.see("v1")
	g.see("v1", "v2")
	o := show(DeploysConfig{Pool: "app"})
	if o.code != 0 || !strings.Contains(o.stdout, "rolling") || !strings.Contains(o.stdout, "v2") {
		t.Errorf("%+v", o)
	}
	if o := show(DeploysConfig{Pool: "other"}); !strings.Contains(o.stdout, "no deploy yet") {
		t.Errorf("%+v", o)
	}
	if o := show(DeploysConfig{JSON: true}); !json.Valid([]byte(o.stdout)) {
		t.Errorf("%+v", o)
	}
}

func TestPurgeCancelsAPurge(t *testing.T) {
	g := newGateway()
	s := newSite(t, g)
	for name, c := range map[string]struct {
		config PurgeConfig
		says   string
	}{
		"with a selector": {PurgeConfig{Cancel: "p1", Tags: []string{"a"}}, "want one of them"},
		"not known":       {PurgeConfig{Cancel: "p1"}, "no such purge"},
	} {
		c.config.Connection = s.connection()
		if o := runPurge(t.Context(), c.config); o.code != ExitUsage || !strings.Contains(o.stderr, c.says) {
			t.Errorf("%s: %+v", name, o)
		}
	}
	r, err := g.Submit(t.Context(), purge.Order{Selectors: purge.Selectors{Tags: []string{"a"}}})
	if err != nil {
		t.Fatal(err)
	}
	// It ends when what is under way has.
	asked := 0
	g.become = func(r *purge.Record) {
		if asked++; asked == 2 {
			r.State = purge.Canceled
		}
	}
	o := runPurge(t.Context(), PurgeConfig{Connection: s.connection(), Cancel: r.ID})
	if o.code != 0 || !strings.Contains(o.stdout, "purge "+r.ID+" canceled") || asked != 2 {
		t.Errorf("%d looks: %+v: want what became of it", asked, o)
	}
}
