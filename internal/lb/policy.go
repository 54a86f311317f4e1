package lb

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/edgegw/edge/internal/named"
)

// Policies holds the balancing policies by their name in the configuration.
var Policies named.Registry[Policy]

// Policy picks a replica for one request. A Policy is used by many requests at
// once; one value serves one pool until the pool's policy is configured anew.
type Policy interface {
	// Pick returns the index of a candidate that is up, or -1 when none is.
	Pick(c Candidates) int
}

// Marker is a Policy that marks answers, so that the visitor's next request
// finds back.
type Marker interface {
	Policy
	// Mark is called with the header of an answer that is below 500 and about to
	// be passed on, and the candidate that it comes from.
	Mark(c Candidates, i int, answer http.Header)
}

// Candidates is what a policy sees of the replicas and of the request: a view
// for one pick. What it says may change between two calls, because other
// requests come and go.
type Candidates interface {
	Len() int
	Up(i int) bool          // may take this request
	Load(i int) int         // requests in flight
	Cost(i int) float64     // the time this request would take there, in milliseconds, with all known penalties
	Weight(i int) float64   // above 0, at most 1: the share that its source and slow start grant
	Standing(i int) bool    // in rotation, though it may be full, or tried by this request before
	Place(i int) uint64     // names the address: the same on every gateway and for ever
	Process(i int) uint64   // names the process there, as far as it says who it is
	Request() *http.Request // as it came; not to be changed
	Client() string         // the visitor's IP address
	Shared() bool           // the answer may be stored and given to other visitors
}

// plain builds a policy that takes no words.
func plain(build func() Policy) func(named.Spec) (Policy, error) {
	return func(s named.Spec) (Policy, error) {
		if err := errors.Join(s.Want(0, 0, "none")...); err != nil {
			return nil, err
		}
		return build(), nil
	}
}

// fullScan is the number of candidates up to which all are compared: beyond,
// the best of a few is as good and stays cheap (research: 3 µs at 100).
const fullScan = 32

// lowest returns the candidate that is up and measures least. Ties go to a
// random one: the scan begins at a random place.
func lowest(c Candidates, measure func(Candidates, int) float64) int {
	n := c.Len()
	if n > fullScan {
		if i := lowestOf(c, measure, mostDraws); i >= 0 {
			return i
		}
	}
	if n == 0 {
		return -1
	}
	best, least := -1, 0.0
	for i, seen := rand.IntN(n), 0; seen < n; seen++ {
		if c.Up(i) {
			if m := measure(c, i); best < 0 || m < least {
				best, least = i, m
			}
		}
		if i++; i == n {
			i = 0
		}
	}
	return best
}

// mostDraws is the most that lowestOf compares.
const mostDraws = 3

// lowestOf compares a number of random draws, each of another candidate, or
// all when there are fewer; -1 when none is up.
func lowestOf(c Candidates, measure func(Candidates, int) float64, draws int) int {
	var room [mostDraws]int
	drawn := room[:0]
	best, least := -1, 0.0
	for range draws {
		i := anyUpBut(c, drawn)
		if i < 0 {
			return best
		}
		drawn = append(drawn, i)
		if m := measure(c, i); best < 0 || m < least {
			best, least = i, m
		}
	}
	return best
}

// anyUp returns a random candidate that is up, each as likely as the other, or
// -1 when none is.
func anyUp(c Candidates) int { return anyUpBut(c, nil) }

// anyUpBut is anyUp without those that were drawn already: two draws of the
// same replica are no choice.
func anyUpBut(c Candidates, drawn []int) int {
	n := c.Len()
	if n == 0 {
		return -1
	}
	for range 4 { // Most are up most of the time: no need to look at all.
		if i := rand.IntN(n); c.Up(i) && !slices.Contains(drawn, i) {
			return i
		}
	}
	chosen, ups := -1, 0
	for i := range n {
		if !c.Up(i) || slices.Contains(drawn, i) {
			continue
		}
		ups++
		if rand.IntN(ups) == 0 {
			chosen = i
		}
	}
	return chosen
}

// passes rolls the dice for a candidate in slow start.
func passes(c Candidates, i int) bool {
	w := c.Weight(i)
	return w >= 1 || rand.Float64() < w
}
