package sampling

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEachSecondKeepsItsFirstAndAShareOfTheRest(t *testing.T) {
	for name, c := range map[string]struct {
		first  int
		share  float64
		events int
		want   int
	}{
		"fewer than the first":       {100, 0.01, 60, 60},
		"just the first":             {100, 0.01, 100, 100},
		"one in a hundred past it":   {100, 0.01, 1100, 110},
		"none of them first":         {0, 0.1, 95, 9},
		"all of them":                {0, 1, 50, 50},
		"none past the first":        {5, 0, 5000, 5},
		"more than all means all":    {0, 7, 20, 20},
		"a third, to the next whole": {0, 0.3, 30, 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(RateOf(c.first, c.share))
			for second := range 3 {
				kept := 0
				for i := range c.events {
					if s.Keep(time.Unix(int64(1000+second), int64(i))) {
						kept++
					}
				}
				if kept != c.want {
					t.Errorf("second %d kept %d of %d: want %d", second, kept, c.events, c.want)
				}
			}
		})
	}
}

func TestNoEventIsLostAmongMany(t *testing.T) {
	s, now := New(RateOf(10, 0.5)), time.Unix(1000, 0)
	const workers, each = 8, 1000
	var kept atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range each {
				if s.Keep(now) {
					kept.Add(1)
				}
			}
		})
	}
	group.Wait()
	if want := int64(10 + (workers*each-10)/2); kept.Load() != want {
		t.Errorf("kept %d: want %d", kept.Load(), want)
	}
}

func TestACountThatIsFullKeepsNoMore(t *testing.T) {
	s := New(RateOf(1, 1))
	s.seen.Store(1000<<32 | math.MaxUint32)
	if s.Keep(time.Unix(1000, 0)) {
		t.Error("kept one more: want none, rather than to count from the start")
	}
	if !s.Keep(time.Unix(1001, 0)) {
		t.Error("the first of the next second is not kept")
	}
}

func BenchmarkKeep(b *testing.B) {
	s, now := New(RateOf(100, 0.01)), time.Unix(1000, 0)
	for b.Loop() {
		s.Keep(now)
	}
}
