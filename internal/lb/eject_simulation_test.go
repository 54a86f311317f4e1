package lb

import (
	"testing"
	"time"
)

func failing(o outcome) func(time.Duration) outcome {
	return func(time.Duration) outcome { return o }
}

func quick(time.Duration) time.Duration { return time.Millisecond }

// eachLoadPolicy runs a simulation for each policy that looks at load, and
// round robin, which looks at nothing.
func eachLoadPolicy(t *testing.T, c Config, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, name := range []string{"least_time", "least_conn", "p2c", "round_robin"} {
		c.Policy.Name = name
		inWorld(t, name, 10, c, test)
	}
}

// TestAReplicaThatFailsFastDrawsNothing: an answer in a millisecond keeps it
// idle, so that policies that look at load alone prefer it.
func TestAReplicaThatFailsFastDrawsNothing(t *testing.T) {
	t.Parallel()
	answers := map[string]struct {
		answer func(time.Duration) outcome
		most   float64 // of all tries; an even part is a tenth
	}{
		"503 always": {failing(gateway), 0.001},
		// What it does well it may do, through slow start.
		"503 every other second": {func(now time.Duration) outcome { return []outcome{gateway, good}[now/time.Second%2] }, 0.05},
	}
	for name, test := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachLoadPolicy(t, Config{}, func(t *testing.T, w *world) {
				w.apps[3].answer, w.apps[3].service = test.answer, quick
				p99 := simulated(w, 0.3, 12*time.Second)
				if w.errors+w.refused != 0 {
					t.Errorf("%d errors and %d refusals reached visitors of safe requests", w.errors, w.refused)
				}
				if share := w.share(w.apps[3]); share > test.most {
					t.Errorf("it drew %.2f %% of the tries: want at most %.1f %%", 100*share, 100*test.most)
				}
				// A tenth of a percent, and room for chance: policies throw dice.
				if failed := float64(w.apps[3].record.Load().failures.Load()) / float64(w.tries); failed > 0.0015 {
					t.Errorf("%.2f %% of the tries met its 503: want at most 0.15 %%", 100*failed)
				}
				if p99 > 1.3*evenTail && w.pool.settings.Policy.Name == "least_time" {
					t.Errorf("p99 %.0f ms", p99)
				}
			})
		})
	}
	t.Run("500 always, which is not retried", func(t *testing.T) {
		t.Parallel()
		inWorld(t, "least_time", 10, Config{}, func(t *testing.T, w *world) {
			w.apps[3].answer, w.apps[3].service = failing(faulty), quick
			simulated(w, 0.3, 12*time.Second)
			if share := float64(w.errors) / float64(len(w.latency)); share > 0.001 {
				t.Errorf("%.2f %% failed: want at most 0.1 %%", 100*share)
			}
		})
	})
	t.Run("30 % of its answers fail", func(t *testing.T) {
		t.Parallel()
		eachLoadPolicy(t, Config{}, func(t *testing.T, w *world) {
			w.apps[3].answer = func(time.Duration) outcome {
				if w.dice.Float64() < 0.3 {
					return faulty
				}
				return good
			}
			simulated(w, 0.3, 20*time.Second)
			// A tenth of 30 % is 3 % if nothing is done.
			if share := float64(w.errors) / float64(len(w.latency)); share > 0.01 {
				t.Errorf("%.2f %% failed: want at most 1 %%", 100*share)
			}
		})
	})
}

// TestASlowReplicaIsEjectedUnderPoliciesThatDoNotSeeTime: round robin would
// give it its tenth for ever.
func TestASlowReplicaIsEjectedUnderPoliciesThatDoNotSeeTime(t *testing.T) {
	t.Parallel()
	inWorld(t, "round robin", 10, policyConfig("round_robin"), func(t *testing.T, w *world) {
		w.apps[3].slowness = 20
		w.run(full(10)*0.1, 60*time.Second)
		v := w.apps[3].record.Load()
		if n := v.ejection.total.Load(); n < 2 {
			t.Errorf("ejected %d times in a minute: want again and again", n)
		}
		w.forget()
		w.run(full(10)*0.1, 60*time.Second)
		if share := w.share(w.apps[3]); share > 0.05 {
			t.Errorf("it has %.1f %% of the tries", 100*share)
		}
	})
}

// TestTheTimelineOfEjections: 5, 10, 20, 40 s, a fifth more or less each; and
// between them at most the failures that it takes, found in slow start.
func TestTheTimelineOfEjections(t *testing.T) {
	t.Parallel()
	inWorld(t, "one that always fails", 10, policyConfig("round_robin"), func(t *testing.T, w *world) {
		v := w.apps[3]
		v.answer, v.service = failing(gateway), quick
		var lengths []time.Duration
		was := int64(0)
		w.observed = func() {
			until := v.record.Load().ejection.until.Load()
			if until != 0 && until != was {
				lengths = append(lengths, time.Duration(until-w.pool.now()))
			}
			was = until
		}
		w.run(full(10)*0.05, 2*time.Minute)
		if len(lengths) < 4 {
			t.Fatalf("ejected for %s: want at least four times", lengths)
		}
		for i, want := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second} {
			// The look may come one arrival, some milliseconds, after the ejection.
			if got := lengths[i]; got < want*79/100 || got > want*12/10 {
				t.Errorf("ejection %d for %s: want %s, a fifth more or less", i+1, got, want)
			}
		}
		if w.errors != 0 {
			t.Errorf("%d errors reached visitors", w.errors)
		}
	})
}

// TestWhenAllFailNobodyIsEjectedAndTheEndIsNoticed: a dependency of all of them
// is down for ten seconds.
func TestWhenAllFailNobodyIsEjectedAndTheEndIsNoticed(t *testing.T) {
	t.Parallel()
	inWorld(t, "60 % of all answers fail", 10, Config{}, func(t *testing.T, w *world) {
		down := false
		for _, v := range w.apps {
			v.answer = func(time.Duration) outcome {
				if down && w.dice.Float64() < 0.6 {
					return gateway
				}
				return good
			}
		}
		rate := full(10) * 0.6
		w.run(rate, 5*time.Second)
		w.forget()
		arrivals := 0
		w.observed = func() {
			arrivals++
			if n := ejected(w.pool.view.Load().members); n > 5 {
				t.Fatalf("%d of 10 ejected: want at most 5", n)
			}
		}
		down = true
		w.run(rate, 10*time.Second)
		down = false
		if w.refused != 0 {
			t.Errorf("%d requests were refused though there were replicas", w.refused)
		}
		if amplified := float64(w.tries) / float64(arrivals); amplified > 1.25 {
			t.Errorf("%.2f tries a request: want at most 1.2 and the reserve of 10 a second", amplified)
		}
		w.run(rate, 2*time.Second)
		w.finish()
		w.forget()
		w.run(rate, 5*time.Second)
		w.finish()
		if w.errors != 0 || w.p99() > 1.3*evenTail {
			t.Errorf("2 s after the end: %d errors, p99 %.0f ms: want none and %.0f", w.errors, w.p99(), 1.3*evenTail)
		}
		for _, v := range w.apps {
			if share := w.share(v); share > 0.2 {
				t.Errorf("%s has %.1f %% after the end: want at most twice its part", v.address, 100*share)
			}
		}
	})
}
