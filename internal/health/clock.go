package health

import (
	"errors"
	"fmt"
	"time"
)

// Bounds of a clock that can be relied on.
const (
	maxJump = time.Second      // between two looks that are seconds apart; a clock that is slewed gains 0.5 ms a second
	maxSkew = 2 * time.Second  // against another's
	recent  = 10 * time.Minute // for which a jump is told
)

// Clock judges the wall clock: whether it jumped, which the monotonic clock
// tells, and whether it goes with another's. Lifetimes, certificates and tokens
// of others depend on it. Its owner holds the lock.
type Clock struct {
	wall time.Time     // at the last look, without its monotonic part
	mono time.Duration // then, since some moment
	jump time.Duration // the last one
	at   time.Duration // of it, on the monotonic clock
	saw  bool
	leap bool
}

// Look judges the clock: wall is what it says, mono the time since some moment by
// the monotonic clock, skew how far it is ahead of another's, as far as is
// known; synchronised tells whether the kernel has it from elsewhere.
func (c *Clock) Look(wall time.Time, mono, skew time.Duration, synchronised bool) (detail string, err error) {
	wall = wall.Round(0)
	if c.saw {
		if jump := wall.Sub(c.wall) - (mono - c.mono); jump > maxJump || jump < -maxJump {
			c.jump, c.at, c.leap = jump, mono, true
		}
	}
	c.wall, c.mono, c.saw = wall, mono, true
	var errs []error
	if c.leap && mono-c.at < recent {
		errs = append(errs, fmt.Errorf("it jumped by %s, %s ago", c.jump.Round(time.Millisecond), (mono-c.at).Round(time.Second)))
	}
	if skew > maxSkew || skew < -maxSkew {
		errs = append(errs, fmt.Errorf("it is %s off that of Redis", skew.Round(time.Millisecond)))
	}
	if !synchronised {
		errs = append(errs, errors.New("the kernel does not have it from elsewhere: want NTP"))
	}
	return "synchronised", errors.Join(errs...)
}
