package lb

import (
	"testing"
	"time"
)

// partings runs a spread for a number of connections, and returns the moments
// at which they part.
func partings(count int, window time.Duration, chance float64) []time.Duration {
	began := time.Unix(1000, 0)
	s := newParting(count, began, began.Add(window), chance)
	var moments []time.Duration
	for now := began; count > 0; {
		n, again := s.due(count, now)
		for range n {
			moments = append(moments, now.Sub(began))
		}
		count -= n
		now = again
	}
	return moments
}

func TestConnectionsPartEvenlyOverTheWindow(t *testing.T) {
	for _, window := range []time.Duration{20 * time.Millisecond, time.Second, 20 * time.Second, time.Hour} {
		for _, count := range []int{1, 2, 3, 20, 10_000} {
			for _, chance := range []float64{0, 0.5, 0.999} {
				moments := partings(count, window, chance)
				if last := moments[len(moments)-1]; last > window {
					t.Fatalf("%d over %s, chance %g: the last parts after %s", count, window, chance, last)
				}
				// In each tenth of the window a tenth of them, give or take what parts
				// at a time.
				atOnce := 2 + 2*count*int(finest)/int(window)
				if window < 20*finest || count < 10 {
					continue
				}
				tenths := [10]int{}
				for _, at := range moments {
					tenths[min(9, int(10*at/window))]++
				}
				for i, n := range tenths {
					if n < count/10-atOnce || n > count/10+atOnce {
						t.Errorf("%d over %s, chance %g: %d in tenth %d of the window: want %d±%d", count, window, chance, n, i, count/10, atOnce)
					}
				}
			}
		}
	}
}

func TestOneConnectionPartsAtAMomentOfChance(t *testing.T) {
	for _, chance := range []float64{0, 0.25, 0.75} {
		if at := partings(1, 20*time.Second, chance); at[0] != time.Duration(chance*float64(20*time.Second)) {
			t.Errorf("chance %g: %v: want that share of the window", chance, at)
		}
	}
}

func TestAPartingLooksAgainForConnectionsThatComeLater(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newParting(0, now, now.Add(time.Second), 0)
	if n, again := s.due(0, now); n != 0 || again.Sub(now) != otherwise {
		t.Errorf("%d, again in %s: want none, and %s", n, again.Sub(now), otherwise)
	}
	if n, _ := s.due(7, now.Add(time.Second)); n != 7 {
		t.Errorf("%d at the end of the window: want all", n)
	}
}
