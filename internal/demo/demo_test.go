package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// swift is a schedule whose acts follow each other at once.
var swift = schedule{settle: time.Second}

// stage is a demo in front of a small gateway, with real replicas.
func stage(t *testing.T, c Config, m *miniature) *demo {
	t.Helper()
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.Executable = program
	d := newDemo(c.withDefaults(), workplace{dir: dir})
	d.gateway = startMiniature(t, m)
	d.cloudflareCalls = func() int { return 2 }
	log, err := os.Create(filepath.Join(dir, "replicas.log"))
	if err != nil {
		t.Fatal(err)
	}
	d.replicas = &replicas{
		control: d.gateway.control, executable: program, note: d.account.note, log: log,
		assets: filepath.Join(dir, "assets"), // The race detector sleeps a second before each process ends, unless told.
		env:    append(os.Environ(), sessionKeyEnv+"=a key for tests", "GORACE=atexit_sleep_ms=0"),
	}
	t.Cleanup(func() {
		if err := errors.Join(d.replicas.end(), log.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := d.replicas.add(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	return d
}

// said is a writer that many may use.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestTheWholePlay(t *testing.T) {
	t.Setenv("TEST_PURGE_SAYS", `{"id":"d1","state":"done","exit":0,"purged":{"id":"p1","steps":[{"name":"generation"},{"name":"node"}]}}`)
	var out, account said
	m := new(miniature)
	d := stage(t, Config{Visitors: 6, JSON: true, Out: &out, Err: &account}, m)
	s, err := d.play(t.Context(), swift)
	if err != nil {
		t.Fatal(err)
	}
	if !s.OK || s.Failures != 0 || s.StaleAfterPurge != 0 || s.PagesV1 == 0 || s.PagesV2 == 0 || s.ReplicasMax != 5 {
		t.Errorf("summary %+v", s)
	}
	if p := s.Purge; p.ID != "p1" || p.State != "done" || p.CloudflareCalls != 2 || strings.Join(p.Steps, " ") != "generation node" {
		t.Errorf("purge %+v", p)
	}
	// Four old replicas leave in the deploy, three new ones in the scale-down.
	if m.drains != 7 || len(m.replicas) != 1 {
		t.Errorf("%d drains, %d replicas left: want 7, 1", m.drains, len(m.replicas))
	}
	var printed Summary
	if err := json.Unmarshal([]byte(out.String()), &printed); err != nil || printed.Requests != s.Requests {
		t.Errorf("printed %s, %v: want the summary only", out.String(), err)
	}
	for _, part := range []string{"scale from 1 to 4", "4 of 4 replicas run v2", "purge: p1 done, exit 0", "scale from 4", "hit ratio"} {
		if !strings.Contains(account.String(), part) {
			t.Errorf("the account does not tell %q:\n%s", part, account.String())
		}
	}
}

func TestOldPagesAfterThePurgeAreSeen(t *testing.T) {
	t.Setenv("TEST_PURGE_SAYS", `{"id":"p1","state":"done"}`)
	d := stage(t, Config{Visitors: 6}, &miniature{stuck: true})
	s, err := d.play(t.Context(), swift)
	if err != nil {
		t.Fatal(err)
	}
	if s.OK || s.StaleAfterPurge == 0 || s.StaleServed == 0 {
		t.Errorf("summary %+v: want old pages after the purge", s)
	}
	if s.Failures != 0 {
		t.Errorf("failures %v: old pages find their assets in the shared directory", s.FailuresSeen)
	}
}

func TestAPurgeThatFailedIsNotOK(t *testing.T) {
	for name, c := range map[string]struct{ says, exit, wantState, wantError string }{
		"partial":   {`{"state":"partial","error":"cloudflare: 500","purged":{"id":"p"}}`, "4", "partial", "exit status 4"},
		"no record": {`usage: edge deploy`, "2", "", "no record"},
	} {
		t.Setenv("TEST_PURGE_SAYS", c.says)
		t.Setenv("TEST_PURGE_EXIT", c.exit)
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		d := newDemo(Config{Executable: program}.withDefaults(), workplace{})
		d.gateway = &gateway{control: newController("http://127.0.0.1:1/.edge", "")}
		d.cloudflareCalls = func() int { return 0 }
		d.purge(t.Context())
		got := d.purgeDone()
		if got.State != c.wantState || !strings.Contains(got.Error, c.wantError) || got.Exit == 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if !d.tally.purged.IsZero() {
			t.Errorf("%s: counted as acknowledged", name)
		}
	}
	d := newDemo(Config{Executable: "/nowhere/edge"}.withDefaults(), workplace{})
	d.gateway = &gateway{control: newController("http://127.0.0.1:1/.edge", "")}
	d.cloudflareCalls = func() int { return 0 }
	if d.purge(t.Context()); d.purgeDone().Exit != -1 {
		t.Errorf("no such program: %+v: want exit -1", d.purgeDone())
	}
}

func TestKeepingGoesOnUntilTheEndIsAskedFor(t *testing.T) {
	t.Setenv("TEST_PURGE_SAYS", `{"id":"p1","state":"done"}`)
	told := make(chan struct{})
	out := &watcher{until: "Ctrl-C ends everything", seen: told}
	d := stage(t, Config{Visitors: 2, Keep: true, Out: out}, new(miniature))
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		<-told
		interrupt()
	}()
	s, err := d.play(ctx, swift)
	if err != nil || !s.OK {
		t.Errorf("%+v, %v: an end that was asked for is none too early", s, err)
	}
	if got := len(d.replicas.now()); got != 3 {
		t.Errorf("%d replicas to look at: want 3", got)
	}
}

// watcher closes seen when the text was written.
type watcher struct {
	said
	until string
	seen  chan struct{}
	once  sync.Once
}

func (w *watcher) Write(p []byte) (int, error) {
	n, err := w.said.Write(p)
	if strings.Contains(string(p), w.until) {
		w.once.Do(func() { close(w.seen) })
	}
	return n, err
}

func TestAnInterruptEndsThePlay(t *testing.T) {
	d := stage(t, Config{Visitors: 2}, new(miniature))
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	s, err := d.play(ctx, plan(time.Hour))
	if !errors.Is(err, context.Canceled) || s.OK || s.Failures != 0 {
		t.Errorf("%+v, %v: want an interrupted run without failures", s, err)
	}
}

func TestAPanicEndsThePlayInOrder(t *testing.T) {
	c := new(crowd)
	c.ctx, c.cancel = context.WithCancelCause(t.Context())
	c.leave, c.going = context.WithCancel(c.ctx)
	c.start(func() { panic("a visitor's") })
	<-c.ctx.Done()
	if err := context.Cause(c.ctx); !strings.Contains(err.Error(), "panic: a visitor's") {
		t.Errorf("cause %v", err)
	}
	c.disperse()
}

func TestRunSaysWhyTheGatewayDoesNotStart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out said
	_, err := Run(t.Context(), Config{Out: &out}) // this binary is no gateway
	if err == nil || !strings.Contains(err.Error(), "no such Caddyfile directive") {
		t.Errorf("%v: want what the gateway said", err)
	}
	if !strings.Contains(out.String(), "logs and configuration are in") {
		t.Errorf("said %s", out.String())
	}
}

func TestAnInterruptedRunLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	if _, err := Run(ctx, Config{}); err == nil {
		t.Error("no error: want that the demo was not played")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	_, err := Run(t.Context(), Config{Duration: time.Second, Visitors: 501, Listen: "8080", Admin: "127.0.0.1:0"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{"duration 1s: want at least 15s", "visitors 501: want 1 to 500", `listen "8080"`, `admin "127.0.0.1:0"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not say %q", err, part)
		}
	}
}
