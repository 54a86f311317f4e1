package residency

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTheClimberFindsTheBestShare(t *testing.T) {
	for name, best := range map[string]float64{"small": 0.01, "middle": 0.4, "large": 0.8} {
		r := rand.New(rand.NewPCG(5, 6))
		c := NewClimber()
		sum, n := 0.0, 0
		for i := range 400 {
			// A hill of half a point for each hundredth of the way.
			ratio := 0.6 - 0.5*math.Abs(c.Share()-best)
			hits := 0
			for range leastSample {
				if r.Float64() < ratio {
					hits++
				}
			}
			c.Count(hits, leastSample-hits, 100)
			if i >= 200 {
				sum, n = sum+math.Abs(c.Share()-best), n+1
			}
		}
		if off := sum / float64(n); off > 0.08 {
			t.Errorf("%s: the share is off by %.3f on average: want it near %.2f", name, off, best)
		}
	}
}

func TestAShareThatMakesNoDifferenceIsSmall(t *testing.T) {
	c := NewClimber()
	for range 100 {
		c.Count(leastSample/2, leastSample/2, 100)
	}
	if c.Share() != leastShare {
		t.Errorf("%.3f: want the least", c.Share())
	}
}

func TestTheClimberWaitsForASample(t *testing.T) {
	c := NewClimber()
	if c.Count(1, leastSample, 100_000) || c.Share() != firstShare {
		t.Error("moved before there were four uses for each resident")
	}
	if !c.Count(0, 400_000, 100_000) {
		t.Error("did not move when there were")
	}
}
