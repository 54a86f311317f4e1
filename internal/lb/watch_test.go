package lb

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// slowFirst are two replicas of which round robin asks a slow one first. It
// gives up when nobody waits any more.
func slowFirst(t *testing.T, w *world, takes time.Duration) (slow, quick, left *atomic.Int64) {
	t.Helper()
	slow, quick, left = new(atomic.Int64), new(atomic.Int64), new(atomic.Int64)
	w.pipe(t, w.apps[0], func(out http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		slow.Add(1)
		select {
		case <-time.After(takes):
			_, _ = io.WriteString(out, "slow"+string(text))
		case <-r.Context().Done():
			left.Add(1)
		}
	})
	w.pipe(t, w.apps[1], func(out http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		quick.Add(1)
		_, _ = io.WriteString(out, "quick"+string(text))
	})
	return slow, quick, left
}

// idleAfter reports that nothing is counted any more.
func idleAfter(t *testing.T, w *world) {
	t.Helper()
	synctest.Wait()
	for _, v := range w.apps {
		if n := v.inflight.Load(); n != 0 {
			t.Errorf("%s counts %d in flight still", v.address, n)
		}
	}
}

func hedged(c Config, after unit.Duration) Config {
	c.Hedge = Hedge{On: true, After: after, Budget: 1}
	return c
}

func TestAHedgeAnswersForASlowReplica(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		takes        time.Duration
		method, body string
		answer       string
		hedges       int64
	}{
		"the first is slow: the second answers":              {time.Second, "GET", "", "quick", 1},
		"the first is quick enough: nobody else is asked":    {20 * time.Millisecond, "GET", "", "slow", 0},
		"a POST is never sent twice":                         {time.Second, "POST", "", "slow", 0},
		"nor is what has a body":                             {time.Second, "PUT", "x", "slowx", 0},
		"a DELETE is idempotent, but not safe to do at once": {time.Second, "DELETE", "", "slow", 0},
	}
	for name, test := range tests {
		inWorld(t, name, 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
			slow, _, left := slowFirst(t, w, test.takes)
			began := time.Now()
			req := post(t, test.body)
			req.Method = test.method
			var trace Trace
			if got := textOf(t, w.pool, req.WithContext(WithTrace(t.Context(), &trace))); got != test.answer {
				t.Errorf("%q: want %q", got, test.answer)
			}
			idleAfter(t, w)
			took, want := time.Since(began), min(test.takes, 50*time.Millisecond)
			if test.hedges == 0 {
				want = test.takes
			}
			if took != want || w.pool.hedges.Load() != test.hedges || w.pool.hedgesWon.Load() != test.hedges || slow.Load() != 1 || left.Load() != test.hedges {
				t.Errorf("after %s, %d hedges, %d won, %d left: want %s and %d", took, w.pool.hedges.Load(), w.pool.hedgesWon.Load(), left.Load(), want, test.hedges)
			}
			if trace.Attempts != int(1+test.hedges) || (test.answer == "quick") != (trace.Address == string(w.apps[1].address)) {
				t.Errorf("%+v", trace)
			}
			for _, v := range w.apps {
				if n := v.record.Load().failures.Load(); n != 0 {
					t.Errorf("%s: %d failures: to be slower is none", v.address, n)
				}
			}
		})
	}
}

func TestAHedgeSavesARequestWhoseFirstTryFails(t *testing.T) {
	t.Parallel()
	inWorld(t, "503 while the second works", 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], func(out http.ResponseWriter, _ *http.Request) {
			time.Sleep(100 * time.Millisecond)
			out.WriteHeader(http.StatusServiceUnavailable)
		})
		w.pipe(t, w.apps[1], func(out http.ResponseWriter, _ *http.Request) {
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(out, "good")
		})
		if got := textOf(t, w.pool, get(t)); got != "good" {
			t.Errorf("%q: want good", got)
		}
		idleAfter(t, w)
		if n := w.apps[0].record.Load().failures.Load(); n != 1 {
			t.Errorf("%d failures of the first: want 1", n)
		}
	})
	inWorld(t, "the second fails: the first may take its time", 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
		slowFirst(t, w, time.Second)
		w.pipe(t, w.apps[1], status(http.StatusBadGateway))
		if got := textOf(t, w.pool, get(t)); got != "slow" {
			t.Errorf("%q: want slow", got)
		}
		idleAfter(t, w)
	})
}

func TestNoHedgeWhenThePoolIsBusy(t *testing.T) {
	t.Parallel()
	tests := map[string]func(p *Pool, a, b *virtual){
		"requests wait":                 func(p *Pool, _, _ *virtual) { p.queue.waiting.Add(1) },
		"more than 70 % of what may be": func(_ *Pool, a, b *virtual) { a.inflight.Add(150); b.inflight.Add(140) },
		"most are sick":                 func(p *Pool, _, _ *virtual) { p.panicking.Store(true) },
		"the only other one is sick":    func(_ *Pool, _, b *virtual) { b.state.Store(uint32(sick)) },
		"the budget of 5 % is used up":  func(p *Pool, _, _ *virtual) { p.settings.Hedge.Budget = 0.05 },
	}
	for name, arrange := range tests {
		inWorld(t, name, 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
			_, quick, _ := slowFirst(t, w, time.Second)
			x := &exchange{pool: w.pool, view: w.pool.view.Load(), in: get(t)}
			w.pool.budget.request(w.pool.now())
			s, _ := x.take()
			x.hold(s)
			arrange(w.pool, w.apps[0], w.apps[1])
			resp, err := x.try()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			x.leave()
			x.release()
			if w.pool.hedges.Load() != 0 || quick.Load() != 0 {
				t.Errorf("%d hedges: want none", w.pool.hedges.Load())
			}
		})
	}
}

// TestHedgingCutsTheTailWithinItsBudget: one of three answers takes two
// seconds now and then; the others take 20 ms.
func TestHedgingCutsTheTailWithinItsBudget(t *testing.T) {
	t.Parallel()
	measure := func(t *testing.T, c Config) (slowest int, w *world) {
		t.Helper()
		c.Policy.Name = "round_robin"
		c.Eject.Off = true
		w = newWorld(t, 3, c)
		for i, v := range w.apps {
			var n atomic.Int64
			w.pipe(t, v, func(_ http.ResponseWriter, r *http.Request) {
				takes := 20 * time.Millisecond
				if i == 0 && n.Add(1)%10 == 0 {
					takes = 2 * time.Second
				}
				select {
				case <-time.After(takes):
				case <-r.Context().Done():
				}
			})
		}
		for range 3000 {
			began := time.Now()
			textOf(t, w.pool, get(t))
			if time.Since(began) > time.Second {
				slowest++
			}
		}
		return slowest, w
	}
	synctest.Test(t, func(t *testing.T) {
		if n, _ := measure(t, Config{}); n != 100 {
			t.Errorf("%d slow ones without: want 100", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, w := measure(t, Config{Hedge: Hedge{On: true}})
		// Until a hundred answers are known, nothing is hedged.
		if n > 10 {
			t.Errorf("%d slow ones with: want at most a tenth", n)
		}
		if h := w.pool.hedges.Load(); h > 150 {
			t.Errorf("%d hedges of 3000 requests: want at most 5 %%", h)
		}
		idleAfter(t, w)
	})
}

func TestATryThatTakesTooLongIsLeftForAnother(t *testing.T) {
	t.Parallel()
	patient := func(replicas int) Config {
		c := policyConfig("round_robin")
		c.Retry.Timeout = ms(100)
		return c
	}
	tests := map[string]struct {
		replicas     int
		method, body string
		answer       string
		took         time.Duration
	}{
		"GET":                                {2, "GET", "", "quick", 100 * time.Millisecond},
		"PUT with a body":                    {2, "PUT", "-order", "quick-order", 100 * time.Millisecond},
		"POST: it may have been done":        {2, "POST", "-order", "slow-order", time.Second},
		"GET, but there is no other replica": {1, "GET", "", "slow", time.Second},
	}
	for name, test := range tests {
		inWorld(t, name, 2, patient(test.replicas), func(t *testing.T, w *world) {
			slowFirst(t, w, time.Second)
			if test.replicas == 1 {
				w.apps[1].state.Store(uint32(draining))
			}
			req := post(t, test.body)
			req.Method = test.method
			began := time.Now()
			if got := textOf(t, w.pool, req); got != test.answer {
				t.Errorf("%q: want %q", got, test.answer)
			}
			if took := time.Since(began); took != test.took {
				t.Errorf("after %s: want %s", took, test.took)
			}
			idleAfter(t, w)
			failures := w.apps[0].record.Load().failures.Load()
			if want := int64(0); test.took < time.Second && failures != 1 || test.took == time.Second && failures != want {
				t.Errorf("%d failures of the first", failures)
			}
		})
	}
}

func TestAClientThatLeavesEndsBothTries(t *testing.T) {
	t.Parallel()
	inWorld(t, "while a hedge is under way", 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
		var left atomic.Int64
		for _, v := range w.apps {
			w.pipe(t, v, func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				left.Add(1)
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if resp, err := w.pool.RoundTrip(get(t).WithContext(ctx)); err == nil {
			t.Errorf("status %d: want an error", resp.StatusCode)
		}
		idleAfter(t, w)
		if left.Load() != 2 || w.pool.hedges.Load() != 1 {
			t.Errorf("%d replicas left, %d hedges: want 2 and 1", left.Load(), w.pool.hedges.Load())
		}
	})
}
