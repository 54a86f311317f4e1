package lb

import (
	"fmt"
	"testing"
	"time"
)

// TestEveryoneIsTriedThoughTheLoadIsLow: with one request at a time nobody is
// ever full, so a replica that looks dearer than its peer gets nothing at all
// unless its price falls with time.
func TestEveryoneIsTriedThoughTheLoadIsLow(t *testing.T) {
	t.Parallel()
	quiet := func(ms int) func(time.Duration) time.Duration {
		return func(time.Duration) time.Duration { return time.Duration(ms) * time.Millisecond }
	}
	inWorld(t, "the second of two whose first has answered", 2, Config{}, func(t *testing.T, w *world) {
		for _, v := range w.apps {
			v.service = quiet(5)
		}
		w.apps[0].record.Load().observe(w.pool.now(), good, 5*time.Millisecond, 0)
		w.run(5, 10*time.Second)
		if got := w.share(w.apps[1]); got < 0.2 {
			t.Errorf("it got %.0f %% of the traffic in 10 s: want its part", 100*got)
		}
	})
	inWorld(t, "a newcomer of which nothing is known", 3, Config{}, func(t *testing.T, w *world) {
		w.apps[2].state.Store(uint32(joining))
		for _, v := range w.apps {
			v.service = quiet(5)
		}
		w.run(20, 30*time.Second)
		w.apps[2].record.Store(w.pool.newRecord(w.apps[2].replica))
		w.apps[2].state.Store(uint32(up))
		w.run(20, 15*time.Second)
		if w.apps[2].served == 0 {
			t.Error("it got nothing for 15 s")
		}
	})
	inWorld(t, "one whose first answer took 1.3 s", 2, Config{}, func(t *testing.T, w *world) {
		for _, v := range w.apps {
			v.service = quiet(5)
		}
		w.apps[0].record.Load().observe(w.pool.now(), good, 1300*time.Millisecond, 0)
		w.run(20, 20*time.Second)
		if w.apps[0].served == 0 {
			t.Error("it was not tried again for 20 s")
		}
		w.forget()
		w.run(20, 20*time.Second)
		if got := w.share(w.apps[0]); got < 0.2 {
			t.Errorf("it has %.0f %% of the traffic after that: want its part", 100*got)
		}
	})
}

// simulated is a run after a second in which everybody gets known.
func simulated(w *world, load1 float64, length time.Duration) (p99 float64) {
	w.run(full(10)*load1, time.Second)
	w.forget()
	w.run(full(10)*load1, length)
	w.finish()
	return w.p99()
}

// evenTail is the 99th percentile of the service itself, without any waiting:
// 20 · exp(0.8·2.326 − 0.32) ms.
const evenTail = 93.0

func TestLeastTimeInSimulation(t *testing.T) {
	t.Parallel()
	const length = 10 * time.Second
	inWorld(t, "ten equals: the tail is that of the service itself", 10, Config{}, func(t *testing.T, w *world) {
		if p99 := simulated(w, 0.7, length); p99 > 1.1*evenTail {
			t.Errorf("p99 %.0f ms: want at most %.0f", p99, 1.1*evenTail)
		}
	})
	for name, slowness := range map[string]float64{"ten": 10, "twenty": 20} {
		for _, load1 := range []float64{0.1, 0.4, 0.7} {
			name := fmt.Sprintf("one %s times as slow at load %.1f gets less than 1.5 %% and spoils no tail", name, load1)
			inWorld(t, name, 10, Config{}, func(t *testing.T, w *world) {
				w.apps[3].slowness = slowness
				p99 := simulated(w, load1, time.Duration(float64(length)*0.7/load1)) // as many requests
				if share := w.share(w.apps[3]); share > 0.015 || p99 > 1.2*evenTail {
					t.Errorf("share %.2f %%, p99 %.0f ms: want 1.5 %% and %.0f", 100*share, p99, 1.2*evenTail)
				}
			})
		}
	}
	inWorlds(t, "one that was slow and is well again has its part within 15 s", 10, Config{}, func(_ *testing.T, w *world) string {
		w.apps[3].slowness = 10
		simulated(w, 0.7, 5*time.Second)
		w.apps[3].slowness = 1
		w.run(full(10)*0.7, 15*time.Second)
		w.forget()
		w.run(full(10)*0.7, 5*time.Second)
		if share := w.share(w.apps[3]); share < 0.05 {
			return fmt.Sprintf("share %.1f %%: want at least half of a tenth", 100*share)
		}
		return ""
	})
	inWorld(t, "half slow, half fast: the slow ones get their smaller share", 10, Config{}, func(t *testing.T, w *world) {
		for i, v := range w.apps {
			v.slowness = 0.6 + float64(i%2) // 1.6 and 0.6 times, as in the study
		}
		// A request at a fast one is over in 0.6 of the time; the tail is that of
		// a mix of which the slow ones do 27 % if they are filled alike.
		if p99 := simulated(w, 0.7, length); p99 > 1.2*evenTail {
			t.Errorf("p99 %.0f ms: want at most %.0f", p99, 1.2*evenTail)
		}
	})
	inWorlds(t, "a cold replica that joins is not run over", 10, Config{}, func(_ *testing.T, w *world) string {
		return herd(w, 9)
	})
	inWorlds(t, "nor are five of ten that join together", 10, Config{}, func(_ *testing.T, w *world) string {
		return herd(w, 5)
	})
	inWorld(t, "a cold start of the whole pool fills all alike", 10, Config{}, func(t *testing.T, w *world) {
		w.run(full(10)*0.7, 5*time.Second)
		for _, v := range w.apps {
			if share := w.share(v); share < 0.05 || share > 0.15 {
				t.Errorf("%s has %.1f %%: want about a tenth", v.address, 100*share)
			}
		}
	})
}

// TestQuickFirstAnswersDrawNoHerd: of many cold replicas some answer quickly at
// first, by chance. Without slow start, as in a pool that is young itself,
// nothing but the caution about them keeps requests away.
func TestQuickFirstAnswersDrawNoHerd(t *testing.T) {
	t.Parallel()
	inWorld(t, "the first two answers took a fifth of the usual time", 10, Config{}, func(t *testing.T, w *world) {
		cold := w.apps[9]
		cold.state.Store(uint32(joining))
		rate := full(9) * 0.6
		w.run(rate, 5*time.Second)
		cold.record.Store(w.pool.newRecord(cold.replica))
		answers := 0
		cold.service = func(time.Duration) time.Duration {
			if answers++; answers <= 2 {
				return 4 * time.Millisecond
			}
			return 160 * time.Millisecond
		}
		cold.state.Store(uint32(up))
		w.forget()
		w.run(rate, time.Second)
		// Those beside it have five or six each, up to a dozen or so in bursts: one
		// that costs twice as much for each request has no more than half of that.
		if cold.served < 2 || cold.most > virtualWorkers {
			t.Errorf("it served %d and had up to %d in flight: want 2 at least, and %d at most", cold.served, cold.most, virtualWorkers)
		}
	})
}

// herd lets all but the first few join a pool that is at work; they are eight
// times as slow for their first five seconds. It returns what went wrong.
func herd(w *world, old int) (wrong string) {
	for _, v := range w.apps[old:] {
		v.state.Store(uint32(joining))
	}
	rate := full(old) * 0.6
	w.run(rate, 10*time.Second)
	w.forget()
	for _, v := range w.apps[old:] {
		v.record.Store(w.pool.newRecord(v.replica))
		v.slowFrom.Store(w.pool.now())
		v.state.Store(uint32(up))
		v.slowness = 8
	}
	mean, looks := 0.0, 0.0
	w.observed = func() {
		for _, v := range w.apps[:old] {
			mean += float64(v.inflight.Load()) / float64(old)
		}
		looks++
	}
	w.run(rate, 5*time.Second)
	mean /= looks
	for _, v := range w.apps[old:] {
		if float64(v.most) > 1.5*mean {
			wrong += fmt.Sprintf("%s had up to %d in flight while it was cold: want at most half more than the mean of the others, %.1f. ", v.address, v.most, mean)
		}
		v.slowness = 1
	}
	w.run(rate, 10*time.Second)
	w.finish()
	if p99 := w.p99(); p99 > 1.2*evenTail {
		wrong += fmt.Sprintf("p99 %.0f ms: want at most %.0f", p99, 1.2*evenTail)
	}
	return wrong
}
