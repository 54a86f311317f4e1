package lb

import "github.com/edgegw/edge/internal/named"

func init() {
	Policies.Register("least_conn", plain(func() Policy { return leastConn{} }), named.Spec{})
}

// leastConn takes the replica with the fewest requests in flight.
type leastConn struct{}

func (leastConn) Pick(c Candidates) int { return lowest(c, weightedLoad) }

// weightedLoad is the load a candidate would have, as if slow start made it
// that much smaller.
func weightedLoad(c Candidates, i int) float64 { return float64(c.Load(i)+1) / c.Weight(i) }
