package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// world is a node, a fleet, a rollout, a verifier and a journal that write down
// what happens to them.
type world struct {
	mu         sync.Mutex
	log        []string
	events     []Event
	generation uint64
	inFlight   int
	undrained  int // other nodes
	behind     []string
	stale      int // verifications that still see the old state
	fail       map[string]int
	whole      map[string]Record // the journal
	journal    error
}

func newWorld() *world {
	return &world{fail: make(map[string]int), whole: make(map[string]Record)}
}

func (w *world) did(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) history() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log)
}

// failing reports whether the step is to fail once more.
func (w *world) failing(step string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail[step] == 0 {
		return nil
	}
	w.fail[step]--
	return errors.New(step + " is down")
}

func (w *world) Generation() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.generation
}

func (w *world) Purge(_ context.Context, o Order, generation uint64) error {
	if err := w.failing("node"); err != nil {
		return err
	}
	w.did("node %d %v", generation, o.Tags)
	return nil
}

func (w *world) Draining(uint64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inFlight > 0 {
		w.inFlight--
	}
	return w.inFlight
}

func (w *world) Next(_ context.Context, floor uint64) (uint64, error) {
	if err := w.failing("generation"); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.generation = max(w.generation, floor) + 1
	return w.generation, nil
}

func (w *world) Undrained(context.Context, uint64) (int, error) {
	if err := w.failing("undrained"); err != nil {
		return 0, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.undrained > 0 {
		w.undrained--
	}
	return w.undrained, nil
}

func (w *world) Announce(_ context.Context, generation uint64, order []byte) (int, error) {
	if err := w.failing("fleet"); err != nil {
		return 0, err
	}
	w.did("fleet %d", generation)
	return 2, nil
}

func (w *world) Behind(context.Context, string) ([]string, error) {
	if err := w.failing("gate"); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.behind), nil
}

func (w *world) Verify(_ context.Context, url, expect string, _ time.Time) Verification {
	w.did("verify %s", url)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stale--
	return Verification{URL: url, Version: expect, OK: w.stale < 0}
}

// The journal. It keeps what is accepted only if it is told to work.
func (w *world) Load() ([]Record, uint64) {
	var records []Record
	for _, r := range w.whole {
		records = append(records, r)
	}
	return records, 0
}

func (w *world) Append(r Record, _ bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.journal == nil {
		w.whole[r.ID] = r
	}
	return w.journal
}

func (w *world) Due() bool                      { return false }
func (w *world) Rewrite([]Record, uint64) error { return nil }
func (w *world) Close() error                   { return nil }

func (w *world) hear(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) heard(kind EventKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// cdn is a target whose answers are planned, one for each pass; nil accepts.
type cdn struct {
	w       *world
	name    string
	answers []error
	takes   time.Duration
}

func (c *cdn) Name() string { return c.name }

func (c *cdn) Purge(ctx context.Context, o Order, may func(context.Context) error, progress func(Result)) (Result, error) {
	if err := sleep(ctx, c.takes); err != nil {
		return Result{Attempts: 1}, err
	}
	c.w.did("%s", c.name)
	result := Result{Batches: 1, Items: o.Len(), Attempts: 1}
	if len(c.answers) > 0 {
		answer := c.answers[0]
		c.answers = c.answers[1:]
		if answer != nil {
			return Result{Attempts: 1}, answer
		}
	}
	progress(result)
	return result, nil
}

func (w *world) cdn(name string, answers ...error) *cdn {
	return &cdn{w: w, name: name, answers: answers}
}

// coordinate starts a coordinator in this world.
func (w *world) coordinate(t *testing.T, targets ...Target) *Coordinator {
	t.Helper()
	c := NewCoordinator(w, Parts{Node: w, Fleet: w, Targets: targets, Rollout: w, Verifier: w}, w.hear)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// carryOut submits an order and waits until it is final.
func carryOut(t *testing.T, c *Coordinator, o Order) Record {
	t.Helper()
	r, err := c.Submit(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := c.Wait(t.Context(), r.ID)
	if !ok || !r.State.Final() {
		t.Fatalf("%+v, known %t: want a final record", r, ok)
	}
	return r
}

func tagged(tags ...string) Order { return Order{Selectors: Selectors{Tags: tags}} }
