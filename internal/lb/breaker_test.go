package lb

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// bench is a breaker on a clock of its own, with the changes it reported.
type bench struct {
	*breaker
	began   time.Time
	changes []string
}

func newBench(c Breaker) *bench {
	b := &bench{began: time.Now()}
	b.breaker = newBreaker(c, b.clock, func(to gobreaker.State) { b.changes = append(b.changes, to.String()) })
	return b
}

func (b *bench) clock() int64 { return int64(time.Since(b.began)) + 1 }

// try sends one request that comes to o; false when it was not admitted.
func (b *bench) try(o outcome) bool {
	probe, ok := b.begin(b.clock())
	switch {
	case !ok:
		return false
	case probe != nil:
		probe(o)
	default:
		b.report(o)
	}
	return true
}

func (b *bench) times(n int, o outcome) {
	for range n {
		b.try(o)
	}
}

func defaultBreaker() Breaker { return Config{}.withDefaults().Breaker }

func TestBreakerTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(defaultBreaker())
		b.times(4, gateway)
		b.try(good)
		b.times(4, reset)
		if !b.closed() {
			t.Fatal("open after 4, 1 good and 4 more: the streak was broken")
		}
		b.try(late)
		if b.closed() || b.try(good) {
			t.Fatal("closed after 5 gateway failures in a row")
		}
		time.Sleep(5*time.Second - time.Millisecond)
		if b.try(good) {
			t.Fatal("admits before its 5 s are over")
		}
		time.Sleep(2 * time.Millisecond)
		probe, ok := b.begin(b.clock())
		if !ok || probe == nil {
			t.Fatal("admits no probe after 5 s")
		}
		if b.try(good) {
			t.Fatal("admits a second request beside the probe")
		}
		probe(gateway)
		if b.try(good) || b.String() != "open" {
			t.Fatalf("%s after a probe that failed: want open", b)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		if b.String() != "half-open" || !b.try(good) || b.String() != "closed" {
			t.Fatalf("%s after a probe that went well: want closed", b)
		}
		want := "open half-open open half-open closed"
		if got := strings.Join(b.changes, " "); got != want {
			t.Errorf("changes %s: want %s", got, want)
		}
	})
}

func TestBreakerRatio(t *testing.T) {
	tests := map[string]struct {
		good, bad int
		bads      outcome
		open      bool
	}{
		"19 requests say nothing":                {0, 19, faulty, false},
		"10 of 20 is the half that opens it":     {10, 10, faulty, true},
		"9 of 20 is less":                        {11, 9, faulty, false},
		"neutral outcomes are no requests":       {0, 100, neutral, false},
		"429 is a success here":                  {0, 100, busy, false},
		"500 makes no streak, but a ratio":       {0, 20, faulty, true},
		"five gateway failures make a streak":    {15, 5, gateway, true},
		"four do not":                            {16, 4, gateway, false},
		"cut bodies count like gateway failures": {15, 5, cut, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(defaultBreaker())
			b.times(test.good, good)
			b.times(test.bad, test.bads)
			if b.closed() == test.open {
				t.Errorf("%d good, %d bad: %s", test.good, test.bad, b)
			}
		})
	}
}

func TestBreakerForgetsWhatIsOlderThanItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(defaultBreaker())
		b.times(10, faulty)
		b.times(9, good)
		time.Sleep(12 * time.Second)
		b.times(10, faulty) // 20 of 29 if it remembered; 10 of 10 is too few.
		if !b.closed() {
			t.Error("opened by failures of 12 s ago")
		}
	})
}

// TestAProbeThatSaysNothingDoesNotWedge: the client left, or the connection
// was handed over, or the code panicked: the next request may probe.
func TestAProbeThatSaysNothingDoesNotWedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(defaultBreaker())
		b.times(5, gateway)
		time.Sleep(24 * time.Hour)
		for range 100 {
			if !b.try(neutral) {
				t.Fatal("wedged")
			}
		}
		if !b.try(good) || !b.closed() {
			t.Error("not closed by a probe that went well")
		}
	})
}

func TestOneProbeAtATime(t *testing.T) {
	c := defaultBreaker()
	c.Open = ms(1)
	b := newBreaker(c, func() int64 { return int64(time.Hour) }, func(gobreaker.State) {})
	for range 5 {
		b.report(refused)
	}
	if !b.unreachable() {
		t.Fatal("not unreachable after 5 refused connections")
	}
	b.reopens.Store(1)
	// gobreaker has a clock of its own: wait until it agrees.
	eventually(t, "half-open", func() bool { return b.two.State() == gobreaker.StateHalfOpen })
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, ok := b.begin(int64(time.Hour)); ok {
				admitted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 1 {
		t.Errorf("%d probes at once: want 1", n)
	}
}
