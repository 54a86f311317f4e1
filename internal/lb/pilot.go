package lb

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/named"
)

// askFor bounds one call of a driver.
const askFor = 20 * time.Second

// DriverStatus is how it goes with whoever runs the replicas.
type DriverStatus struct {
	Driver   string    `json:"driver"`
	Told     int       `json:"told"`                // what was accepted last, 0 before the first
	ToldAt   time.Time `json:"told_at,omitzero"`    // when
	Draining []string  `json:"draining,omitempty"`  // replicas that are to end
	Problem  string    `json:"problem,omitempty"`   // why the last try failed
	Failures int       `json:"failures,omitempty"`  // in a row
	NextTry  time.Time `json:"next_try,omitzero"`   // after a failure
	Held     string    `json:"held_back,omitempty"` // why fewer are not asked for
}

// steering is the pool's side of its driver.
type steering struct {
	spec named.Spec // guarded by Pool.mu, as stop is
	stop context.CancelFunc

	mu     sync.Mutex
	status *DriverStatus // nil without a driver; never changed, only replaced
}

// steerLocked starts and stops the pilot as the settings say.
func (p *Pool) steerLocked() {
	spec := p.settings.Autoscale.Driver
	if p.steering.stop != nil && reflect.DeepEqual(p.steering.spec, spec) {
		return
	}
	if p.steering.stop != nil {
		p.steering.stop()
		p.steering.stop = nil
	}
	p.steering.spec = spec
	p.local.Store(0)
	p.steering.show(nil)
	if p.settings.driver == nil {
		return
	}
	ctx, stop := context.WithCancel(p.ctx)
	p.steering.stop = stop
	pilot := &pilot{pool: p, driver: p.settings.driver, name: spec.Name}
	p.work.Go(func() { pilot.run(ctx) })
}

func (s *steering) show(status *DriverStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *steering) shown() *DriverStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// driven is how many replicas the pool's discovery is to run; 0 when nobody
// drives it.
func (p *Pool) driven() int { return int(p.local.Load()) }

// pilot asks a driver for as many replicas as there should be. One goroutine
// owns it.
type pilot struct {
	pool   *Pool
	driver autoscale.Driver
	name   string

	told     int
	victims  []Address
	last     time.Time // an order was accepted
	notYet   time.Time
	failures int
	problem  error
	held     bool
	differs  time.Time       // since when another number runs than was asked for
	order    autoscale.Order // that has not been accepted yet; ID is empty for none
}

func (l *pilot) run(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		l.step(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.release(0)
			return
		}
		if ctx.Err() == nil {
			l.pool.steering.show(l.status())
		}
	}
}

func (l *pilot) step(ctx context.Context, now time.Time) {
	standing, why := l.standing(now)
	move := autoscale.Next(standing, now)
	l.held = move == autoscale.Stay
	switch move {
	case autoscale.Send:
		l.send(ctx, now, standing, why)
	case autoscale.Drain:
		l.drain(standing.Told - standing.Desired - len(l.victims))
	case autoscale.Release:
		l.release(max(0, standing.Told-standing.Desired))
	case autoscale.Accept:
		l.told, l.differs = standing.Running+len(l.victims), time.Time{}
	}
}

// standing is what there is to decide on. The number that is desired is decided
// anew: one from before the replicas were found would have them drained.
func (l *pilot) standing(now time.Time) (autoscale.Standing, autoscale.Why) {
	p := l.pool
	p.decide()
	p.scaling.mu.Lock()
	desired, why := p.scaling.last.Desired, p.scaling.last.Why
	p.scaling.mu.Unlock()
	s := autoscale.Standing{
		Desired: desired, Told: l.told, Lowers: l.driver.Lowers(), Pause: l.driver.Pause(),
		Last: l.last, NotYet: l.notYet, Victims: len(l.victims), Drained: true,
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.members {
		if !r.is().leaving() {
			s.Running++
		}
	}
	for _, address := range l.victims {
		if r := p.members[address]; r != nil && r.is() != drained {
			s.Drained = false
		}
	}
	if s.Running == l.told-len(l.victims) {
		l.differs = time.Time{}
	} else if l.differs.IsZero() {
		l.differs = now
	}
	if !l.differs.IsZero() {
		s.Differs = now.Sub(l.differs)
	}
	return s, why
}

// send asks for what is desired. The same order, tried again, has the same id.
func (l *pilot) send(ctx context.Context, now time.Time, s autoscale.Standing, why autoscale.Why) {
	remove := l.named()
	if l.order.ID == "" || l.order.Replicas != s.Desired || !slices.Equal(l.order.Remove, remove) {
		l.order = autoscale.Order{ID: "edge_" + rand.Text(), Pool: l.pool.name, Replicas: s.Desired, Before: l.told, Why: why, Remove: remove, At: now}
		if l.driver.Lowers() == autoscale.LowersItself {
			l.order.Local = func(n int) { l.pool.local.Store(int64(n)) }
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	err := l.driver.Scale(ctx, l.order)
	cancel()
	event := Event{Kind: ScaleAsked, Pool: l.pool.name, Why: fmt.Sprintf("%s: %d replicas instead of %d: %s", l.name, s.Desired, l.told, why)}
	if err == nil {
		l.told, l.last, l.victims, l.order = s.Desired, now, nil, autoscale.Order{}
		l.failures, l.problem, l.notYet, l.differs = 0, nil, time.Time{}, time.Time{}
		l.pool.news.add(event)
		return
	}
	if errors.Is(err, context.Canceled) {
		return // Another configuration is in force.
	}
	l.failures++
	l.problem = err
	pause := jitter(autoscale.Backoff(l.failures))
	if later := new(autoscale.Later); errors.As(err, &later) {
		pause = max(pause, later.After)
	}
	l.notYet = time.Now().Add(pause)
	event.Kind, event.Err = ScaleFailed, err
	l.pool.news.add(event)
}

// named lists the victims, as far as they are still there.
func (l *pilot) named() []autoscale.Victim {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	var list []autoscale.Victim
	for _, address := range l.victims {
		v := autoscale.Victim{ID: newReplica(l.pool.name, address).id, Address: string(address)}
		if r := l.pool.members[address]; r != nil {
			v.Instance = r.identity.Load().instance
		}
		list = append(list, v)
	}
	return list
}

// drain sets n more replicas aside: those that are not up first, then those with
// the least to finish, then the youngest.
func (l *pilot) drain(n int) {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	var candidates []*replica
	for _, r := range sorted(p.members) {
		if !r.is().leaving() {
			candidates = append(candidates, r)
		}
	}
	busy := func(r *replica) int64 { return r.inflight.Load() + r.websockets.Load() + r.streams.Load() }
	slices.SortStableFunc(candidates, func(a, b *replica) int {
		return cmp.Or(cmp.Compare(oneIf(a.is() == up), oneIf(b.is() == up)), cmp.Compare(busy(a), busy(b)), b.since.Compare(a.since))
	})
	for _, r := range candidates[:clamp(n, len(candidates)-1)] {
		r.held = true
		l.victims = append(l.victims, r.address)
		p.drainLocked(r, "fewer replicas are wanted")
	}
}

// release takes victims back until so many are left.
func (l *pilot) release(left int) {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	left = min(left, len(l.victims))
	for _, address := range l.victims[left:] {
		if r := p.members[address]; r != nil {
			r.held = false
		}
	}
	released := len(l.victims) > left
	l.victims, l.order = l.victims[:left], autoscale.Order{}
	if released {
		p.mergeLocked()
	}
}

func (l *pilot) status() *DriverStatus {
	s := &DriverStatus{Driver: l.name, Told: l.told, ToldAt: l.last, Failures: l.failures, NextTry: l.notYet}
	for _, address := range l.victims {
		s.Draining = append(s.Draining, string(address))
	}
	if l.problem != nil {
		s.Problem = l.problem.Error()
	}
	if l.held {
		s.Held = "fewer are wanted, and nobody vouches that a replica finishes what it has: write replicas_finish if it does"
	}
	return s
}
