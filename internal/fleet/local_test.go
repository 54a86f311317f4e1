package fleet

import (
	"slices"
	"sync"
	"testing"
)

func TestLocalGenerations(t *testing.T) {
	cases := map[string]struct {
		start uint64
		floor []uint64
		want  []uint64
	}{
		"a new node counts from one":                   {0, []uint64{0, 0, 0}, []uint64{1, 2, 3}},
		"a restarted node goes on above its journal":   {41, []uint64{0, 41}, []uint64{42, 43}},
		"a store that is ahead lifts the next":         {3, []uint64{9, 9, 2}, []uint64{10, 11, 12}},
		"a floor below the last one changes nothing":   {7, []uint64{1, 8}, []uint64{8, 9}},
		"a floor equal to the last one is passed over": {7, []uint64{7}, []uint64{8}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			l := NewLocal(c.start)
			for i, floor := range c.floor {
				got, err := l.Next(t.Context(), floor)
				if err != nil || got != c.want[i] || l.Generation() != got {
					t.Fatalf("next %d = %d, %v, generation %d: want %d", i, got, err, l.Generation(), c.want[i])
				}
			}
		})
	}
}

func TestLocalGenerationsAreUnique(t *testing.T) {
	l := NewLocal(0)
	const callers, each = 8, 100
	got := make([][]uint64, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for range each {
				g, _ := l.Next(t.Context(), 0)
				got[i] = append(got[i], g)
			}
		})
	}
	wait.Wait()
	all := slices.Concat(got...)
	slices.Sort(all)
	for i, g := range all {
		if g != uint64(i+1) {
			t.Fatalf("generation %d is %d: want every number once", i+1, g)
		}
	}
}

func TestLocalAcknowledgesAtOnce(t *testing.T) {
	if n, err := NewLocal(0).Announce(t.Context(), 1, []byte("{}")); n != 1 || err != nil {
		t.Errorf("members %d, %v: want 1, nil", n, err)
	}
}
