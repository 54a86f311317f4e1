package lb

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// reviewEvery is how often replicas are compared by their last ten seconds.
	reviewEvery = int64(time.Second)

	// worseTimes is how many times the pool's median a failure ratio must be,
	// besides being above the configured one: when all fail, nobody is worse.
	worseTimes = 3

	// leastDelay is what a latency must be above the pool's median, besides being
	// a multiple of it: 3 ms among ones of half a millisecond harm nobody.
	leastDelay = 100 * time.Millisecond

	// forgiveAfter is the time in rotation that takes one doubling back.
	forgiveAfter = time.Minute

	// ejectJitter spreads the time of an ejection by a fifth either way, so that
	// replicas that were ejected together do not come back together.
	ejectJitter = 0.2
)

// ejection is whether, and how often, a process was set aside because it was
// worse than its peers.
type ejection struct {
	until atomic.Int64 // 0: it is not ejected
	total atomic.Int64

	mu    sync.Mutex
	step  int   // doublings of the next one
	ended int64 // when the last one did
	why   string
}

func (e *ejection) on() bool { return e.until.Load() != 0 }

// begin ejects from now on and returns for how long. The dice are from 0 to 1.
func (e *ejection) begin(now int64, c *Eject, dice float64, why string) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step = max(0, e.step-int((now-e.ended)/int64(forgiveAfter)))
	length := ejectionTime(c, e.step, dice)
	e.step++
	e.why = why
	e.total.Add(1)
	e.until.Store(now + int64(length))
	return length
}

// end takes the process back. False when it is not ejected.
func (e *ejection) end(now int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = now
	return e.until.Swap(0) != 0
}

func (e *ejection) reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}

// ejectionTime is base·2^step, a fifth more or less, at most max.
func ejectionTime(c *Eject, step int, dice float64) time.Duration {
	long := float64(c.Base) * math.Pow(2, float64(min(step, 30)))
	long *= 1 - ejectJitter + 2*ejectJitter*dice
	return time.Duration(min(long, float64(c.Max)))
}

// compare counts an outcome of r and ejects it if that makes it worse than its
// peers. Any request, as it ends, may find that another replica is.
func (p *Pool) compare(r *replica, of *record, o outcome) {
	v := p.view.Load()
	if o == neutral || v == nil {
		return
	}
	now, c := p.now(), &v.settings.Eject
	streak := of.count(now, o)
	if c.Off {
		return
	}
	if o.streaky() && c.Consecutive > 0 && streak >= c.Consecutive && p.failsMore(v, r, of, now) {
		p.eject(v, r, of, now, fmt.Sprintf("%d gateway failures in a row", streak))
	}
	at := p.reviewedAt.Load()
	if now-at >= reviewEvery && p.reviewedAt.CompareAndSwap(at, now) {
		p.review(v, now)
	}
}

// failsMore reports whether r fails at least twice as often as its peers do.
// When all fail they share a cause, and ejecting some would drown the rest.
func (p *Pool) failsMore(v *view, r *replica, of *record, now int64) bool {
	var peers []float64
	for _, other := range v.members {
		if other != r && other.is() == up {
			peers = append(peers, other.record.Load().failingAround(now))
		}
	}
	return of.failingAround(now) >= 2*middle(peers)
}

// review ejects who was worse than its peers over the last ten seconds.
func (p *Pool) review(v *view, now int64) {
	type judged struct {
		replica *replica
		record  *record
		recent
	}
	var all []judged
	for _, r := range v.members {
		of := r.record.Load()
		if r.is() != up || of.ejection.on() {
			continue
		}
		if seen := of.recent(now); seen.requests >= v.settings.Eject.MinRequests {
			all = append(all, judged{r, of, seen})
		}
	}
	// The worst first: the cap may spare the others.
	slices.SortFunc(all, func(a, b judged) int { return b.failures*a.requests - a.failures*b.requests })
	for i, one := range all {
		var ratios, times []float64
		for j, other := range all {
			if i != j {
				ratios = append(ratios, other.ratio())
				times = append(times, other.mean())
			}
		}
		if len(ratios) == 0 {
			return
		}
		if why := worse(&v.settings.Eject, one.recent, middle(ratios), middle(times)); why != "" {
			p.eject(v, one.replica, one.record, now, why)
		}
	}
}

// worse says why a replica is an outlier beside peers of these medians, or "".
func worse(c *Eject, one recent, ratio, mean float64) string {
	if one.ratio() > float64(c.FailureRatio) && one.ratio() > worseTimes*ratio {
		return fmt.Sprintf("%.0f %% of its requests fail, %.0f %% elsewhere", 100*one.ratio(), 100*ratio)
	}
	least := mean + float64(leastDelay)/float64(time.Millisecond)
	if c.Latency > 0 && mean > 0 && one.timed >= c.MinRequests && one.mean() > max(float64(c.Latency)*mean, least) {
		return fmt.Sprintf("takes %.0f ms, %.0f ms elsewhere", one.mean(), mean)
	}
	return ""
}

// middle is the lower median; 0 of nothing.
func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// eject sets r aside, if its share of the pool and the others allow it: there
// must be another that takes requests freely.
func (p *Pool) eject(v *view, r *replica, of *record, now int64, why string) {
	c := &v.settings.Eject
	p.ejecting.Lock()
	members, out, left := 0, 0, 0
	for _, other := range v.members {
		seen := other.record.Load()
		switch {
		case other.is() != up && other.is() != sick:
			continue
		case seen.ejection.on():
			out++
		case other != r && other.is() == up && seen.breaker.Load().closed():
			left++
		}
		members++
	}
	may := left > 0 && float64(out+1) <= float64(c.MaxShare)*float64(members)
	if !may || of.ejection.on() || r.is() != up || r.record.Load() != of {
		p.ejecting.Unlock()
		return
	}
	length := of.ejection.begin(now, c, rand.Float64(), why)
	p.ejecting.Unlock()
	p.news.add(p.about(r, ReplicaEjected, fmt.Sprintf("%s; for %s", why, length.Round(time.Millisecond))))
	p.assess()
	p.wakeKeeper()
}

// readmit ends the ejection of r, if there is one. It comes back as slowly as
// a newcomer, and what it did before counts no more.
func (p *Pool) readmit(r *replica, why string) {
	of := r.record.Load()
	now := p.now()
	if !of.ejection.end(now) {
		return
	}
	of.forgetRecent()
	r.slowFrom.Store(now)
	p.news.add(p.about(r, ReplicaReadmitted, why))
	p.assess()
}

// attendEjectionLocked ends the ejection of r when its time is over, and
// returns when that will be; zero when it is not ejected.
func (p *Pool) attendEjectionLocked(r *replica, now time.Time) time.Time {
	until := r.record.Load().ejection.until.Load()
	if until == 0 {
		return time.Time{}
	}
	ends := p.born.Add(time.Duration(until))
	if now.Before(ends) && !p.settings.Eject.Off {
		return ends
	}
	p.readmit(r, "its time is over")
	return time.Time{}
}
