package lb

import "github.com/edgegw/edge/internal/named"

func init() {
	Policies.Register("least_time", plain(func() Policy { return leastTime{} }), named.Spec{})
}

// leastTime takes the replica where the request should be answered first: its
// recent latency times the requests it already works on, made dearer by
// failures and by slow start.
type leastTime struct{}

func (leastTime) Pick(c Candidates) int { return lowest(c, Candidates.Cost) }
