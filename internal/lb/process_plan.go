package lb

import (
	"cmp"
	"slices"
	"time"
)

const (
	// sickLong is how long a process may fail its checks before another is
	// started in its place. It goes when that one is up, so that a fault that
	// all share ends nobody.
	sickLong = time.Minute

	// settled is how long a process has to run for what went wrong before to be
	// over.
	settled = 30 * time.Second
)

// phase is where a process of ours stands.
type phase int

const (
	offered   phase = iota // the pool may use it
	withdrawn              // the pool may not: it drains
	stopping               // it has been asked to finish
)

// procView is a process as a plan sees it.
type procView struct {
	id      int
	phase   phase
	current bool // it runs the program that is configured now
	doomed  bool // it is not taken back once it is withdrawn
	up      bool // its checks pass
	everUp  bool
	listed  bool // the pool has not finished with it
	held    bool // an operator drains it
	sickFor time.Duration
	age     time.Duration
	busy    int64
}

// failing reports whether it is to be replaced, though it runs the right program.
func (v procView) failing() bool { return v.everUp && !v.up && v.sickFor >= sickLong }

// procPlan says what to do next.
type procPlan struct {
	start    int   // new processes
	late     []int // not up in time: withdrawn, and counted as failures
	withdraw []int // no longer needed; may be taken back
	replace  []int // outdated, sick for long, or drained by hand: not taken back
	offer    []int // taken back
	stop     []int // the pool has finished with them
}

// planProcesses brings processes to the wanted number of current ones. Those to
// be replaced go one by one, each when another is up in its place: at no time
// do fewer serve than wanted, if so many served before, and at most one more
// than wanted is there beside those that drain.
func planProcesses(want int, views []procView, ready time.Duration) procPlan {
	var plan procPlan
	var fresh, old, spare []procView
	freshUp, starting := 0, 0
	for _, v := range views {
		switch {
		case v.phase == stopping:
		case v.phase == withdrawn && !v.listed:
			plan.stop = append(plan.stop, v.id)
		case v.phase == withdrawn && v.current && !v.doomed:
			spare = append(spare, v)
		case v.phase == withdrawn:
		case v.held, !v.current && !v.everUp:
			plan.replace = append(plan.replace, v.id)
		case !v.everUp && v.age > ready:
			plan.late = append(plan.late, v.id)
		case !v.current, v.failing():
			old = append(old, v)
		default:
			fresh = append(fresh, v)
			if v.up {
				freshUp++
			}
			if !v.everUp {
				starting++
			}
		}
	}
	if missing := want - len(fresh); missing > 0 {
		allowed := want - len(fresh) - len(old) // nobody is there
		if starting == 0 {
			allowed = max(allowed, 1) // one beside those that it replaces
		}
		missing = min(missing, max(allowed, 0))
		for _, v := range spare[:min(len(spare), missing)] {
			plan.offer = append(plan.offer, v.id)
			missing--
		}
		plan.start = missing
	}
	for _, v := range leastMissed(old)[:clamp(freshUp+len(old)-want, len(old))] {
		plan.replace = append(plan.replace, v.id)
	}
	for _, v := range leastMissed(fresh)[:clamp(len(fresh)-want, len(fresh))] {
		plan.withdraw = append(plan.withdraw, v.id)
	}
	return plan
}

func clamp(n, most int) int { return max(0, min(n, most)) }

// leastMissed orders processes by who may go first: those that serve nothing,
// then those with the least to finish, then the youngest.
func leastMissed(views []procView) []procView {
	slices.SortStableFunc(views, func(a, b procView) int {
		return cmp.Or(
			cmp.Compare(oneIf(a.everUp), oneIf(b.everUp)),
			cmp.Compare(oneIf(a.up), oneIf(b.up)),
			cmp.Compare(a.busy, b.busy),
			cmp.Compare(a.age, b.age),
		)
	})
	return views
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
