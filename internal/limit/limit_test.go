package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func TestSoManyWithinAWindow(t *testing.T) {
	l := New(10)
	allowed := func(n int, at time.Duration) (yes int) {
		for range n {
			if ok, _ := l.Allow("a", 10, time.Minute, noon.Add(at)); ok {
				yes++
			}
		}
		return yes
	}
	for _, c := range []struct {
		at   time.Duration
		asks int
		want int
	}{
		{0, 100, 10}, {time.Second, 100, 0}, {6 * time.Second, 100, 1}, {18 * time.Second, 100, 2}, {2 * time.Minute, 100, 10},
	} {
		if got := allowed(c.asks, c.at); got != c.want {
			t.Errorf("at %s: %d of %d: want %d", c.at, got, c.asks, c.want)
		}
	}
	if ok, wait := l.Allow("a", 10, time.Minute, noon.Add(2*time.Minute)); ok || wait != 6*time.Second {
		t.Errorf("got %t, %s: want to wait 6s", ok, wait)
	}
	if ok, _ := l.Allow("b", 10, time.Minute, noon.Add(2*time.Minute)); !ok {
		t.Error("somebody else has to wait too")
	}
}

func TestWhoIsRefusedWaitsNoLongerForAsking(t *testing.T) {
	l := New(10)
	for range 1000 {
		l.Allow("a", 1, time.Second, noon)
	}
	if ok, wait := l.Allow("a", 1, time.Second, noon.Add(time.Second)); !ok {
		t.Errorf("has to wait for another %s", wait)
	}
}

func TestAClockThatGoesBackLocksNobodyOut(t *testing.T) {
	l := New(10)
	l.Allow("a", 2, time.Minute, noon.Add(24*time.Hour))
	if ok, _ := l.Allow("a", 2, time.Minute, noon); ok {
		return
	}
	if ok, wait := l.Allow("a", 2, time.Minute, noon); ok || wait > time.Minute {
		t.Errorf("has to wait %s: want no longer than a window", wait)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := New(100)
	for i := range 10_000 {
		l.Allow(fmt.Sprint(i), 1, time.Hour, noon)
	}
	if l.Len() != 100 {
		t.Errorf("%d remembered: want 100", l.Len())
	}
}

func TestManyAtOnce(t *testing.T) {
	l := New(10)
	var yes atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 50 {
				if ok, _ := l.Allow("a", 100, time.Hour, noon); ok {
					yes.Add(1)
				}
			}
		})
	}
	all.Wait()
	if yes.Load() != 100 {
		t.Errorf("%d allowed: want 100", yes.Load())
	}
}

// Never more than twice the events within any window, and never fewer than they are
// allowed when they keep to the rate.
func FuzzNext(f *testing.F) {
	f.Add(uint8(10), []byte{0, 0, 0, 5, 200})
	f.Fuzz(func(t *testing.T, events uint8, pauses []byte) {
		if events == 0 {
			return
		}
		const window = 256 * time.Second
		l, now := New(1), noon
		var times []time.Time
		for _, pause := range pauses {
			now = now.Add(time.Duration(pause) * time.Second)
			ok, wait := l.Allow("a", int(events), window, now)
			if !ok && wait <= 0 || wait > window {
				t.Fatalf("refused, to wait %s", wait)
			}
			if ok {
				times = append(times, now)
			}
		}
		for i := range times {
			n := 0
			for _, other := range times[i:] {
				if other.Sub(times[i]) < window {
					n++
				}
			}
			if n > 2*int(events) {
				t.Fatalf("%d within a window: want %d at most", n, 2*int(events))
			}
		}
	})
}
