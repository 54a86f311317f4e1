package lb

import "github.com/edgegw/edge/internal/named"

func init() {
	Policies.Register("p2c", plain(func() Policy { return powerOfTwo{} }), named.Spec{})
}

// powerOfTwo draws two different replicas and takes the one with fewer requests in
// flight.
type powerOfTwo struct{}

func (powerOfTwo) Pick(c Candidates) int { return lowestOf(c, weightedLoad, 2) }
