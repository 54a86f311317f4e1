package lb

import (
	"errors"
	"testing"
	"time"
)

// TestATotalOutageIsNotAmplifiedAndItsEndIsNoticed: all ten fail for ten
// seconds, by the kind of failure.
func TestATotalOutageIsNotAmplifiedAndItsEndIsNoticed(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]outcome{"503": gateway, "no connection": refused, "connections break": reset} {
		inWorld(t, name, 10, Config{}, func(t *testing.T, w *world) {
			down := false
			for _, v := range w.apps {
				v.answer = func(time.Duration) outcome {
					if down {
						return o
					}
					return good
				}
			}
			w.checks(func() bool { return !down || o != refused })
			const outage = 10 * time.Second
			rate := full(10) * 0.4
			w.run(rate, 5*time.Second)
			w.forget()
			arrivals := 0
			w.observed = func() { arrivals++ }
			down = true
			w.run(rate, outage)
			down = false
			// Without any reserve: it goes to who does well, and nobody does.
			if amplified := float64(w.tries) / float64(arrivals); amplified > 1.2 {
				t.Errorf("%.2f tries a request: want at most 1.2", amplified)
			}
			w.run(rate, 2*time.Second)
			w.finish()
			w.forget()
			w.run(rate, 5*time.Second)
			w.finish()
			if w.errors+w.refused != 0 || w.p99() > 1.3*evenTail {
				t.Errorf("2 s after the end: %d errors, %d refused, p99 %.0f ms: want none and %.0f", w.errors, w.refused, w.p99(), 1.3*evenTail)
			}
		})
	}
}

// checks lets the replicas be checked as often as the pool would.
func (w *world) checks(pass func() bool) {
	next := make(map[*virtual]time.Time)
	w.checked = func() {
		for _, v := range w.apps {
			if time.Now().Before(next[v]) {
				continue
			}
			next[v] = time.Now().Add(jitter(checkPause(v.replica, w.pool.settings)))
			var err error
			if !pass() {
				err = errors.New("connection refused")
			}
			w.pool.checked(v.replica, identity{}, w.pool.now(), err)
		}
	}
}

// TestThreeTimesTheCapacity: who gets a slot gets an answer, in time; the rest
// hears soon that there is none.
func TestThreeTimesTheCapacity(t *testing.T) {
	t.Parallel()
	inWorld(t, "ten replicas, four thousand a second", 10, Config{}, func(t *testing.T, w *world) {
		w.run(full(10)*0.5, 2*time.Second)
		w.forget()
		const length = 5 * time.Second
		w.run(full(10)*3, length)
		inTime := 0
		for _, ms := range w.latency {
			if ms < 2000 {
				inTime++
			}
		}
		if least := 0.9 * full(10) * length.Seconds(); float64(inTime) < least {
			t.Errorf("%d answers within 2 s: want at least %.0f", inTime, least)
		}
		if w.refused == 0 || w.errors > 0 {
			t.Errorf("%d refused, %d errors: want the rest refused", w.refused, w.errors)
		}
		w.line = nil
		w.finish()
		w.forget()
		w.run(full(10)*0.5, 2*time.Second)
		w.finish()
		if w.refused != 0 || w.p99() > 1.3*evenTail {
			t.Errorf("after it: %d refused, p99 %.0f ms: want none and %.0f", w.refused, w.p99(), 1.3*evenTail)
		}
	})
}
