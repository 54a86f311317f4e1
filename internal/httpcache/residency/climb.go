package residency

import "math"

// Climber finds the window's share by climbing: it changes the share, goes on
// in that direction while the hit ratio rises, in shrinking steps, and takes
// large ones again when the traffic changes (Einziger, Eytan, Friedman, Manes:
// Adaptive Software Cache Management, Middleware 2018). A change that may be
// chance counts for a smaller window, which is right more often than not.
//
// One Climber serves all lists of a store: together they see enough to tell
// change from chance.
type Climber struct {
	share     float64
	step      float64
	hits, all int
	last      float64 // hit ratio of the sample before
}

// Share, step, decay and restart are those of Caffeine. Samples are shorter,
// four uses for each resident instead of ten, with a floor for small stores;
// both and the doubt were chosen by bench/hitratio.
const (
	firstShare  = 0.01
	leastShare  = 0.005
	mostShare   = 0.8
	firstStep   = 0.0625
	decay       = 0.98
	restart     = 0.05 // a change of the hit ratio that is news
	perResident = 4
	leastSample = 10_000
	doubt       = 0.5 // standard deviations that may be chance
)

// NewClimber starts where a window usually should be.
func NewClimber() *Climber { return &Climber{share: firstShare, step: firstStep} }

// Share is the window's share at present.
func (c *Climber) Share() float64 { return c.share }

// Count adds hits and misses of a store of so many residents, and reports that
// the share may have changed.
func (c *Climber) Count(hits, misses, residents int) bool {
	c.hits += hits
	c.all += hits + misses
	if c.all < max(perResident*residents, leastSample) {
		return false
	}
	ratio := float64(c.hits) / float64(c.all)
	change := ratio - c.last
	chance := doubt * math.Sqrt(2*ratio*(1-ratio)/float64(c.all))
	c.last, c.hits, c.all = ratio, 0, 0
	switch {
	case math.Abs(change) < chance:
		c.step = -math.Abs(c.step)
	case change < 0:
		c.step = -c.step
	}
	c.share = min(max(c.share+c.step, leastShare), mostShare)
	c.step *= decay
	if math.Abs(change) >= restart {
		c.step = math.Copysign(firstStep, c.step)
	}
	return true
}
