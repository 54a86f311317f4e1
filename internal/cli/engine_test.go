package cli

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/purge"
)

// engine is a gateway whose orders a real coordinator carries out, with a node
// and a CDN of which a test decides what they say.
type engine struct {
	*gateway
	t     *testing.T
	state string // the journal's folder
	fleet *fleet.Local

	mu          sync.Mutex
	coordinator *purge.Coordinator
	purged      []uint64 // generations, by the node
	cdn         []error  // of its next calls; nil after the last
	behind      []string
}

func newEngine(t *testing.T) *engine {
	e := &engine{gateway: newGateway(), t: t, state: t.TempDir(), fleet: fleet.NewLocal(0)}
	e.start()
	t.Cleanup(e.stop)
	return e
}

// start opens the journal and takes up what an earlier coordinator left.
func (e *engine) start() {
	journal, err := purge.OpenJournal(e.state, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	c := purge.NewCoordinator(journal, purge.Parts{Node: node{e}, Fleet: e.fleet, Targets: []purge.Target{cdn{e}}, Rollout: e}, nil)
	e.mu.Lock()
	e.coordinator = c
	e.mu.Unlock()
	c.Resume()
}

func (e *engine) stop() {
	if err := e.current().Close(); err != nil {
		e.t.Error(err)
	}
}

func (e *engine) current() *purge.Coordinator {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.coordinator
}

func (e *engine) Submit(ctx context.Context, o purge.Order) (purge.Record, error) {
	return e.current().Submit(ctx, o)
}
func (e *engine) Purge(id string) (purge.Record, bool) { return e.current().Get(id) }
func (e *engine) WaitPurge(ctx context.Context, id string) (purge.Record, bool) {
	return e.current().Wait(ctx, id)
}

func (e *engine) Behind(context.Context, string) ([]string, error) { return e.behind, nil }

// node is the engine as purge.Node: its Purge has another signature.
type node struct{ *engine }

func (n node) Generation() uint64  { return n.fleet.Generation() }
func (n node) Draining(uint64) int { return 0 }
func (n node) Purge(_ context.Context, _ purge.Order, generation uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.purged = append(n.purged, generation)
	return nil
}

// cdn is the engine as purge.Target.
type cdn struct{ *engine }

func (cdn) Name() string { return "cdn" }

func (c cdn) Purge(ctx context.Context, _ purge.Order, _ func(context.Context) error, _ func(purge.Result)) (purge.Result, error) {
	c.mu.Lock()
	var err error
	if len(c.engine.cdn) > 0 {
		err, c.engine.cdn = c.engine.cdn[0], c.engine.cdn[1:]
	}
	c.mu.Unlock()
	if err == context.Canceled {
		<-ctx.Done()
		return purge.Result{}, context.Cause(ctx)
	}
	if err != nil {
		return purge.Result{Attempts: 1}, err
	}
	return purge.Result{Batches: 1, Items: 1, Attempts: 1}, nil
}

func (e *engine) serve(up func(http.Handler) http.Handler) Connection {
	api := control.New(control.Config{Gateway: e, Tokens: []string{token}})
	return bubbled(e.t, up(http.StripPrefix("/.edge", api)))
}

func always(h http.Handler) http.Handler { return h }

func TestARealOrderFromEndToEnd(t *testing.T) {
	refused := &purge.TargetError{Kind: purge.NotAllowed, HTTP: 403, Code: 10000, Message: "Authentication error"}
	for name, tc := range map[string]struct {
		config PurgeConfig
		cdn    []error
		behind []string
		exit   int
		purged int // times this node was
		says   string
	}{
		"by tag":               {config: PurgeConfig{Tags: []string{"a"}}, exit: ExitDone, purged: 1, says: "target cdn done: 2 batches, 2 items, 2 attempts"},
		"everything":           {config: PurgeConfig{Everything: true, Yes: true}, exit: ExitDone, purged: 1, says: "step targets_again"},
		"all replicas are new": {config: PurgeConfig{Tags: []string{"a"}, Expect: "v2"}, exit: ExitDone, purged: 1, says: "step gate"},
		"one stays old":        {config: PurgeConfig{Tags: []string{"a"}, Expect: "v2"}, behind: []string{"10.0.0.1:3000"}, exit: ExitGate, says: "nothing was purged"},
		"a dry run":            {config: PurgeConfig{Tags: []string{"a"}, DryRun: true}, exit: ExitDone, says: "dry run: nothing was purged"},
		"the CDN refuses":      {config: PurgeConfig{Tags: []string{"a"}}, cdn: []error{refused}, exit: ExitNotAllowed, purged: 1, says: "403, code 10000: Authentication error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEngine(t)
				e.cdn, e.behind = tc.cdn, tc.behind
				tc.config.Connection = e.serve(always)
				got := runPurge(t.Context(), tc.config)
				if got.code != tc.exit || len(e.purged) != tc.purged {
					t.Errorf("exit %d, purged %v: want %d, %d times: %s", got.code, e.purged, tc.exit, tc.purged, got.stderr)
				}
				if !strings.Contains(got.stdout+got.stderr, tc.says) {
					t.Errorf("said %s%s: want %q in it", got.stdout, got.stderr, tc.says)
				}
				if tc.config.DryRun && got.stderr != "" {
					t.Errorf("on stderr: %s: want what would be done once, on stdout", got.stderr)
				}
			})
		})
	}
}

func TestTheSameKeyIsTheSameOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t)
		c := PurgeConfig{Connection: e.serve(always), Tags: []string{"a"}, IdempotencyKey: "ci-7"}
		first, again := runPurge(t.Context(), c), runPurge(t.Context(), c)
		if first.code != ExitDone || again.code != ExitDone || first.stdout != again.stdout || len(e.purged) != 1 {
			t.Errorf("%+v, then %+v, purged %v: want the same receipt for one purge", first, again, e.purged)
		}
		c.Tags = []string{"b"}
		if other := runPurge(t.Context(), c); other.code != ExitUsage || len(e.purged) != 1 {
			t.Errorf("another order by that key: exit %d, purged %v: want 2 and nothing new", other.code, e.purged)
		}
	})
}

func TestAnOrderOutlivesARestartOfTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEngine(t)
		// The CDN hangs until the gateway stops.
		e.cdn = []error{context.Canceled}
		var mu sync.Mutex
		down := false
		c := e.serve(func(up http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				away := down
				mu.Unlock()
				if away {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				up.ServeHTTP(w, r)
			})
		})
		restart := time.AfterFunc(5*time.Second, func() {
			mu.Lock()
			down = true
			mu.Unlock()
			e.stop()
			e.start()
		})
		defer restart.Stop()
		back := time.AfterFunc(20*time.Second, func() {
			mu.Lock()
			defer mu.Unlock()
			down = false
		})
		defer back.Stop()
		got := runPurge(t.Context(), PurgeConfig{Connection: c, Tags: []string{"a"}})
		if got.code != ExitDone || len(e.purged) != 1 || !strings.Contains(got.stderr, "502 Bad Gateway; trying again") {
			t.Errorf("exit %d, purged %v: want 0 and once: %s", got.code, e.purged, got.stderr)
		}
	})
}
