package warm

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestThePoolsHealthIsTheBudget(t *testing.T) {
	well := Pool{Name: "app", Up: 2, Capacity: 100}
	with := func(edit func(*Pool)) Pool {
		p := well
		edit(&p)
		return p
	}
	for name, c := range map[string]struct {
		pool          Pool
		running, most int
		more          int
		why           string
	}{
		"idle":                            {well, 0, 8, 8, ""},
		"some of ours are under way":      {with(func(p *Pool) { p.InFlight = 5 }), 5, 8, 3, ""},
		"all of ours are":                 {with(func(p *Pool) { p.InFlight = 8 }), 8, 8, 0, ""},
		"visitors leave two":              {with(func(p *Pool) { p.InFlight = 68 }), 0, 8, 2, ""},
		"visitors leave none":             {with(func(p *Pool) { p.InFlight = 70 }), 0, 8, 0, "70 requests of 100"},
		"above, of which one is ours":     {with(func(p *Pool) { p.InFlight = 71 }), 1, 8, 0, ""},
		"requests wait":                   {with(func(p *Pool) { p.Queued = 1 }), 0, 8, 0, "1 requests wait"},
		"most look sick":                  {with(func(p *Pool) { p.Panic = true }), 0, 8, 0, "look sick"},
		"one fails":                       {with(func(p *Pool) { p.Failing = 0.5 }), 0, 8, 0, "50% of the requests"},
		"one request of many has failed":  {with(func(p *Pool) { p.Failing = 0.1 }), 0, 8, 8, ""},
		"nobody is up":                    {with(func(p *Pool) { p.Up = 0 }), 0, 8, 0, "no replica that is up"},
		"nobody has said what it can":     {with(func(p *Pool) { p.Capacity, p.InFlight = 0, 500 }), 1, 8, 1, ""},
		"nobody has, and all are at work": {with(func(p *Pool) { p.Capacity = 0 }), 3, 8, 0, ""},
	} {
		more, why := c.pool.Allowance(c.running, c.most)
		if more != c.more || (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %d, %q: want %d, %q", name, more, why, c.more, c.why)
		}
	}
	full, sick := with(func(p *Pool) { p.InFlight = 68 }), with(func(p *Pool) { p.Name, p.Up = "api", 0 })
	if more, why := Allowance([]Pool{well, full}, 0, 8); more != 2 || why != "" {
		t.Errorf("of two pools: %d, %q: want 2, of the one that has less", more, why)
	}
	if more, why := Allowance([]Pool{well, sick}, 0, 8); more != 0 || !strings.Contains(why, "api") {
		t.Errorf("of two pools: %d, %q: want none, for api", more, why)
	}
	if more, why := Allowance(nil, 3, 8); more != 5 || why != "" {
		t.Errorf("without a pool: %d, %q: want 5", more, why)
	}
}

func FuzzAllowance(f *testing.F) {
	f.Add(2, int64(0), int64(5), int64(100), 0.0, 1, 8)
	f.Fuzz(func(t *testing.T, up int, queued, inFlight, capacity int64, failing float64, running, most int) {
		if up < 0 || queued < 0 || inFlight < 0 || capacity < 0 || running < 0 || most < 1 || most > 1000 || running > most {
			return
		}
		p := Pool{Up: up, Queued: queued, InFlight: inFlight, Capacity: capacity, Failing: failing}
		more, why := p.Allowance(running, most)
		if more < 0 || running+more > most || why != "" && more > 0 {
			t.Errorf("%+v with %d of %d: %d, %q", p, running, most, more, why)
		}
		if capacity > 0 && more > 0 && inFlight+int64(more) > capacity {
			t.Errorf("%+v: %d more than it can have", p, more)
		}
	})
}

func TestURLsAreFetchedInOrderAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under, most atomic.Int64
		var order []int
		urls := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
		got := Run(t.Context(), Way[int]{Most: 3, Budget: func(running int) (int, string) { return 100, "" }, Fetch: func(_ context.Context, n int) Outcome {
			if now := under.Add(1); now > most.Load() {
				most.Store(now)
			}
			time.Sleep(time.Second)
			under.Add(-1)
			return Outcome(n % 3)
		}}, urls)
		if want := (Result{Hit: 3, Miss: 3, Failed: 4}); got != want || most.Load() != 3 {
			t.Errorf("%+v, %d at a time: want %+v, 3", got, most.Load(), want)
		}
		Run(t.Context(), Way[int]{Most: 1, Fetch: func(_ context.Context, n int) Outcome {
			order = append(order, n)
			return Hit
		}}, urls)
		for i, n := range order {
			if i != n {
				t.Fatalf("%v: want the hottest first", order)
			}
		}
	})
}

func TestWarmingEnds(t *testing.T) {
	urls := make([]int, 100)
	sleepy := func(o Outcome) func(context.Context, int) Outcome {
		return func(ctx context.Context, _ int) Outcome {
			select {
			case <-time.After(time.Second):
				return o
			case <-ctx.Done():
				return Failed
			}
		}
	}
	over := errors.New("the time is over")
	for name, c := range map[string]struct {
		way   Way[int]
		after time.Duration // until ctx is done
		want  Result
		took  time.Duration
	}{
		"the pool is sick": {
			Way[int]{Most: 4, Budget: func(int) (int, string) { return 0, "sick" }, Fetch: sleepy(Hit)},
			time.Hour, Result{Skipped: 100, Why: "sick"}, patience,
		},
		"the fetches fail": {
			Way[int]{Most: 1, Fetch: sleepy(Failed)},
			time.Hour, Result{Failed: 5, Skipped: 95, Why: "5 of 5 fetches failed"}, 5 * time.Second,
		},
		"the time is over": {
			Way[int]{Most: 1, Fetch: sleepy(Miss)},
			2500 * time.Millisecond, Result{Miss: 2, Failed: 1, Skipped: 97, Why: over.Error()}, 2500 * time.Millisecond,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), c.after, over)
			defer cancel()
			began := time.Now()
			if got := Run(ctx, c.way, urls); got != c.want || time.Since(began) != c.took {
				t.Errorf("%s: %+v after %s: want %+v after %s", name, got, time.Since(began), c.want, c.took)
			}
		})
	}
}

func TestAPoolThatGetsWellAgainIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		got := Run(t.Context(), Way[int]{Most: 4, Budget: func(running int) (int, string) {
			if time.Since(began) < 5*time.Second {
				return 0, "requests wait"
			}
			return 4 - running, ""
		}, Fetch: func(context.Context, int) Outcome { return Miss }}, make([]int, 20))
		if want := (Result{Miss: 20}); got != want {
			t.Errorf("%+v: want %+v", got, want)
		}
	})
}
