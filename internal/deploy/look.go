package deploy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sight is what is seen of a pool at a moment.
type Sight struct {
	Pool string
	// Replicas are all that may answer now or soon.
	Replicas []Replica
	// Starting says that this process has just begun to look, and that there
	// may be more replicas than it has seen.
	Starting bool
	// Guard says when a version is worse than the one before.
	Guard GuardConfig
}

// Order is a purge that a deploy wants.
type Order struct {
	// Deploy is the deploy's id.
	Deploy string
	// Key is the same at all nodes of a fleet that notice the same rollout: who
	// orders under it, again or as the second, gets the first one's purge.
	Key string
	// Version is what the pool runs now, Versions what that retires.
	Version  string
	Versions []string
	Warm     []string
	Reason   string
	Actor    string
}

// Findings are what follows from a look.
type Findings struct {
	Change Change
	// Orders are the purges to be ordered now; Ordered is to be called for each.
	Orders []Order
	// Purges are the orders under way, by deploy; Purged is to be called with
	// what became of them.
	Purges map[string]string
	// Avoid is a version that visitors are to be kept from: it is worse, and
	// replicas of another are up. "" for none.
	Avoid string
	// Active says that something is under way: look again soon, even when
	// nothing is seen to change.
	Active bool
}

// Look takes in what is seen of a pool that was adopted, decides what became of
// its deploys, and makes that durable. It is to be called whenever replicas or
// what they run changes, and again and again while Active.
//
// A version becomes current when the last replica of others is gone; earlier, if
// somebody waits for it and only replicas that take nothing new run others; later,
// if somebody waits for it and not all replicas are healthy.
func (b *Book) Look(now time.Time, s Sight) Findings {
	b.mu.Lock()
	pool := b.pools[s.Pool]
	if pool == nil {
		b.mu.Unlock()
		return Findings{}
	}
	pool.replicas = slices.Clone(s.Replicas)
	l := &look{Book: b, now: now, Sight: s, pool: pool}
	l.countTraffic()
	l.guard()
	l.expire()
	change := l.observe()
	l.follow(change)
	l.settleCalled()
	found := l.findings(change)
	b.mu.Unlock()
	b.settle()
	return found
}

// look is one look. It holds the book's lock.
type look struct {
	*Book
	Sight

	now  time.Time
	pool *sighted
}

// mine are the pool's deploys that are not final.
func (l *look) mine() []*entry {
	var mine []*entry
	for _, e := range l.entries {
		if e.Pool == l.Pool && !e.Stage.Final() {
			mine = append(mine, e)
		}
	}
	return mine
}

// countTraffic adds what the replicas were asked since the last look to the
// deploys that have begun.
func (l *look) countTraffic() {
	counted := make(map[string]Traffic, len(l.Replicas))
	for _, r := range l.Replicas {
		key := r.ID + " " + r.Version
		seen := Traffic{r.Requests, r.Failures}
		before := l.pool.counted[key]
		if before.Requests > seen.Requests {
			before = Traffic{} // another process
		}
		counted[key] = seen
		if r.Version == "" {
			continue
		}
		more := Traffic{seen.Requests - before.Requests, max(0, seen.Failures-before.Failures)}
		if l.pool.asked != nil {
			l.pool.asked[r.Version] = l.pool.asked[r.Version].plus(more)
		}
		for _, e := range l.mine() {
			if e.Stage == Waiting {
				continue
			}
			if e.Traffic == nil {
				e.Traffic = make(map[string]Traffic)
			}
			e.Traffic[r.Version] = e.Traffic[r.Version].plus(more)
		}
	}
	l.pool.counted = counted
}

func (t Traffic) plus(more Traffic) Traffic {
	return Traffic{t.Requests + more.Requests, t.Failures + more.Failures}
}

// expire ends the calls for which the replicas took too long.
func (l *look) expire() {
	for _, e := range l.mine() {
		if !e.open() || !e.called() || l.now.Before(e.Deadline) {
			continue
		}
		l.finishLocked(e, l.now, Failed, fmt.Sprintf("rollout gate not reached, nothing purged: %s", gateText(Behind(l.Replicas, e.Version), e.Version)))
	}
}

// Behind names the replicas that take requests, or will, and do not run the
// version or are not healthy.
func Behind(replicas []Replica, version string) []string {
	behind := []string{}
	for _, r := range replicas {
		if r.State == draining || r.State == up && r.Version == version {
			continue
		}
		runs := "version " + r.Version
		if r.Version == "" {
			runs = "version unknown"
		}
		behind = append(behind, r.Name+" "+runs+" "+r.State)
	}
	return behind
}

// The states that matter here, in the pool's words.
const (
	up       = "up"
	draining = "draining"
)

func gateText(behind []string, version string) string {
	if len(behind) == 0 {
		return "no replica was seen"
	}
	if len(behind) > 5 {
		behind = append(slices.Clone(behind[:5]), "…")
	}
	return fmt.Sprintf("not there yet, healthy and with %s: %s", version, strings.Join(behind, ", "))
}

// observe lets the tracker see the replicas, and holds back a version that may
// not become current yet.
func (l *look) observe() Change {
	live := slices.DeleteFunc(slices.Clone(l.Replicas), func(r Replica) bool { return r.Fresh })
	hold := ""
	for _, e := range l.mine() {
		if e.Stage == Held && agreed(live) == e.Version {
			hold = e.Version
		}
		if !e.open() || !e.called() {
			continue
		}
		behind := Behind(l.Replicas, e.Version)
		e.Behind = behind
		if len(behind) > 0 {
			if agreed(live) == e.Version {
				hold = e.Version
			}
			continue
		}
		if arrived := slices.DeleteFunc(slices.Clone(live), func(r Replica) bool { return r.State == draining }); len(arrived) > 0 {
			live = arrived
		}
	}
	if l.Starting && l.pool.tracker.Current() != "" {
		hold = agreed(live)
	}
	l.pool.tracker.Hold(hold)
	return l.pool.tracker.Observe(l.now, live)
}

// agreed is the version that all replicas run; "" when they do not agree.
func agreed(live []Replica) string {
	for _, r := range live {
		if r.Version != live[0].Version {
			return ""
		}
	}
	if len(live) == 0 {
		return ""
	}
	return live[0].Version
}

// follow moves the pool's deploys as the replicas do.
func (l *look) follow(change Change) {
	switch change.Kind {
	case Finished:
		l.arrive(change)
		return
	case First:
		if len(change.Retired) > 0 {
			l.arrive(change)
		} else {
			l.news = append(l.news, Event{Kind: EventCurrent, Record: Record{Pool: l.Pool, Version: change.Current, Actor: noticed}})
		}
		return
	case Abandoned:
		l.turnBack(change.Current)
		return
	}
	rollout := l.pool.tracker.Rollout()
	if !rollout.On {
		return
	}
	rolling := false
	for _, e := range l.mine() {
		if e.Stage == Waiting && rollout.Replicas[e.Version] > 0 && e.Version != rollout.From {
			e.Began, e.Previous = l.now, rollout.From
			l.moveLocked(e, Rolling, EventBegan)
		}
		rolling = rolling || e.Stage == Rolling || e.Stage == Held
	}
	if !rolling && change.Kind == Began {
		e := l.notice(rollout.To, rollout.From, Rolling)
		l.moveLocked(e, Rolling, EventBegan)
	}
}

// notice begins a deploy for which nobody has called.
func (l *look) notice(version, previous string, stage Stage) *entry {
	return l.insertLocked(Record{
		ID: newID(l.now), Pool: l.Pool, Version: version, Previous: previous, Stage: stage,
		Actor: noticed, Created: l.now, Began: l.now,
	})
}

// arrive makes the deploy of the version that is current now purge what it has
// retired, and ends what it has overtaken.
func (l *look) arrive(change Change) {
	var arrived *entry
	for _, e := range l.mine() {
		if e.open() && (e.Version == change.Current || arrived == nil && !e.called() && e.Stage != Held) {
			arrived = e
		}
	}
	if arrived == nil {
		arrived = l.notice(change.Current, "", Rolling)
	}
	arrived.Version = change.Current
	if arrived.Began.IsZero() {
		arrived.Began = l.now
	}
	l.retire(arrived, change.Retired)
	l.turnBack(change.Current)
}

// retire makes the deploy's version the current one, versions of which the pool
// has just given up, and any that a caller wants purged anew.
func (l *look) retire(e *entry, versions []string) {
	e.Current = l.now
	retired := slices.Concat(versions, e.Retire)
	slices.Sort(retired)
	e.Retired = slices.DeleteFunc(slices.Compact(retired), func(v string) bool { return v == e.Version })
	if len(e.Retired) == 0 {
		e.Note = "no earlier version is known, nothing to purge: name what may be stored with retire"
		l.finishLocked(e, l.now, Done, "")
		return
	}
	e.After = l.pool.tracker.word().ID
	if len(versions) > 0 {
		e.Purge = l.shares(e)
	}
	l.moveLocked(e, Purging, EventCurrent)
}

// orderKey is what the nodes of a fleet agree on without asking each other: the
// pool, the versions, and the purge of the pool's versions before this one. The
// last tells a rollout from an equal one later, by no clock.
func orderKey(pool, version string, retired []string, after string) string {
	text, err := json.Marshal([]any{pool, version, retired, after})
	if err != nil {
		panic("deploy: marshal key: " + err.Error()) // plain strings cannot fail
	}
	return fmt.Sprintf("rollout-%x", sha256.Sum256(text))
}

// turnBack ends the deploys of versions that are not on the way any more. One
// that somebody waits for may come back until its time is up.
func (l *look) turnBack(current string) {
	for _, e := range l.mine() {
		switch {
		case !e.open() || e.Stage == Waiting || e.Version == current:
		case e.called():
			l.moveLocked(e, Waiting, EventBegan)
		default:
			l.finishLocked(e, l.now, Dropped, fmt.Sprintf("every replica runs %s", current))
		}
	}
}

// settleCalled ends the calls for a version that is current already.
func (l *look) settleCalled() {
	rollout := l.pool.tracker.Rollout()
	for _, e := range l.mine() {
		if e.open() && e.called() && e.Version == l.pool.tracker.Current() && !rollout.On && len(l.Replicas) > 0 && len(Behind(l.Replicas, e.Version)) == 0 {
			l.retire(e, nil)
		}
	}
}

func (l *look) findings(change Change) Findings {
	found := Findings{Change: change, Purges: make(map[string]string), Active: l.Starting || l.pool.tracker.Rollout().On || l.pool.tracker.doubts()}
	for _, e := range l.mine() {
		found.Active = true
		if e.Stage == Held && l.Guard.FallBack && l.others(e.Version) {
			found.Avoid = e.Version
		}
		switch {
		case e.Stage != Purging:
		case e.Purge != "":
			found.Purges[e.ID] = e.Purge
		default:
			found.Orders = append(found.Orders, Order{
				Deploy: e.ID, Key: orderKey(l.Pool, e.Version, e.Retired, e.After), Version: e.Version, Versions: slices.Clone(e.Retired),
				Warm: slices.Clone(e.Warm), Actor: e.Actor, Reason: fmt.Sprintf("pool %s: %s is current", l.Pool, e.Version),
			})
		}
	}
	return found
}

// others reports whether healthy replicas of other versions are there.
func (l *look) others(version string) bool {
	return slices.ContainsFunc(l.Replicas, func(r Replica) bool { return r.State == up && r.Version != version })
}
