package lb

import "github.com/edgegw/edge/internal/named"

func init() {
	Policies.Register("random", plain(func() Policy { return random{} }), named.Spec{})
}

// random takes any replica.
type random struct{}

func (random) Pick(c Candidates) int {
	i := anyUp(c)
	// One in slow start hands most draws on; four bound the search.
	for redraw := 0; redraw < 4 && i >= 0 && !passes(c, i); redraw++ {
		i = anyUp(c)
	}
	return i
}
