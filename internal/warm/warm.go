// Package warm fills caches after a purge, no faster than the application can
// bear: how many fetches may be under way is decided anew before each, from how
// the pools are.
package warm

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Pool is how a pool is at one moment.
type Pool struct {
	Name string
	// Panic: most replicas look sick.
	Panic bool
	// Up is the number of replicas that take requests.
	Up int
	// Queued and InFlight count requests that wait for a replica, and that are
	// at one.
	Queued, InFlight int64
	// Capacity is how many requests the replicas may have at a time; 0: nobody
	// has said so.
	Capacity int64
	// Failing is the recent share of failures of the worst replica that is up.
	Failing float64
}

const (
	// busy is the share of its capacity above which a pool is left alone. The
	// rest is for visitors.
	busy = 0.7
	// sick is the recent share of failures from which on a replica is: more
	// than one failure among others makes, which may be a page's own.
	sick = 0.3
)

// Allowance is how many fetches more may begin now while so many of ours are
// under way; never more than most in all. Where it is none because the pool is
// not well, it says why.
func (p Pool) Allowance(running, most int) (more int, why string) {
	switch {
	case p.Up == 0:
		return 0, fmt.Sprintf("pool %s has no replica that is up", p.Name)
	case p.Panic:
		return 0, fmt.Sprintf("most replicas of pool %s look sick", p.Name)
	case p.Failing >= sick:
		return 0, fmt.Sprintf("%.0f%% of the requests to a replica of pool %s fail", p.Failing*100, p.Name)
	case p.Queued > 0:
		return 0, fmt.Sprintf("%d requests wait in pool %s", p.Queued, p.Name)
	}
	if p.Capacity == 0 {
		// Nothing to reckon with: one for each replica.
		return max(0, min(most, p.Up)-running), ""
	}
	spare := int64(float64(p.Capacity)*busy) - p.InFlight // ours are among those in flight
	if spare <= 0 && running == 0 {
		return 0, fmt.Sprintf("pool %s has %d requests of %d that it may have", p.Name, p.InFlight, p.Capacity)
	}
	return max(0, min(most-running, int(min(spare, int64(most))))), ""
}

// Allowance is what every pool allows: nobody knows which one a URL is asked of.
func Allowance(pools []Pool, running, most int) (more int, why string) {
	more = max(0, most-running)
	for _, p := range pools {
		one, reason := p.Allowance(running, most)
		if reason != "" {
			return 0, reason
		}
		more = min(more, one)
	}
	return more, ""
}

// Outcome is what became of one fetch.
type Outcome uint8

// The outcomes.
const (
	// Failed: no answer, or none below 500.
	Failed Outcome = iota
	// Miss: it was fetched, and may be there now.
	Miss
	// Hit: it was there.
	Hit
)

// Way is how the URLs are fetched. Its functions may be called concurrently.
type Way[T any] struct {
	// Fetch asks for one of them.
	Fetch func(context.Context, T) Outcome
	// Budget is how many more may begin now, and why none may. nil: Most.
	Budget func(running int) (more int, why string)
	// Most bounds the fetches under way. Must be positive.
	Most int
}

// Result counts what became of URLs.
type Result struct {
	Hit, Miss, Failed int
	// Skipped were not fetched; Why says why not.
	Skipped int
	Why     string
}

const (
	// look is how often a pool that allows nothing is looked at again.
	look = 100 * time.Millisecond
	// patience is how long it may be so before warming ends.
	patience = 10 * time.Second
	// spoilt many failures end the warming, if they are a tenth of all fetches.
	spoilt = 5
)

// Run fetches the URLs in their order, until all are fetched, ctx is done, the
// pools allow nothing for ten seconds, or a tenth of the fetches fail.
func Run[T any](ctx context.Context, w Way[T], urls []T) Result {
	var r Result
	outcomes := make(chan Outcome)
	var fetches sync.WaitGroup
	defer fetches.Wait() // none is left when outcomes were taken
	running := 0
	take := func(o Outcome) {
		running--
		switch o {
		case Hit:
			r.Hit++
		case Miss:
			r.Miss++
		default:
			r.Failed++
		}
	}
	idle := time.Now()
	for len(urls) > 0 && r.Why == "" {
		if ctx.Err() != nil {
			r.Why = context.Cause(ctx).Error()
			break
		}
		more, why := w.budget(running)
		for ; more > 0 && len(urls) > 0; more-- {
			url := urls[0]
			urls = urls[1:]
			running++
			idle = time.Now()
			fetches.Go(func() { outcomes <- w.Fetch(ctx, url) })
		}
		if len(urls) == 0 {
			break
		}
		if why != "" && time.Since(idle) >= patience {
			r.Why = why
			break
		}
		timer := time.NewTimer(look)
		select {
		case o := <-outcomes:
			take(o)
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if r.Failed >= spoilt && r.Failed*10 >= r.Hit+r.Miss+r.Failed {
			r.Why = fmt.Sprintf("%d of %d fetches failed", r.Failed, r.Hit+r.Miss+r.Failed)
		}
	}
	for running > 0 {
		take(<-outcomes)
	}
	r.Skipped = len(urls)
	return r
}

func (w Way[T]) budget(running int) (int, string) {
	if w.Budget == nil {
		return w.Most - running, ""
	}
	more, why := w.Budget(running)
	return min(more, w.Most-running), why
}
