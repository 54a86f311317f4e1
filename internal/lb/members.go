package lb

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"
)

// mergeLocked brings the members in line with what the sources want.
func (p *Pool) mergeLocked() {
	if p.settings == nil || p.closed {
		return
	}
	wanted := p.wantedLocked()
	for address, sources := range sorted(wanted) {
		r := p.members[address]
		found := r == nil
		if found {
			r = p.joinLocked(address)
		}
		if r.sources = sources; found {
			p.metLocked(r)
		}
		if r.is().leaving() && !r.held {
			p.reviveLocked(r)
		}
	}
	for address, r := range sorted(p.members) {
		if len(wanted[address]) > 0 {
			continue
		}
		why := "no longer in " + strings.Join(r.sources, ", ")
		if !r.is().leaving() {
			p.drainLocked(r, why)
		}
		r.sources, r.held = nil, false
	}
	p.publishLocked()
	p.wakeKeeper()
}

func (p *Pool) joinLocked(address Address) *replica {
	r := newReplica(p.name, address)
	r.why, r.since = "waiting for its first check", time.Now()
	r.record.Store(p.newRecord(r))
	p.refit(r, nil)
	p.members[address] = r
	p.checkLocked(r)
	p.news.add(p.about(r, ReplicaJoined, ""))
	return r
}

// checkLocked starts the checks of r.
func (p *Pool) checkLocked(r *replica) {
	ctx, stop := context.WithCancel(p.ctx)
	r.stopCheck = stop
	p.work.Go(func() { p.checkLoop(ctx, r) })
}

// moveLocked changes the state of r.
func (p *Pool) moveLocked(r *replica, to state, why string) {
	r.why, r.since = why, time.Now()
	r.state.Store(uint32(to))
}

// drainLocked lets r finish what it has and take nothing new.
func (p *Pool) drainLocked(r *replica, why string) {
	r.before = r.is()
	r.stopCheck()
	now, drain := time.Now(), p.settings.Drain.D()
	r.drainEnds = now.Add(drain)
	here, _ := r.lasting.count()
	r.parting = newParting(here, now, r.drainEnds.Add(-min(answerWithin, drain/4)), rand.Float64())
	p.moveLocked(r, draining, why)
	r.transport.Load().CloseIdleConnections() // So that its process can stop early.
	p.news.add(p.about(r, ReplicaDraining, why))
	p.publishLocked()
	p.wakeKeeper()
}

// reviveLocked takes a replica back that is found again while it drains, or
// that an operator had set aside.
func (p *Pool) reviveLocked(r *replica) {
	if r.is() == drained {
		r.before = joining
		r.checked.Store(false)
	}
	p.moveLocked(r, r.before, "taken back while it drained")
	p.checkLocked(r)
	kind := ReplicaJoined
	if r.before == up {
		kind = ReplicaUp
	}
	p.news.add(p.about(r, kind, r.why))
}

func (p *Pool) wakeKeeper() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// keep ends what has a deadline: leases, ejections and drains.
func (p *Pool) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-p.kick:
		case <-ctx.Done():
			return
		}
		timer.Reset(p.keepOnce(time.Now()))
	}
}

// keepOnce does what is due and returns the time until the next thing is.
func (p *Pool) keepOnce(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	var closing []func()

	p.mu.Lock()
	expired := false
	for address, ends := range sorted(p.leases) {
		if now.Before(ends) {
			next = earlier(next, ends)
			continue
		}
		delete(p.leases, address)
		expired = true
		if r := p.members[address]; r != nil {
			p.news.add(p.about(r, RegistrationExpired, "its lease ended without a renewal"))
		}
	}
	if expired {
		p.mergeLocked()
	}
	for _, r := range sorted(p.members) {
		if ends := p.attendEjectionLocked(r, now); !ends.IsZero() {
			next = earlier(next, ends)
		}
		if !r.is().leaving() {
			p.attendIdleLocked(r)
			continue
		}
		again, act := p.attendLocked(r, now)
		if act != nil {
			closing = append(closing, act)
		}
		if !again.IsZero() {
			next = earlier(next, again)
		}
	}
	p.mu.Unlock()

	for _, act := range closing {
		act()
	}
	return next.Sub(now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// attendLocked moves a drain on. It returns when to look again, and what to
// close once the lock is released.
//
// WebSockets and event streams are asked to end one after the other, so that
// their clients do not all come back at once, and in time to be answered.
func (p *Pool) attendLocked(r *replica, now time.Time) (time.Time, func()) {
	if r.is() == drained || r.idle() || !now.Before(r.drainEnds) {
		return time.Time{}, p.finishLocked(r)
	}
	here, _ := r.lasting.count()
	n, again := r.parting.due(here, now)
	return earlier(again, r.drainEnds), func() { r.lasting.ask(n) }
}

// finishLocked ends a drain. A replica that an operator set aside stays listed
// while a source still names it.
func (p *Pool) finishLocked(r *replica) func() {
	if r.held && len(r.sources) > 0 {
		if r.is() == drained {
			return nil
		}
		p.moveLocked(r, drained, r.why)
		p.news.changed()
		return r.shut
	}
	delete(p.members, r.address)
	p.moveLocked(r, gone, r.why)
	p.news.add(p.about(r, ReplicaGone, r.why))
	return r.shut
}

// shut closes all that is still open to a replica.
func (r *replica) shut() {
	r.lasting.closeAll()
	r.closeTransports()
	r.wires.closeAll()
}

func (r *replica) closeTransports() {
	for _, t := range []interface{ CloseIdleConnections() }{r.transport.Load(), r.checker.Load()} {
		t.CloseIdleConnections()
	}
}
