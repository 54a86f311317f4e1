package main

import "testing"

// What the table says of long traces must hold, with some slack, for short ones:
// nothing beats the bound, and a scan does not flush what is hot.
func TestTheStoreKeepsWhatIsHot(t *testing.T) {
	for _, c := range []struct {
		trace *trace
		share float64
	}{
		{dice{}.popular("Zipf 0.9", 40_000, 5_000, 0.9), 0.1},
		{dice{}.scanned("Zipf 0.9 and scans", 40_000, 5_000, 0.9), 0.1},
	} {
		got := compare(c.trace, c.share)
		if got.edge.requests > got.bound || got.otter.requests > got.bound || got.lru.requests > got.bound {
			t.Errorf("%s: better than the bound: %+v", c.trace.name, got)
		}
		if got.edge.requests < got.otter.requests-0.04 {
			t.Errorf("%s: %.3f of the requests hit: want otter's %.3f less 0.04 at most", c.trace.name, got.edge.requests, got.otter.requests)
		}
		if got.edge.requests < got.lru.requests+0.03 {
			t.Errorf("%s: %.3f of the requests hit: want more than LRU's %.3f", c.trace.name, got.edge.requests, got.lru.requests)
		}
	}
}

// Belady's MIN on a sequence that can be worked out by hand: with room for two,
// a b c a b c hits a and b once each when c is left out.
func TestTheBoundIsBeladys(t *testing.T) {
	tr := &trace{objects: []int32{0, 1, 2, 0, 1, 2}, sizes: []int32{1, 1, 1}, equal: true}
	if got := clairvoyant(tr, 2); got != 2.0/6 {
		t.Errorf("%v: want 2 of 6", got)
	}
	if got := clairvoyant(tr, 3); got != 3.0/6 {
		t.Errorf("%v: want 3 of 6 with room for all", got)
	}
}
