package lb

import (
	"sync"
	"testing"
	"time"
)

func adaptive() Config { return Config{Queue: Queue{Adaptive: true}} }

// thrashes is an application whose work takes longer the more of it there is:
// with 16 requests as long as alone, with 200 ten times as long.
func thrashes(inflight int64) float64 { return 1 + max(0, float64(inflight-16))/20 }

// served is how many requests a second were answered within two seconds of
// their arrival.
func served(w *world, perSecond float64, length time.Duration) float64 {
	w.forget()
	w.run(perSecond, length)
	inTime := 0.0
	for _, ms := range w.latency {
		if ms < 2000 {
			inTime++
		}
	}
	return inTime / length.Seconds()
}

func TestTheAdaptiveLimitKeepsAnApplicationFromThrashing(t *testing.T) {
	t.Parallel()
	overloaded := func(t *testing.T, c Config) (goodput float64, w *world) {
		w = newWorld(t, 10, c)
		for _, v := range w.apps {
			v.crowding = thrashes
		}
		w.run(full(10)*0.5, 2*time.Second)
		w.run(full(10)*3, 5*time.Second)
		return served(w, full(10)*3, 15*time.Second) / full(10), w
	}
	inWorld(t, "with it, nine tenths of the capacity and more at three times the load", 10, Config{}, func(t *testing.T, _ *world) {
		goodput, w := overloaded(t, adaptive())
		if goodput < 0.9 {
			t.Errorf("%.0f %% of the capacity: want 90 %%; limits %d", 100*goodput, limits(w))
		}
	})
	inWorld(t, "without it, it thrashes: the case is a real one", 10, Config{}, func(t *testing.T, _ *world) {
		if goodput, _ := overloaded(t, Config{}); goodput > 0.5 {
			t.Errorf("%.0f %% of the capacity", 100*goodput)
		}
	})
}

func limits(w *world) (all []int64) {
	for _, v := range w.apps {
		all = append(all, v.record.Load().limiter.value.Load())
	}
	return all
}

// TestTheAdaptiveLimitFollowsTheCapacity: five seconds after each step requests
// are at a replica for no more than twice the time that their work takes, on the
// average, and nine tenths of what the replicas can do is done.
func TestTheAdaptiveLimitFollowsTheCapacity(t *testing.T) {
	t.Parallel()
	inWorld(t, "to 40 % and back, at three times the load", 10, adaptive(), func(t *testing.T, w *world) {
		w.run(full(10)*0.5, 2*time.Second)
		for i, slowness := range []float64{1, 2.5, 1} {
			for _, v := range w.apps {
				v.slowness = slowness
			}
			w.run(full(10)*3, 5*time.Second)
			// Long enough that a probe more or less does not decide.
			goodput := served(w, full(10)*3, 8*time.Second) / (full(10) / slowness)
			if goodput < 0.9 {
				t.Errorf("phase %d: %.0f %% of the capacity: want 90 %%; limits %d", i, 100*goodput, limits(w))
			}
			if took, most := mean(w.stays), 2*20*slowness; took > most {
				t.Errorf("phase %d: %.0f ms: want at most %.0f; limits %d", i, took, most, limits(w))
			}
		}
	})
}

func mean(of []float64) float64 {
	sum := 0.0
	for _, v := range of {
		sum += v
	}
	return sum / float64(max(1, len(of)))
}

func TestTheAdaptiveLimitLeavesAHealthyPoolAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, "at 0.9 of the capacity nobody is refused and nobody waits longer", 10, adaptive(), func(t *testing.T, w *world) {
		w.run(full(10)*0.9, 2*time.Second)
		w.forget()
		w.run(full(10)*0.9, 10*time.Second)
		w.finish()
		if w.refused != 0 || w.p99() > 1.2*evenTail {
			t.Errorf("%d refused, p99 %.0f ms: want none and %.0f; limits %d", w.refused, w.p99(), 1.2*evenTail, limits(w))
		}
	})
	inWorld(t, "an application that does 150 at a time as well as one", 4, adaptive(), func(t *testing.T, w *world) {
		for _, v := range w.apps {
			v.workers = 1000
		}
		rate := 4 * 150 * 50.0
		w.run(rate, time.Second)
		w.forget()
		w.run(rate, 5*time.Second)
		w.finish()
		if w.refused != 0 || w.p99() > 1.1*evenTail {
			t.Errorf("%d refused, p99 %.0f ms: want none and %.0f; limits %d", w.refused, w.p99(), 1.1*evenTail, limits(w))
		}
	})
	inWorld(t, "a tenth of its answers takes half a second", 10, adaptive(), func(t *testing.T, w *world) {
		for _, v := range w.apps {
			v.workers = 1000
			v.service = func(time.Duration) time.Duration {
				if w.dice.IntN(10) == 0 {
					return 500 * time.Millisecond
				}
				return 5 * time.Millisecond
			}
		}
		w.run(20000, time.Second)
		w.forget()
		w.run(20000, 5*time.Second)
		w.finish()
		if w.refused != 0 || w.p99() > 550 {
			t.Errorf("%d refused, p99 %.0f ms: want none and 500; limits %d", w.refused, w.p99(), limits(w))
		}
	})
}

func TestALimiterIsToldByManyAtOnce(t *testing.T) {
	var l limiter
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				l.observe(int64(1+i)*int64(10*time.Millisecond), 20+float64(i), 150, 150, 200)
				if got := l.allows(200); got < limitFloor || got > 200 {
					t.Errorf("limit %d", got)
				}
			}
		})
	}
	wg.Wait()
	if got := l.allows(200); got == 200 {
		t.Errorf("limit %d though answers take fifty times as long: want less", got)
	}
}

// windows feeds a limiter for whole windows: as many answers as come in so many
// of them, each after what took says of the requests that may be in flight.
func windows(l *limiter, now *int64, n int, took func(allowed int64) float64) {
	for range n {
		for range 50 {
			*now += limitWindow / 50
			allowed := l.allows(200)
			l.observe(*now, took(allowed), allowed, allowed, 200)
		}
	}
}

// queueing is a process of eight workers that is full: what takes ms by itself
// takes longer as more wait.
func queueing(ms float64) func(int64) float64 {
	return func(allowed int64) float64 { return ms * max(1, float64(allowed)/8) }
}

func TestTheLimitIsHalfAsMuchAgainAsIsDoneAtATime(t *testing.T) {
	var l limiter
	now := int64(1)
	const best, tolerance = 12, 2 // 1.5 · 8
	check := func(what string) {
		t.Helper()
		if got := l.allows(200); got < best-tolerance || got > best+tolerance {
			t.Errorf("%s: %d: want %d", what, got, best)
		}
	}
	windows(&l, &now, 40, queueing(20))
	check("overloaded from the start")
	windows(&l, &now, 20, queueing(50))
	check("it has become slower, which is not for the crowd")
	windows(&l, &now, 40, queueing(20))
	check("it is as quick as it was")
	windows(&l, &now, 60, func(int64) float64 { return 20 })
	if got := l.allows(200); got < 190 {
		t.Errorf("it does any number at a time by now: %d: want 200, or nearly", got)
	}
}

func TestWhoIsNotCrowdedIsNotHeldBack(t *testing.T) {
	var l limiter
	now := int64(1)
	for i := range 2000 {
		now += limitWindow / 50
		l.observe(now, 20+float64(i), 60, 60, 200) // ever slower, with less than half of its limit
	}
	if got := l.allows(200); got != 200 {
		t.Errorf("limit %d: want 200", got)
	}
}
