package lb

import (
	"sync/atomic"
	"time"
)

const (
	// budgetSeconds is the window of the retry budget (Finagle: 10 s).
	budgetSeconds = 10

	// budgetReserve is the retries per second that are allowed at any load, so
	// that a quiet pool can retry at all (Finagle: 10).
	budgetReserve = 10
)

// budget allows retries up to a share of the last ten seconds' requests plus
// a reserve of ten a second: within any window of ten seconds, no more than
// share · requests + 100 retries.
type budget struct {
	requests [budgetSeconds]tally
	retries  [budgetSeconds]tally
	hedges   [budgetSeconds]tally
}

// tally counts within one second: the second in the upper half, the count in
// the lower, so that both change in one step.
type tally struct{ atomic.Uint64 }

func (t *tally) add(second uint32) {
	for {
		was := t.Load()
		next := was + 1
		if uint32(was>>32) != second {
			next = uint64(second)<<32 | 1
		}
		if t.CompareAndSwap(was, next) {
			return
		}
	}
}

// sum adds up what lies within the window that ends with second.
func sum(tallies *[budgetSeconds]tally, second uint32) float64 {
	total := 0.0
	for i := range tallies {
		v := tallies[i].Load()
		if second-uint32(v>>32) < budgetSeconds {
			total += float64(uint32(v))
		}
	}
	return total
}

func secondOf(now int64) uint32 { return uint32(now / int64(time.Second)) }

// request counts a request.
func (b *budget) request(now int64) {
	second := secondOf(now)
	b.requests[second%budgetSeconds].add(second)
}

// retry reports whether a retry is within the budget, and counts it if so.
// Retries that ask at the same moment may both be the last.
func (b *budget) retry(now int64, share float64) bool {
	second := secondOf(now)
	allowed := share*sum(&b.requests, second) + budgetReserve*budgetSeconds
	if sum(&b.retries, second)+1 > allowed {
		return false
	}
	b.retries[second%budgetSeconds].add(second)
	return true
}

// hedge is the same for requests besides. There is no reserve: they save time,
// not requests.
func (b *budget) hedge(now int64, share float64) bool {
	second := secondOf(now)
	if sum(&b.hedges, second)+1 > share*sum(&b.requests, second) {
		return false
	}
	b.hedges[second%budgetSeconds].add(second)
	return true
}
