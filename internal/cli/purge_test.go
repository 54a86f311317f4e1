package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge"
)

func TestEveryOutcomeOfAnOrderHasItsExitCode(t *testing.T) {
	cases := map[string]struct {
		become func(*purge.Record)
		expect string
		exit   int
		says   string
	}{
		"done":                               {done, "", ExitDone, ""},
		"the CDN refuses the token":          {targetFails(purge.NotAllowed), "", ExitNotAllowed, "refused the gateway's token"},
		"the CDN cannot be reached":          {targetFails(purge.Unreachable), "", ExitPartial, "not every target is purged"},
		"rate limited until the deadline":    {targetFails(purge.RateLimited), "", ExitRateLimited, "code 1134: limit reached"},
		"the replicas never got there":       {func(r *purge.Record) { r.State = purge.Failed }, "v2", ExitGate, "nothing was purged"},
		"canceled by someone else":           {func(r *purge.Record) { r.State = purge.Canceled }, "", ExitPartial, "canceled"},
		"failed before anything was applied": {func(r *purge.Record) { r.State, r.Error = purge.Failed, "generation: disk full" }, "", ExitPartial, "disk full"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGateway()
			g.become = tc.become
			s := newSite(t, g)
			got := runPurge(t.Context(), PurgeConfig{Connection: s.connection(), Tags: []string{"a"}, Expect: tc.expect})
			if got.code != tc.exit || !strings.Contains(got.stderr, tc.says) {
				t.Errorf("exit %d, want %d and %q\n%s%s", got.code, tc.exit, tc.says, got.stderr, got.stdout)
			}
			if want := fmt.Sprintf("exit %d", tc.exit); !strings.Contains(got.stdout, want) {
				t.Errorf("receipt %q: want %q in it", got.stdout, want)
			}
			if strings.Contains(got.stdout+got.stderr, token) {
				t.Error("the token was printed")
			}
		})
	}
}

func TestTheFlagsAreHandedOn(t *testing.T) {
	s := newSite(t, newGateway())
	urls := file(t, "\ufeffhttps://a.example/1\r\n\n# two are left out\n  https://a.example/2\n")
	got := runPurge(t.Context(), PurgeConfig{
		Connection: s.connection(), URLs: []string{"https://a.example/3"}, URLFile: urls, Tags: []string{"t"},
		Prefixes: []string{"a.example/p"}, Hosts: []string{"b.example"}, Versions: []string{"v1"},
		Soft: true, Expect: "v2", Reason: "release", IdempotencyKey: "ci-7",
	})
	// The gate is not among the steps: the gateway here has no replicas.
	if got.code != ExitDone {
		t.Fatalf("exit %d: %s", got.code, got.stderr)
	}
	want := purge.Order{
		IdempotencyKey: "ci-7", Soft: true, Expect: "v2", Reason: "release", Actor: "token 1 from 127.0.0.1",
		Selectors: purge.Selectors{
			URLs: []string{"https://a.example/1", "https://a.example/2", "https://a.example/3"},
			Tags: []string{"t"}, Prefixes: []string{"a.example/p"}, Hosts: []string{"b.example"}, Versions: []string{"v1"},
		},
	}
	if !reflect.DeepEqual(s.orders[0], want) {
		t.Errorf("order\n%+v, want\n%+v", s.orders[0], want)
	}
	for _, line := range []string{"purge p1 accepted", "purge p1 done", "step node: 7 entries"} {
		if strings.Count(got.stderr, line) != 1 {
			t.Errorf("progress %q: want %q once", got.stderr, line)
		}
	}
}

func TestMistakesMakeNoCall(t *testing.T) {
	empty := file(t, "# nothing changed\n\n")
	cases := map[string]struct {
		config PurgeConfig
		says   []string
	}{
		"no selector":                   {PurgeConfig{}, []string{"no selector"}},
		"empty url file":                {PurgeConfig{URLFile: empty}, []string{"holds no URL"}},
		"empty url file beside a tag":   {PurgeConfig{URLFile: empty, Tags: []string{"a"}}, []string{"holds no URL"}},
		"url file that is not there":    {PurgeConfig{URLFile: empty + "x"}, []string{"no such file"}},
		"everything and a tag":          {PurgeConfig{Everything: true, Yes: true, Tags: []string{"a"}}, []string{"everything alone"}},
		"everything without a terminal": {PurgeConfig{Everything: true}, []string{"want --yes"}},
		"everything, not confirmed":     {PurgeConfig{Everything: true, Confirm: strings.NewReader("y\n")}, []string{"not confirmed"}},
		"everything, terminal closed":   {PurgeConfig{Everything: true, Confirm: strings.NewReader("")}, []string{"not confirmed"}},
		"all mistakes at once": {
			PurgeConfig{URLs: []string{"/x"}, Tags: []string{"a b"}, Verify: []string{"ftp://x"}, Wait: -1, Connection: Connection{Server: "edge:2019"}},
			[]string{`urls "/x"`, `tags "a b"`, `verify "ftp://x"`, "wait -1ns", `server "edge:2019"`},
		},
		"too many URLs to verify": {PurgeConfig{Tags: []string{"a"}, Verify: make([]string, 101)}, []string{"at most 100"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, newGateway())
			if tc.config.Server == "" {
				tc.config.Connection = s.connection()
			}
			got := runPurge(t.Context(), tc.config)
			if got.code != ExitUsage || s.calls.Load() != 0 || got.stdout != "" {
				t.Errorf("exit %d, %d calls, stdout %q: want 2, none, none", got.code, s.calls.Load(), got.stdout)
			}
			for _, want := range tc.says {
				if !strings.Contains(got.stderr, want) {
					t.Errorf("said %q: want %q in it", got.stderr, want)
				}
			}
		})
	}
}

func TestEverythingIsPurgedOnceConfirmed(t *testing.T) {
	for name, config := range map[string]PurgeConfig{
		"by yes":         {Yes: true},
		"on a terminal":  {Confirm: strings.NewReader("YES\n")},
		"not in earnest": {DryRun: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, newGateway())
			config.Connection, config.Everything = s.connection(), true
			if got := runPurge(t.Context(), config); got.code != ExitDone || len(s.orders) != 1 || !s.orders[0].Everything {
				t.Errorf("exit %d, orders %+v: %s", got.code, s.orders, got.stderr)
			}
		})
	}
}

func TestWhatTheGatewayRefuses(t *testing.T) {
	mistaken := &purge.Mistake{Field: "expect", Value: "v2", Want: "none: this gateway sees no versions"}
	for name, tc := range map[string]struct {
		refuse error
		exit   int
		says   string
	}{
		"the key of another order":   {purge.ErrConflict, ExitUsage, "want a new key"},
		"a mistake that it knows of": {mistaken, ExitUsage, "this gateway sees no versions"},
		"a fault of its own":         {io.ErrUnexpectedEOF, ExitUnreachable, "--idempotency-key"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway()
			g.refuse = tc.refuse
			s := newSite(t, g)
			got := runPurge(t.Context(), PurgeConfig{Connection: s.connection(), Tags: []string{"a"}})
			if got.code != tc.exit || !strings.Contains(got.stderr, tc.says) || s.calls.Load() != 1 {
				t.Errorf("exit %d after %d calls, want %d after one: %s", got.code, s.calls.Load(), tc.exit, got.stderr)
			}
		})
	}
}

func TestAWrongTokenIsNotAllowed(t *testing.T) {
	s := newSite(t, newGateway())
	for name, environ := range map[string]map[string]string{"none": {}, "wrong": {TokenEnv: "wrong"}} {
		got := runPurge(t.Context(), PurgeConfig{Connection: Connection{Server: s.url, Getenv: environment(environ)}, Tags: []string{"a"}})
		if got.code != ExitNotAllowed || len(s.orders) != 0 {
			t.Errorf("token %s: exit %d, want 3: %s", name, got.code, got.stderr)
		}
	}
}

func TestJSONIsExactlyOneObject(t *testing.T) {
	s := newSite(t, newGateway())
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for name, tc := range map[string]struct {
		ctx    context.Context
		config PurgeConfig
		exit   int
		state  string
	}{
		"done":        {t.Context(), PurgeConfig{Connection: s.connection(), Tags: []string{"a"}}, ExitDone, "done"},
		"dry run":     {t.Context(), PurgeConfig{Connection: s.connection(), Tags: []string{"a"}, DryRun: true}, ExitDone, "planned"},
		"no selector": {t.Context(), PurgeConfig{Connection: s.connection()}, ExitUsage, ""},
		"not allowed": {t.Context(), PurgeConfig{Connection: Connection{Server: s.url, Getenv: environment(nil)}, Tags: []string{"a"}}, ExitNotAllowed, ""},
		"interrupted": {interrupted, PurgeConfig{Connection: s.connection(), Tags: []string{"a"}}, ExitInterrupted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tc.config.JSON = true
			got := runPurge(tc.ctx, tc.config)
			var report map[string]any
			decoder := json.NewDecoder(strings.NewReader(got.stdout))
			if err := decoder.Decode(&report); err != nil || decoder.More() {
				t.Fatalf("stdout %q: want one object, %v", got.stdout, err)
			}
			state, _ := report["state"].(string)
			if got.code != tc.exit || report["exit"] != float64(tc.exit) || state != tc.state {
				t.Errorf("exit %d, report %v: want exit %d, state %q", got.code, report, tc.exit, tc.state)
			}
			if (report["error"] == nil) != (tc.exit == ExitDone) {
				t.Errorf("error %v: want one unless the exit code is 0", report["error"])
			}
		})
	}
}

func TestAnInterruptedCommandLeavesTheOrderRunning(t *testing.T) {
	g := newGateway()
	waiting := make(chan struct{}, 100)
	g.become = func(r *purge.Record) { r.State = purge.Running; waiting <- struct{}{} }
	s := newSite(t, g)
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		<-waiting
		interrupt()
	}()
	got := runPurge(ctx, PurgeConfig{Connection: s.connection(), Tags: []string{"a"}})
	if got.code != ExitInterrupted || !strings.Contains(got.stderr, "purge p1 goes on") {
		t.Errorf("exit %d: %s, want 130 and the order's id", got.code, got.stderr)
	}
}

func TestAnInterruptAtTheQuestionPurgesNothing(t *testing.T) {
	s := newSite(t, newGateway())
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	terminal, typed := io.Pipe()
	defer typed.Close()
	got := runPurge(ctx, PurgeConfig{Connection: s.connection(), Everything: true, Confirm: terminal})
	if got.code != ExitInterrupted || s.calls.Load() != 0 {
		t.Errorf("exit %d after %d calls: want 130, none", got.code, s.calls.Load())
	}
}

func TestAnOrderThatTakesLongerThanTheWait(t *testing.T) {
	for name, tc := range map[string]struct {
		become func(*purge.Record)
		expect string
		exit   int
	}{
		"still running":           {func(r *purge.Record) { r.State = purge.Running }, "", ExitPartial},
		"rate limited by the CDN": {func(r *purge.Record) { targetFails(purge.RateLimited)(r); r.State = purge.Running }, "", ExitRateLimited},
		"still at the gate":       {func(r *purge.Record) { r.State = purge.Running }, "v2", ExitGate},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway()
				g.become = tc.become
				c := Connection{Server: "http://edge.test/.edge", Getenv: environment(map[string]string{TokenEnv: token})}
				c.Transport = bubble(t, (&site{gateway: g}).handler())
				began := time.Now()
				got := runPurge(t.Context(), PurgeConfig{Connection: c, Tags: []string{"a"}, Expect: tc.expect, Wait: 45 * time.Second})
				if took := time.Since(began); got.code != tc.exit || took != 45*time.Second {
					t.Errorf("exit %d after %v, want %d after 45s: %s", got.code, took, tc.exit, got.stderr)
				}
				if !strings.Contains(got.stderr, "goes on at the gateway") {
					t.Errorf("said %q: want that it goes on", got.stderr)
				}
			})
		})
	}
}

func TestAGatewayThatAnswersAtOnceIsNotFlooded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"id":"p1","state":"running"}`)
		})
		c := Connection{Server: "http://edge.test", Getenv: environment(nil), Transport: bubble(t, handler)}
		got := runPurge(t.Context(), PurgeConfig{Connection: c, Tags: []string{"a"}, Wait: 10 * time.Second})
		// One order, then a question each half second.
		if got.code != ExitPartial || calls > 22 {
			t.Errorf("exit %d after %d calls: want 4 after 22 at most", got.code, calls)
		}
	})
}
