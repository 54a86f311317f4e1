package lb

import (
	"sync/atomic"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Policies.Register("round_robin", plain(func() Policy { return new(roundRobin) }), named.Spec{})
}

// roundRobin takes the replicas that are up in turn.
type roundRobin struct{ turn atomic.Uint64 }

func (p *roundRobin) Pick(c Candidates) int {
	n, ups := c.Len(), 0
	for i := range n {
		if c.Up(i) {
			ups++
		}
	}
	if ups == 0 {
		return -1
	}
	// One step per pick, over those that are up: the neighbour of one that is
	// down does not get its share on top.
	skip := int((p.turn.Add(1) - 1) % uint64(ups))
	last := -1
	for k := range 2 * n {
		i := k % n
		if !c.Up(i) {
			continue
		}
		last = i
		if skip--; skip < 0 && passes(c, i) {
			return i
		}
	}
	return p.orAny(c, last)
}

// orAny covers the rounds in which every candidate in slow start passed its
// turn on, or went down between two looks.
func (p *roundRobin) orAny(c Candidates, last int) int {
	if last >= 0 {
		return last
	}
	return anyUp(c)
}
