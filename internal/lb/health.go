package lb

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

const (
	// eagerCheck is the longest pause between checks of a replica that has not
	// passed yet, or that nobody could reach: it should serve soon after it can.
	eagerCheck = 500 * time.Millisecond

	// maxHealthBody is how much of a check's answer is searched.
	maxHealthBody = 64 << 10

	// changeEvery bounds how often a change of identity resets what is known.
	// An address behind which several processes take turns would never learn.
	changeEvery = 5 * time.Second
)

// resolver finds the addresses of a replica that is given by name.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

func systemResolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// checkLoop checks r until ctx ends.
func (p *Pool) checkLoop(ctx context.Context, r *replica) {
	for {
		p.mu.Lock()
		s := p.settings
		p.mu.Unlock()
		began := p.now()
		seen, err := p.check(ctx, r, s)
		if ctx.Err() != nil {
			return
		}
		p.checked(r, seen, began, err)
		timer := time.NewTimer(jitter(checkPause(r, s)))
		select {
		case <-timer.C:
		case <-r.recheck:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// checkPause is the time between two checks of r. One that takes nothing before
// a check has passed is asked sooner.
func checkPause(r *replica, s *settings) time.Duration {
	pause := s.Health.Interval.D()
	if r.is() == joining || r.is() == sick || r.record.Load().breaker.Load().unreachable() {
		return min(pause, eagerCheck)
	}
	return pause
}

// jitter spreads d by a tenth either way, so that checks do not come in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// check asks r once how it is. The error says, to people, why it did not pass.
func (p *Pool) check(ctx context.Context, r *replica, s *settings) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Health.Timeout.D())
	defer cancel()
	if err := p.place(ctx, r); err != nil {
		return identity{}, err
	}
	checker := r.checker.Load()
	if s.Health.Path == "" {
		dial := checker.DialContext
		if s.tls != nil {
			dial = checker.DialTLSContext
		}
		conn, err := dial(ctx, "tcp", string(r.address))
		if err != nil {
			return identity{}, err
		}
		return identity{}, conn.Close()
	}
	return ask(ctx, checker, r, s)
}

// ask makes the HTTP request of a check. The identity is that of whoever
// answered, also when the answer does not pass.
func ask(ctx context.Context, checker *http.Transport, r *replica, s *settings) (identity, error) {
	h := &s.Health
	scheme := "http"
	if s.tls != nil {
		scheme = "https"
	}
	target, err := url.Parse(scheme + "://" + string(r.address) + h.Path)
	if err != nil {
		return identity{}, err
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: target, Host: h.Host,
		Header: http.Header{"User-Agent": {"edge-health"}},
	}).WithContext(ctx)
	resp, err := checker.RoundTrip(req)
	if err != nil {
		return identity{}, err
	}
	defer resp.Body.Close()
	seen := identityOf(resp.Header, h)
	return seen, s.expect.met(resp)
}

func identityOf(header http.Header, h *Health) identity {
	var seen identity
	if h.VersionHeader != "" {
		seen.version = header.Get(h.VersionHeader)
	}
	if h.InstanceHeader != "" {
		seen.instance = header.Get(h.InstanceHeader)
	}
	return seen
}

// place resolves the name of a replica that is given by name: now and then,
// and after each failed check. What was known stays when that fails.
func (p *Pool) place(ctx context.Context, r *replica) error {
	if _, err := netip.ParseAddr(r.host); err == nil {
		return nil
	}
	now, known := p.now(), r.places.Load()
	if known != nil && now-r.placed.Load() < int64(p.resolvedEvery) {
		return nil
	}
	ips, err := p.resolve(ctx, r.host)
	if err == nil && len(ips) == 0 {
		err = errors.New("the name has no address")
	}
	if err != nil {
		if known != nil {
			return nil
		}
		return fmt.Errorf("resolve %s: %w", r.host, err)
	}
	port, err := strconv.ParseUint(r.port, 10, 16)
	if err != nil {
		return err
	}
	places := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		places = append(places, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	r.places.Store(&places)
	r.placed.Store(now)
	return nil
}

// checked takes note of a check that began at began.
func (p *Pool) checked(r *replica, seen identity, began int64, err error) {
	if err != nil {
		r.placed.Store(-int64(p.resolvedEvery)) // Perhaps the name has moved on.
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// A check that was under way when another process showed says nothing about
	// that one.
	if r.is().leaving() || began <= r.cutOff {
		return
	}
	recovered := r.fails > 0
	p.identifyLocked(r, seen, began)
	was := r.is()
	// A process that edge has started is awaited, even if nobody else is there:
	// until it listens it could only refuse.
	first := !(err != nil && was == joining && r.own()) && !r.checked.Swap(true)
	h := &p.settings.Health
	if err != nil {
		r.passes = 0
		r.fails++
		switch {
		case was == joining:
			r.why = err.Error()
		case was == up && r.fails >= h.Fails:
			p.moveLocked(r, sick, err.Error())
			p.news.add(p.about(r, ReplicaSick, r.why))
		}
		if first || was != r.is() {
			p.reassessLocked()
		}
		return
	}
	r.fails = 0
	r.passes++
	b := r.record.Load().breaker.Load()
	if recovered || b.unreachable() {
		// What was wrong with it showed in its checks too, and they pass again.
		// Checks that passed all the while say nothing against an ejection.
		p.readmit(r, "its checks pass again")
	}
	if b.unreachable() {
		p.resetBreaker(r) // It can be reached again.
		p.news.add(p.about(r, BreakerClosed, "a check reached it"))
	}
	if was == up || r.passes < h.Passes {
		return
	}
	if p.warmLocked(r) {
		r.slowFrom.Store(p.now())
	}
	r.record.Load().begin(p.now())
	r.replaced = false
	p.moveLocked(r, up, "its checks pass")
	p.news.add(p.about(r, ReplicaUp, ""))
	p.reassessLocked()
}

// warmLocked reports whether another replica than r has served for a while. A
// pool that starts has none: then slow start would only slow it down.
func (p *Pool) warmLocked(r *replica) bool {
	for _, other := range p.members {
		if other != r && other.is() == up && time.Since(other.since) >= p.settings.SlowStart.D() {
			return true
		}
	}
	return false
}

// identify takes note of what a replica said about itself in an answer.
func (p *Pool) identify(r *replica, seen identity, began int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.identifyLocked(r, seen, began)
}

// identifyLocked: what was learnt about a process is forgotten when another
// answers in its place. What was asked before the last change is of no use: the
// old process may have answered.
func (p *Pool) identifyLocked(r *replica, seen identity, began int64) {
	known := r.identity.Load()
	next, changed, other := known.update(seen)
	if !changed || began <= known.since {
		return
	}
	now := p.now()
	next.since = known.since
	if other {
		next.since = now
	}
	r.identity.Store(&next)
	p.news.changed()
	if !other || (known.since != 0 && now-known.since < int64(changeEvery)) {
		return
	}
	p.news.add(p.about(r, ReplicaChanged, "another process answers at the address"))
	p.cutOffLocked(r, now)
}

// cutOffLocked starts afresh with another process at r's address. What was
// learnt about the old one, and what is kept for it, stays with the requests
// that it still works on: they finish over their own transport and record. The
// new one takes nothing before it has passed its checks.
func (p *Pool) cutOffLocked(r *replica, now int64) {
	r.record.Store(p.newRecord(r))
	r.idleness.Store(new(idleness))
	old := r.transport.Swap(newCarrier(r, p.settings, p.wakeKeeper))
	old.CloseIdleConnections() // Those in use close when they fall idle.
	r.slowFrom.Store(0)
	r.passes, r.fails, r.cutOff = 0, 0, now
	if !r.is().leaving() {
		r.replaced = true
		r.checked.Store(false)
		p.moveLocked(r, joining, "another process answers at the address: waiting for its first check")
		select {
		case r.recheck <- struct{}{}:
		default:
		}
	}
	p.reassessLocked()
}
