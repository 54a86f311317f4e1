package purge

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestOrdersOutliveACoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld()
		start := func(targets ...Target) *Coordinator {
			j, err := OpenJournal(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			return NewCoordinator(j, Parts{Node: w, Fleet: w, Targets: targets}, w.hear)
		}
		slow := w.cdn("cdn")
		slow.takes = time.Hour / 2
		c := start(slow)
		o := tagged("a")
		o.IdempotencyKey = "k"
		r, err := c.Submit(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got, ok := c.Get(r.ID); !ok || got.State.Final() {
			t.Fatalf("%+v: want it unfinished", got)
		}

		c = start(w.cdn("cdn"))
		if again, err := c.Submit(t.Context(), o); err != nil || again.ID != r.ID {
			t.Errorf("%+v, %v: want the key to hold after a restart", again, err)
		}
		c.Resume()
		got, _ := c.Wait(t.Context(), r.ID)
		if got.State != Done || w.heard(OrderResumed) != 1 || c.Generation() != got.Generation {
			t.Errorf("%+v, generation %d: want it resumed and done", got, c.Generation())
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}

		// Its target is gone from the configuration, and its time is over.
		c = start(slow)
		late, err := c.Submit(t.Context(), tagged("b"))
		if err != nil {
			t.Fatal(err)
		}
		gone, err := c.Submit(t.Context(), tagged("c"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		c = start()
		c.Resume()
		if got, _ := c.Wait(t.Context(), gone.ID); got.State != Partial || got.Targets[0].Error.Kind != Refused {
			t.Errorf("%+v: want it partial, its target refused", got)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if late.Deadline.Sub(late.Created) != time.Hour {
			t.Errorf("deadline %s after acceptance: want 1h", late.Deadline.Sub(late.Created))
		}
	})
}

func TestAnOrderWhoseTimePassedWhileDownFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := sample("a", Accepted, 0)
		r.Created, r.Deadline = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		w.whole["a"] = r
		c := w.coordinate(t, w.cdn("cloudflare"))
		c.Resume()
		got, _ := c.Wait(t.Context(), "a")
		if got.State != Failed || got.Exit != ExitPartial || got.Targets[0].Error.Kind != Expired || len(w.history()) != 0 {
			t.Errorf("%+v, did %v: want it failed, and nothing done", got, w.history())
		}
	})
}

func TestPendingOrdersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		slow := w.cdn("cdn")
		slow.takes = time.Minute
		c := w.coordinate(t, slow)
		c.Configure(Parts{Node: w, Fleet: w, Targets: []Target{slow}, Settings: Settings{MaxPending: 3}})
		for i := range 3 {
			if _, err := c.Submit(t.Context(), tagged(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Submit(t.Context(), tagged("x")); !errors.Is(err, ErrBusy) {
			t.Errorf("the fourth: %v, want ErrBusy", err)
		}
		time.Sleep(5 * time.Minute)
		if _, err := c.Submit(t.Context(), tagged("y")); err != nil {
			t.Errorf("when the others are done: %v", err)
		}
	})
}

func TestPendingBytesAreBounded(t *testing.T) {
	w := newWorld()
	l := newLedger(w, nil)
	big := sample("", Accepted, 0)
	big.IdempotencyKey = ""
	big.URLs = []string{strings.Repeat("u", 10<<20)}
	for i := range 6 {
		big.ID = fmt.Sprint(i)
		if _, _, err := l.accept(big, 100); err != nil {
			t.Fatal(err)
		}
	}
	big.ID = "one more than 64 MiB"
	if _, _, err := l.accept(big, 100); !errors.Is(err, ErrBusy) {
		t.Errorf("%v: want ErrBusy", err)
	}
	big.ID, big.State = "0", Done
	l.update(big)
	big.ID, big.State = "6", Accepted
	if _, _, err := l.accept(big, 100); err != nil {
		t.Errorf("when one is done: %v", err)
	}
}

func TestGenerationsGoOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	var last uint64
	for range 3 {
		w := newWorld() // a fleet that has forgotten everything
		j, _ := openJournal(t, dir)
		c := NewCoordinator(j, Parts{Node: w, Fleet: w}, w.hear)
		r := carryOut(t, c, tagged("a"))
		if r.Generation <= last {
			t.Fatalf("generation %d after %d", r.Generation, last)
		}
		last = r.Generation
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFinishedOrdersAreForgottenOldestFirst(t *testing.T) {
	cases := map[string]struct {
		reason string // makes an order large
		tags   int
		n      int
		kept   int
	}{
		"small orders: the last thousand": {"", 1, 1100, keepFinished},
		// 10,000 tags of 100+16 bytes are 1.16 MB: three fit in 4 MiB.
		"large orders: what fits": {"", 10_000, 6, 3},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			l := newLedger(w, nil)
			for i := range c.n {
				r := sample(fmt.Sprint(i), Accepted, 0)
				r.Tags = make([]string, c.tags)
				for j := range r.Tags {
					r.Tags[j] = strings.Repeat("t", 100)
				}
				if _, _, err := l.accept(r, 10); err != nil {
					t.Fatal(err)
				}
				r.State = Done
				l.update(r)
			}
			got := l.list(-1)
			if len(got) != c.kept || got[0].ID != fmt.Sprint(c.n-1) || got[len(got)-1].ID != fmt.Sprint(c.n-c.kept) {
				t.Errorf("kept %d, from %s to %s: want the last %d", len(got), got[len(got)-1].ID, got[0].ID, c.kept)
			}
			if len(l.keys) != c.kept || l.pending != 0 || l.waiting != 0 {
				t.Errorf("%d keys, %d pending of %d bytes", len(l.keys), l.pending, l.waiting)
			}
		})
	}
}

func TestRewritingLosesNothingThatHappensMeanwhile(t *testing.T) {
	dir := t.TempDir()
	j, _ := openJournal(t, dir)
	l := newLedger(j, func(e Event) { t.Errorf("%+v", e) })
	const orders = 60
	padding := []string{strings.Repeat("t", 1000)}
	var wait sync.WaitGroup
	for i := range orders {
		wait.Go(func() {
			r := sample(fmt.Sprintf("%03d", i), Accepted, 0)
			r.IdempotencyKey = fmt.Sprint(i)
			r.Tags = append(numbered("tag%d", 3000), padding...) // 40 kB: a rewrite each 30 orders
			if _, _, err := l.accept(r, orders); err != nil {
				t.Error(err)
				return
			}
			r.Generation, r.State = uint64(i+1), Running
			l.update(r)
			if i%2 == 0 {
				r.State = Done
				l.update(r)
			}
		})
	}
	wait.Wait()
	again, events := openJournal(t, dir)
	records, generation := again.Load()
	if len(records) != orders || generation != orders || len(events) != 0 {
		t.Fatalf("%d orders, generation %d, events %v: want %d of each", len(records), generation, events, orders)
	}
	for _, r := range records {
		want := Running
		if int(r.Generation-1)%2 == 0 {
			want = Done
		}
		if r.State != want || len(r.Tags) != 3001 {
			t.Errorf("order %s is %s with %d tags: want %s", r.ID, r.State, len(r.Tags), want)
		}
	}
}
