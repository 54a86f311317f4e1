package autoscale

import "time"

// differAfter is how long the number of replicas may differ from what was asked
// for before that is taken for a change by somebody else, and not for a start, a
// stop or a deploy that takes its time.
const differAfter = 5 * time.Minute

// Standing is where a pool stands with its driver.
type Standing struct {
	Desired int           // what the pool should have now; 0 when that is not known
	Told    int           // what the driver accepted last; 0 before the first
	Running int           // replicas that are not leaving
	Differs time.Duration // for how long Running has not been Told

	Lowers  Lowering
	Pause   time.Duration
	Last    time.Time // when an order was accepted last
	NotYet  time.Time // no try before: one has failed
	Victims int       // replicas that are drained, or being drained, to be ended
	Drained bool      // all of them are
}

// Move is what to do next.
type Move int

// The moves.
const (
	Rest    Move = iota // nothing
	Send                // ask for Desired, naming the victims
	Drain               // drain victims until there are Told - Desired of them
	Release             // take victims back
	Accept              // what runs is what was asked for: nothing needs to be said
	Stay                // fewer are desired, and must not be asked for
)

// Next decides what to do at now. What somebody else runs is found, never
// guessed: a gateway that has just started asks for nothing before it has seen
// a replica, and then for more at most.
func Next(s Standing, now time.Time) Move {
	switch {
	case s.Desired == 0:
		return Rest
	case s.Victims > max(0, s.Told-s.Desired):
		return Release
	case now.Before(s.NotYet), now.Sub(s.Last) < s.Pause && s.Told > 0:
		return Rest
	}
	if s.Lowers == LowersItself {
		if s.Desired != s.Told {
			return Send
		}
		return Rest
	}
	switch {
	case s.Told == 0 && s.Running == 0:
		return Rest
	case s.Told == 0 && s.Desired <= s.Running:
		return Accept
	case s.Desired > s.Told:
		return Send
	case s.Differs >= differAfter && s.Running > s.Told:
		return Accept
	case s.Differs >= differAfter && s.Running < s.Told-s.Victims:
		if s.Desired == s.Told {
			return Send
		}
		return Accept
	case s.Desired == s.Told:
		return Rest
	case s.Differs > 0 && s.Victims == 0:
		return Rest // In the middle of a deploy there is no telling who should go.
	}
	switch {
	case s.Lowers == LowersNever:
		return Stay
	case s.Lowers == LowersNamed && s.Victims < s.Told-s.Desired:
		return Drain
	case s.Lowers == LowersNamed && !s.Drained:
		return Rest
	}
	return Send
}

// Backoff is how long to wait after so many failures in a row: a second, twice
// as long each time, up to a minute.
func Backoff(failures int) time.Duration {
	pause := time.Second
	for range failures - 1 {
		if pause *= 2; pause > time.Minute {
			return time.Minute
		}
	}
	return pause
}
