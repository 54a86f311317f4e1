package caddymodule

import "testing"

func TestTheCollectorIsPacedByABudget(t *testing.T) {
	for name, c := range map[string]struct {
		live uint64
		want int
	}{
		"an empty gateway waits for the most":          {4 << 20, 800},
		"nothing known yet":                            {0, 800},
		"as much alive as the budget: the default":     {64 << 20, 100},
		"a cache of 512 MiB takes an eighth more":      {512 << 20, 15},
		"half the budget alive: twice as much allowed": {32 << 20, 200},
		"a cache of 4 GiB is not marked all the time":  {4 << 30, 15},
	} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("%s: GOGC %d for %d bytes: want %d", name, got, c.live, c.want)
		}
	}
}
