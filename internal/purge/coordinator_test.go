package purge

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrderIsCarriedOutFromTheInsideOut(t *testing.T) {
	cases := map[string]struct {
		order   Order
		targets []string
		prepare func(*world)
		want    []string
		took    time.Duration
	}{
		"no target: node and fleet": {tagged("a"), nil, nil, []string{"node 1 [a]", "fleet 1"}, 0},
		"a target: twice, 3 s apart, and 1 s until it is everywhere": {tagged("a"), []string{"cdn"}, nil,
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn"}, 4 * time.Second},
		"everything: 30 s apart, and 10 s": {Order{Selectors: Selectors{Everything: true}}, []string{"cdn"}, nil,
			[]string{"node 1 []", "fleet 1", "cdn", "cdn"}, 40 * time.Second},
		"exchanges in flight are waited for": {tagged("a"), []string{"cdn"}, func(w *world) { w.inFlight = 41 },
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn"}, 5 * time.Second}, // 40 looks at 25 ms
		"a download that never ends holds up 10 s": {tagged("a"), []string{"cdn"}, func(w *world) { w.inFlight = 1 << 30 },
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn"}, 14 * time.Second},
		"exchanges at other nodes are waited for": {tagged("a"), []string{"cdn"}, func(w *world) { w.undrained = 41 },
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn"}, 5 * time.Second},
		"a fleet that cannot be asked holds up 10 s": {tagged("a"), []string{"cdn"}, func(w *world) { w.fail["undrained"] = 1 << 30 },
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn"}, 14 * time.Second},
		"verified at the end": {Order{Selectors: Selectors{Tags: []string{"a"}}, Verify: []string{"https://h/"}}, []string{"cdn"}, nil,
			[]string{"node 1 [a]", "fleet 1", "cdn", "cdn", "verify https://h/"}, 4 * time.Second},
		"a node that is ahead lifts the generation": {tagged("a"), nil, func(w *world) { w.generation = 9 }, []string{"node 10 [a]", "fleet 10"}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				if c.prepare != nil {
					c.prepare(w)
				}
				var targets []Target
				for _, name := range c.targets {
					targets = append(targets, w.cdn(name))
				}
				r := carryOut(t, w.coordinate(t, targets...), c.order)
				synctest.Wait() // for the last event
				if r.State != Done || r.Exit != ExitDone || !reflect.DeepEqual(w.history(), c.want) {
					t.Errorf("%s, exit %d, %v: want done, %v", r.State, r.Exit, w.history(), c.want)
				}
				if took := r.Finished.Sub(r.Created); took != c.took {
					t.Errorf("took %s: want %s", took, c.took)
				}
				if w.heard(OrderFinished) != 1 || w.heard(OrderStep) != len(r.Steps) || len(w.whole[r.ID].Steps) != len(r.Steps) {
					t.Errorf("%d finished, %d steps heard, %d steps journaled of %d", w.heard(OrderFinished), w.heard(OrderStep), len(w.whole[r.ID].Steps), len(r.Steps))
				}
			})
		})
	}
}

func TestOrderThatCannotBeCarriedOut(t *testing.T) {
	limited := &TargetError{Kind: RateLimited, HTTP: 429, Code: 1134}
	auth := &TargetError{Kind: NotAllowed, HTTP: 403, Code: 10000}
	down := &TargetError{Kind: Unreachable, HTTP: 502}
	version := Order{Selectors: Selectors{Tags: []string{"a"}}, Expect: "2"}
	checked := Order{Selectors: Selectors{Tags: []string{"a"}}, Verify: []string{"https://h/"}}
	cases := map[string]struct {
		order   Order
		answers [][]error // of each target
		prepare func(*world)
		state   State
		exit    int
		want    []string
	}{
		"the token is refused: exit 3":                {tagged("a"), [][]error{{auth}}, nil, Partial, ExitNotAllowed, []string{"node 1 [a]", "fleet 1", "cdn0"}},
		"rate limited past the deadline: exit 5":      {tagged("a"), [][]error{{limited}}, nil, Partial, ExitRateLimited, []string{"node 1 [a]", "fleet 1", "cdn0"}},
		"down past the deadline: exit 4":              {tagged("a"), [][]error{{down}}, nil, Partial, ExitPartial, []string{"node 1 [a]", "fleet 1", "cdn0"}},
		"an error of no kind: exit 4":                 {tagged("a"), [][]error{{errors.New("x")}}, nil, Partial, ExitPartial, []string{"node 1 [a]", "fleet 1", "cdn0"}},
		"the second pass fails: still partial":        {tagged("a"), [][]error{{nil, down}}, nil, Partial, ExitPartial, []string{"node 1 [a]", "fleet 1", "cdn0", "cdn0"}},
		"one of two targets fails, the other goes on": {tagged("a"), [][]error{{auth}, nil}, nil, Partial, ExitNotAllowed, []string{"node 1 [a]", "fleet 1", "cdn0", "cdn1", "cdn1"}},
		"the gate is not reached: nothing is purged":  {version, [][]error{nil}, func(w *world) { w.behind = []string{"r1"} }, Failed, ExitGate, nil},
		"replicas cannot be asked: nothing is purged": {version, [][]error{nil}, func(w *world) { w.fail["gate"] = 1 << 30 }, Failed, ExitGate, nil},
		"the generation cannot be raised: failed":     {tagged("a"), [][]error{nil}, func(w *world) { w.fail["generation"] = 1 << 30 }, Failed, ExitPartial, nil},
		"the fleet does not answer: partial":          {tagged("a"), [][]error{nil}, func(w *world) { w.fail["fleet"] = 1 << 30 }, Partial, ExitPartial, []string{"node 1 [a]"}},
		"verification sees the old state: exit 6":     {checked, nil, func(w *world) { w.stale = 1 << 30 }, Partial, ExitStale, []string{"node 1 [a]", "fleet 1"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				if c.prepare != nil {
					c.prepare(w)
				}
				var targets []Target
				for i, answers := range c.answers {
					targets = append(targets, w.cdn("cdn"+string(rune('0'+i)), answers...))
				}
				r := carryOut(t, w.coordinate(t, targets...), c.order)
				got := slices.DeleteFunc(w.history(), func(s string) bool { return strings.HasPrefix(s, "verify") })
				slices.SortStableFunc(got, func(a, b string) int { // targets run side by side
					if strings.HasPrefix(a, "cdn") && strings.HasPrefix(b, "cdn") {
						return strings.Compare(a, b)
					}
					return 0
				})
				if r.State != c.state || r.Exit != c.exit || !slices.Equal(got, c.want) {
					t.Errorf("%s, exit %d, %v: want %s, exit %d, %v", r.State, r.Exit, got, c.state, c.exit, c.want)
				}
				for _, target := range r.Targets {
					if !target.State.Final() {
						t.Errorf("target is left %s", target.State)
					}
				}
			})
		})
	}
}

func TestStepsOfOursAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail["generation"], w.fail["node"], w.fail["fleet"], w.fail["gate"], w.stale = 2, 2, 2, 2, 3
		o := tagged("a")
		o.Expect, o.Verify = "2", []string{"https://h/"}
		r := carryOut(t, w.coordinate(t), o)
		if r.State != Done || w.heard(StepRetry) != 6 || len(r.Verified) != 1 || !r.Verified[0].OK {
			t.Errorf("%+v, %d retries: want done after 6", r, w.heard(StepRetry))
		}
	})
}

func TestStepsOfOursAreRetriedWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail["generation"] = 1000
		carryOut(t, w.coordinate(t), tagged("a"))
		w.mu.Lock()
		defer w.mu.Unlock()
		var longest time.Duration
		for _, e := range w.events {
			longest = max(longest, e.Wait)
		}
		if longest < time.Second || longest > 2*time.Second {
			t.Errorf("the longest pause took %s: want one to two seconds", longest)
		}
	})
}

func TestSubmitRefuses(t *testing.T) {
	cases := map[string]struct {
		order   Order
		prepare func(*world, *Coordinator)
		want    error
		text    string
	}{
		"no selector":                  {Order{}, nil, ErrNoSelector, ""},
		"a journal that is full":       {tagged("a"), func(w *world, _ *Coordinator) { w.journal = errors.New("no space left on device") }, ErrJournal, "no space left"},
		"a closed coordinator":         {tagged("a"), func(_ *world, c *Coordinator) { _ = c.Close() }, ErrClosed, ""},
		"expecting, but no rollout":    {Order{Selectors: Selectors{Tags: []string{"a"}}, Expect: "2"}, func(w *world, c *Coordinator) { c.Configure(Parts{Node: w, Fleet: w}) }, nil, `expect "2"`},
		"verifying, but nobody can":    {Order{Selectors: Selectors{Tags: []string{"a"}}, Verify: []string{"https://h/"}}, func(w *world, c *Coordinator) { c.Configure(Parts{Node: w, Fleet: w}) }, nil, "verify"},
		"long words":                   {Order{Selectors: Selectors{Tags: []string{"a"}}, IdempotencyKey: strings.Repeat("k", 256), Reason: strings.Repeat("r", 501), Expect: strings.Repeat("v", 2000)}, nil, nil, "expect"},
		"a deadline that has passed":   {Order{Selectors: Selectors{Tags: []string{"a"}}, Deadline: time.Now().Add(-time.Second)}, nil, nil, "deadline"},
		"a URL to verify that is none": {Order{Selectors: Selectors{Tags: []string{"a"}}, Verify: []string{"h/a"}}, nil, nil, "verify"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			coordinator := w.coordinate(t)
			if c.prepare != nil {
				c.prepare(w, coordinator)
			}
			_, err := coordinator.Submit(t.Context(), c.order)
			if err == nil || (c.want != nil && !errors.Is(err, c.want)) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("error %v: want %v, with %q", err, c.want, c.text)
			}
			if len(w.history()) != 0 || len(w.whole) != 0 || len(coordinator.List(-1)) != 0 || w.heard(OrderRefused) != 1 {
				t.Errorf("applied %v, journaled %v, listed %v", w.history(), w.whole, coordinator.List(-1))
			}
		})
	}
}

func TestJournalFaultAfterAcceptanceDoesNotStopAPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinate(t, w.cdn("cdn"))
		r, err := c.Submit(t.Context(), tagged("a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // between the passes
		w.mu.Lock()
		w.journal = errors.New("disk is gone")
		w.mu.Unlock()
		r, _ = c.Wait(t.Context(), r.ID)
		if r.State != Done || w.heard(JournalFault) == 0 || c.Health().Journal == nil {
			t.Errorf("%s, %d faults, health %v: want done, and the faults reported", r.State, w.heard(JournalFault), c.Health().Journal)
		}
	})
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld()
	s, config := newStandIn(t, "free", nil)
	c := w.coordinate(t, newTarget(t, s, config), w.cdn("cdn"))
	o := tagged(numbered("t%d", 1050)...)
	o.DryRun = true
	r, err := c.Submit(t.Context(), o)
	// 11 calls a pass, 22 in all, 20 at once and then one each 15 s.
	if err != nil || r.State != Planned || r.Exit != ExitDone || r.Targets[0].Batches != 22 || r.Targets[0].RateLimited.D().Round(time.Second) != 30*time.Second {
		t.Errorf("%+v, %v: want 22 calls that take 30s", r.Targets, err)
	}
	// Of the bucket of 25, a fifth is left to others. 3 s between the passes, and a third of it.
	if cost := r.Targets[0].Cost; cost == nil || *cost != (Cost{Plan: "free", Tokens: 22, Bucket: 20}) || r.Takes.D().Round(time.Second) != 34*time.Second {
		t.Errorf("%+v, takes %s: want 22 tokens of 20 and 34s", cost, r.Takes)
	}
	o.Selectors = Selectors{URLs: numbered("https://h/%d", 150), Tags: []string{"a"}}
	if r, err := c.Submit(t.Context(), o); err != nil || *r.Targets[0].Cost != (Cost{Plan: "free", Tokens: 2, Bucket: 20, URLs: 300}) || r.Takes.D() != 4*time.Second {
		t.Errorf("%+v, %v: want two tokens and 300 URLs, within 4s", r.Targets, err)
	}
	if len(r.Steps) != 7 || len(w.history()) != 0 || len(w.whole) != 0 || s.Requests() != 0 {
		t.Errorf("%d steps, did %v, journaled %v, %d calls: want only a plan of 7 steps", len(r.Steps), w.history(), w.whole, s.Requests())
	}
}

func TestIdempotencyKeys(t *testing.T) {
	key := func(o Order, key string) Order { o.IdempotencyKey = key; return o }
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinate(t)
		first := carryOut(t, c, key(tagged("b", "a"), "k"))
		again, err := c.Submit(t.Context(), key(Order{Selectors: Selectors{Tags: []string{"A", "b"}}, Reason: "other words"}, "k"))
		if err != nil || again.ID != first.ID || again.State != Done {
			t.Errorf("%+v, %v: want the first record", again, err)
		}
		soft := key(tagged("a", "b"), "k")
		soft.Soft = true
		if _, err := c.Submit(t.Context(), soft); !errors.Is(err, ErrConflict) {
			t.Errorf("%v: want a conflict", err)
		}
		if other := carryOut(t, c, key(tagged("a", "b"), "k2")); other.ID == first.ID {
			t.Error("another key gave the same order")
		}
		time.Sleep(keyLifetime)
		if later := carryOut(t, c, key(tagged("a", "b"), "k")); later.ID == first.ID {
			t.Error("the key still holds after its lifetime")
		}
	})
}

func TestOneKeyManyAtOnceIsOneOrder(t *testing.T) {
	w := newWorld()
	c := w.coordinate(t)
	ids := make([]string, 32)
	var wait sync.WaitGroup
	for i := range ids {
		wait.Go(func() {
			o := tagged("a")
			o.IdempotencyKey = "k"
			r, err := c.Submit(t.Context(), o)
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.ID
		})
	}
	wait.Wait()
	if len(slices.Compact(ids)) != 1 || len(c.List(-1)) != 1 {
		t.Errorf("orders %v: want one", ids)
	}
	if r, ok := c.Wait(t.Context(), ids[0]); !ok || r.State != Done || len(w.history()) != 2 {
		t.Errorf("%+v, did %v: want it done once", r, w.history())
	}
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := w.cdn("cdn")
		slow.takes = time.Hour
		c := w.coordinate(t, slow)
		r, err := c.Submit(t.Context(), tagged("a"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := c.Cancel(r.ID); err != nil {
			t.Fatal(err)
		}
		r, _ = c.Wait(t.Context(), r.ID)
		if r.State != Canceled || r.Targets[0].State != Canceled || !r.Did(StepNode) || !slices.Equal(w.history(), []string{"node 1 [a]", "fleet 1"}) {
			t.Errorf("%+v, did %v", r, w.history())
		}
		if strings.Contains(r.Error, "cancel") || !strings.Contains(r.Error, "caller") {
			t.Errorf("is %s: %s: want what the state does not say", r.State, r.Error)
		}
		if err := c.Cancel(r.ID); !errors.Is(err, ErrFinished) {
			t.Errorf("again: %v", err)
		}
		if err := c.Cancel("x"); !errors.Is(err, ErrUnknown) {
			t.Errorf("unknown: %v", err)
		}
	})
}

func TestWaitGivesWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := w.cdn("cdn")
		slow.takes = time.Minute
		c := w.coordinate(t, slow)
		r, err := c.Submit(t.Context(), tagged("a"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if r, ok := c.Wait(ctx, r.ID); !ok || r.State != Running || r.Exit != ExitPartial || c.Health().Pending != 1 {
			t.Errorf("%+v, %t: want it running, exit 4", r, ok)
		}
		if _, ok := c.Wait(ctx, "x"); ok {
			t.Error("knows an order that never was")
		}
	})
}
