package autoscale

import (
	"math"
	"slices"
	"time"
)

// Load is what a pool measures at one moment.
type Load struct {
	InFlight int64 // requests at replicas
	Queued   int64 // requests that wait for one
	Up       int   // replicas that pass their checks
	Running  int   // replicas that are not leaving, well or not

	// Doubted says that the pool presumes its own view of its replicas wrong.
	Doubted bool
}

// Decision is how many replicas a pool should have, and what speaks for it.
type Decision struct {
	Desired     int     `json:"desired_replicas"`
	Why         Why     `json:"why"`
	Wanted      float64 `json:"wanted_replicas"` // concurrency / target, without bounds, windows and rounding
	Concurrency float64 `json:"concurrency"`     // requests at a time, averaged over the window
	Burst       float64 `json:"burst"`           // the same over a tenth of the window
	Utilisation float64 `json:"utilisation"`     // concurrency of the replicas that are up, as a share of their target; 0 when none is
	Bursting    bool    `json:"bursting"`        // the burst decides, and nothing is lowered
}

// Why is the reason of a decision.
type Why string

// The reasons. They are documented in docs/autoscaling.md.
const (
	NoTarget Why = "no-target" // there is nothing to reckon with
	Steady   Why = "steady"    // as many as there should be
	More     Why = "more"      // more are needed on average
	Fewer    Why = "fewer"     // fewer were needed for as long as down says
	Burst    Why = "burst"     // more are needed at once
	Waiting  Why = "waiting"   // more are wanted, not yet for as long as up says
	Cooling  Why = "cooling"   // fewer are wanted, not yet for as long as down says
	Warming  Why = "warming"   // too little has been measured to lower what runs
	Blind    Why = "blind"     // no replica is up, or the pool doubts what it sees: nothing is lowered
	AtMin    Why = "min"       // fewer are wanted than min
	AtMax    Why = "max"       // more are wanted than max
)

const (
	// steps is the number of parts that a window is measured in. A burst is
	// seen in a tenth of them (Knative: panic-window-percentage 10).
	steps      = 60
	burstSteps = steps / 10

	// burstAt is how many times the target of all replicas that are up the
	// burst must be. Knative's panic-threshold-percentage is 200, of a number
	// of replicas that is rounded up: a single replica gets there with little
	// more than its target. 1.5 without rounding is the same for two, and about
	// what a replica takes at all when its target is 70% of that.
	burstAt = 1.5
)

// Past is what decisions rest on. The zero value knows nothing. It is a value:
// nothing changes a Past that was given out.
type Past struct {
	begun   bool
	began   time.Duration
	seen    bool     // a replica, that somebody else runs
	steps   []step   // oldest first
	highs   []wanted // of the time that down looks back, falling: the first is the highest
	lows    []wanted // of the time that up looks back, rising: the first is the lowest
	desired int
	burst   struct {
		on   bool
		last time.Duration // when the burst was last above its threshold
		most int           // that it asked for
	}
}

// step is a part of the window.
type step struct {
	at  time.Duration
	sum float64
	n   float64
}

// wanted is a number that was wanted at a time.
type wanted struct {
	at time.Duration
	n  int
}

// Decide takes what a pool measures now, on a clock that never goes back, and
// returns what it should have, and what the next decision rests on. It is to
// be called several times a second.
//
// It is Knative's pod autoscaler (average over a window, and a burst over a
// tenth of it that raises at once and lowers nothing) with the tolerance and
// the stabilisation windows of the Kubernetes HPA: the number follows the
// lowest that was wanted within up, and the highest within down. What is
// wanted is never trusted downwards by a pool that cannot see.
func Decide(s Settings, p Past, now time.Duration, l Load) (Past, Decision) {
	p = p.add(s, now, float64(l.InFlight+l.Queued))
	d := Decision{
		Concurrency: p.average(now - s.Window),
		Burst:       p.average(now - s.Window*burstSteps/steps),
	}
	if s.Target <= 0 {
		d.Why = NoTarget
		return p, d
	}
	d.Wanted = d.Concurrency / s.Target
	if l.Up > 0 {
		d.Utilisation = d.Wanted / float64(l.Up)
	}
	n, why := p.want(s, l, d)
	p = p.rush(s, now, l.Up, d.Burst)
	if d.Bursting = p.burst.on; d.Bursting && p.burst.most >= n {
		n, why = p.burst.most, Burst
	}
	d.Desired, d.Why = p.settle(s, now, l, n, why)
	p.desired = d.Desired
	if p.burst.on {
		p.burst.most = max(p.burst.most, p.desired) // also what was running when it began
	}
	return p, d
}

// add takes a measurement in.
func (p Past) add(s Settings, now time.Duration, concurrency float64) Past {
	if !p.begun {
		p.begun, p.began = true, now
	}
	length := s.Window / steps
	first := 0
	for first < len(p.steps) && p.steps[first].at <= now-s.Window {
		first++
	}
	p.steps = slices.Clone(p.steps[first:])
	if n := len(p.steps); n == 0 || now-p.steps[n-1].at >= length {
		p.steps = append(p.steps, step{at: now})
	}
	last := &p.steps[len(p.steps)-1]
	last.sum += concurrency
	last.n++
	return p
}

// average is the mean since a moment.
func (p Past) average(since time.Duration) float64 {
	sum, n := 0.0, 0.0
	for _, s := range p.steps {
		if s.at > since {
			sum += s.sum / s.n
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return sum / n
}

// want is what the average asks for.
func (p Past) want(s Settings, l Load, d Decision) (int, Why) {
	n := atLeastOne(d.Wanted)
	if p.desired > 0 && math.Abs(d.Wanted/float64(p.desired)-1) <= s.Tolerance+1e-9 {
		n = p.desired
	}
	switch {
	case n > p.desired:
		return n, More
	case n < p.desired && (l.Up == 0 || l.Doubted):
		return p.desired, Blind
	case n < p.desired:
		return n, Fewer
	}
	return n, Steady
}

// rush begins, keeps up and ends a burst. It ends when nothing spoke for it
// for a whole window.
func (p Past) rush(s Settings, now time.Duration, up int, burst float64) Past {
	if over := burst >= burstAt*s.Target*float64(max(1, up)); over {
		if !p.burst.on {
			p.burst.on, p.burst.most = true, p.desired // which is not lowered while it lasts
		}
		p.burst.last = now
	}
	if !p.burst.on {
		return p
	}
	if now-p.burst.last > s.Window {
		p.burst.on, p.burst.most = false, 0
		return p
	}
	p.burst.most = max(p.burst.most, atLeastOne(burst/s.Target))
	return p
}

// settle holds what is wanted to the windows and the bounds.
func (p *Past) settle(s Settings, now time.Duration, l Load, n int, why Why) (int, Why) {
	// Until a window has been measured, what runs is taken for what was wanted
	// before; then it still counts for as long as down says. The window begins
	// with the first replica that is seen, however late that is.
	if l.Running > 0 && !p.seen {
		p.seen, p.began = true, now
	}
	if warming := now-p.began < s.Window; warming && l.Running > n {
		n, why = l.Running, Warming
	}
	n = min(n, maxReplicas)
	p.highs = slide(p.highs, now, s.Down, n, func(old int) bool { return old > n })
	p.lows = slide(p.lows, now, s.Up, n, func(old int) bool { return old < n })
	high, low := p.highs[0].n, p.lows[0].n
	if why == Burst {
		low = n
	}
	desired := p.desired
	if desired == 0 {
		desired = n
	}
	switch {
	case desired < low:
		desired = low
	case desired > high:
		desired = high
	}
	switch {
	case n > desired:
		why = Waiting
	case n < desired:
		why = Cooling
	}
	if desired > s.Max {
		return s.Max, AtMax
	}
	if desired < s.Min {
		return s.Min, AtMin
	}
	return desired, why
}

// slide adds n to a queue of extremes, from which those leave that are older
// than the window or that n outdoes.
func slide(queue []wanted, now, window time.Duration, n int, beats func(int) bool) []wanted {
	first := 0
	for first < len(queue) && now-queue[first].at > window {
		first++
	}
	queue = slices.Clone(queue[first:])
	for len(queue) > 0 && !beats(queue[len(queue)-1].n) {
		queue = queue[:len(queue)-1]
	}
	return append(queue, wanted{now, n})
}

// atLeastOne rounds up, and counts no further than there can be replicas.
func atLeastOne(replicas float64) int {
	return int(min(max(1, math.Ceil(replicas)), maxReplicas))
}
