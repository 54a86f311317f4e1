package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Node is this node's cache, as its membership needs it.
type Node interface {
	// Generation is the highest that any exchange of this node has begun at.
	Generation() uint64
	// Apply carries out an order of another node. When it returns nil, nothing
	// that the order names and that began before will be served any more, by a
	// later process either.
	Apply(order []byte, generation uint64) error
	// Forget gives up everything that is held and being fetched, as Apply does.
	Forget() error
	// Draining counts the exchanges in flight that began before generation.
	Draining(generation uint64) int
	// Note keeps a few bytes for the next process, beside what Apply did.
	Note(place []byte) error
}

// Member is this node's membership in a fleet that meets in Redis. One goroutine
// joins, follows the log and renews the lease; the methods are safe for
// concurrent use.
type Member struct {
	board  board
	shelf  *redisBoard // nil in simulations, which have no orders
	closer func()
	clock  func(context.Context) (time.Time, error)
	node   Node
	id     string
	name   string
	lease  time.Duration
	report func(Event)

	grant  atomic.Pointer[grant]
	course Course

	close context.CancelFunc
	done  chan struct{}

	// These belong to the goroutine.
	at      place
	drains  []drain
	drained uint64
	others  watch
	since   sighting // of the incarnation: when it was first seen
	trust   transition
	redis   transition
	roster  roster
	called  bool // the roster is another one

	mu        sync.Mutex
	view      View
	viewed    time.Time
	ticket    ticket
	applied   uint64
	fault     error
	announced place // the newest order of this process
}

// drain is an order whose earlier exchanges may still be under way.
type drain struct{ position, generation uint64 }

// transition tells when a state changed, for events.
type transition struct {
	good  bool
	since time.Time
}

// change reports that the state is another one now, and how long it lasted.
func (t *transition) change(good bool, now time.Time) (time.Duration, bool) {
	if t.good == good {
		return 0, false
	}
	lasted := now.Sub(t.since)
	t.good, t.since = good, now
	return lasted, true
}

// Open makes this node a member of the fleet. host is its name, where the
// configuration gives none. noted is what the last process handed to Note, if
// what it held is still there; nil otherwise. Nothing waits for Redis.
func Open(c Config, host string, node Node, noted []byte, event func(Event)) (*Member, error) {
	options, err := c.parse()
	if err != nil {
		return nil, err
	}
	c = c.withDefaults(host)
	b := newRedisBoard(options, c.Name, c.Keep, c.Timeout.D())
	m := newMember(b, node, c.Node, c.Lease.D(), readPlace(noted), event)
	m.shelf, m.closer, m.clock = b, b.close, b.time
	m.start()
	return m, nil
}

func newMember(b board, node Node, name string, lease time.Duration, at place, event func(Event)) *Member {
	if event == nil {
		event = func(Event) {}
	}
	now := time.Now()
	return &Member{
		board: b, closer: func() {}, node: node, id: rand.Text(), name: name, lease: lease, report: event,
		at: at, others: make(watch), roster: make(roster), done: make(chan struct{}),
		trust: transition{since: now}, redis: transition{good: true, since: now},
	}
}

func (m *Member) start() {
	ctx, stop := context.WithCancel(context.Background())
	m.close = stop
	go m.run(ctx)
}

// Holds reports that this node may use what it holds: each order that was
// acknowledged before this call was applied here before.
func (m *Member) Holds() bool {
	g := m.grant.Load()
	return g != nil && g.left(time.Now()) > 0
}

// Close leaves the fleet: nobody waits for this node any more.
func (m *Member) Close() {
	m.close()
	<-m.done
	m.closer()
}

// run is a member's life: one membership after the other.
func (m *Member) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		err := m.membership(ctx)
		if ctx.Err() == nil && !errors.Is(err, errGone) {
			pause(ctx, beatEvery(m.lease)/4)
		}
	}
	// In this order: who has left is not waited for.
	m.grant.Store(nil)
	m.mu.Lock()
	t := m.ticket
	m.mu.Unlock()
	if t.id != "" {
		// Who cannot say so is missed when the lease ends.
		_ = m.board.leave(context.Background(), t)
	}
}

// membership joins, catches up, and stays for as long as the others agree.
func (m *Member) membership(ctx context.Context) error {
	sent := time.Now()
	t, v, err := m.board.join(ctx, m.id, m.name, m.lease, m.node.Generation())
	now := time.Now()
	m.answered(err, now)
	if err != nil {
		return err
	}
	m.saw(v, now)
	m.mu.Lock()
	m.ticket = t
	m.mu.Unlock()
	if err := m.enter(v, m.grant.Load().left(now) > 0); err != nil {
		m.answered(err, now)
		return err
	}
	if err := m.catchUp(ctx, v); err != nil {
		m.answered(err, time.Now())
		return err
	}
	m.extend(sent)
	m.report(Event{Kind: Joined, Member: m.name})
	return m.stay(ctx, t)
}

// enter takes the place in the log from which to follow it.
func (m *Member) enter(v View, trusted bool) error {
	from, forget := resume(m.at, v, trusted)
	if lost := m.at.Incarnation; lost != "" && lost != v.Incarnation {
		m.report(Event{Kind: Lost, Member: m.name})
	}
	m.drains, m.drained = nil, 0
	if forget {
		return m.overtaken(v)
	}
	m.reach(place{v.Incarnation, from})
	return nil
}

// overtaken gives up everything, for orders that were missed: all up to the
// position that v, which came before, tells.
func (m *Member) overtaken(v View) error {
	if err := m.node.Forget(); err != nil {
		return err
	}
	m.reach(place{v.Incarnation, v.Position})
	m.report(Event{Kind: Overtaken, Member: m.name})
	return nil
}

// reach is advance over orders that were not looked at one by one.
func (m *Member) reach(to place) {
	m.drains = append(m.drains, drain{to.Position, m.node.Generation()})
	m.advance(to)
}

// catchUp applies what was announced before this node joined: some of it may be
// acknowledged without it.
func (m *Member) catchUp(ctx context.Context, v View) error {
	for m.at.Position < v.Position {
		found, err := m.board.read(ctx, m.at.Position, 0)
		if err != nil {
			return err
		}
		if err := m.follow(ctx, found, v.Position); err != nil {
			return err
		}
	}
	return nil
}

// follow applies orders in the sequence of the log, and gives up everything where
// one is missing that there should be: up to head at least.
func (m *Member) follow(ctx context.Context, found []entry, head uint64) error {
	if len(found) == 0 && m.at.Position < head || len(found) > 0 && found[0].position != m.at.Position+1 {
		v, err := m.board.look(ctx, m.node.Generation())
		if err != nil {
			return err
		}
		if v.Incarnation != m.at.Incarnation {
			return errChanged
		}
		return m.overtaken(v)
	}
	for _, e := range found {
		if err := m.take(e); err != nil {
			return fmt.Errorf("order %d: %w", e.position, err)
		}
		m.drains = append(m.drains, drain{e.position, e.generation})
		m.advance(place{m.at.Incarnation, e.position})
	}
	return nil
}

// take does what an entry of the log says. This process has applied its own orders
// before it announced them.
func (m *Member) take(e entry) error {
	switch {
	case isNews(e.order):
		m.hear(string(e.order), e.from)
		return nil
	case e.from == m.id:
		return m.repeat(e)
	}
	return m.node.Apply(e.order, e.generation)
}

// advance notes how far this node has come.
func (m *Member) advance(to place) {
	m.at = to
	m.course.Reach(to.Incarnation, to.Position, m.node.Generation())
	// Without the note the next process applies some orders again. A disk that
	// takes none is reported by who owns it.
	_ = m.node.Note(to.text())
	m.mu.Lock()
	m.applied = to.Position
	m.mu.Unlock()
}

// stay follows the log and renews, until the membership ends.
func (m *Member) stay(ctx context.Context, t ticket) error {
	said, due := uint64(0), time.Now()
	head := m.at.Position
	for {
		wait := time.Until(due)
		if len(m.drains) > 0 {
			wait = min(wait, drainPoll)
		}
		found, err := m.board.read(ctx, m.at.Position, max(wait, 0))
		if err == nil {
			err = m.follow(ctx, found, head)
		}
		if ctx.Err() != nil || errors.Is(err, errChanged) {
			return err
		}
		if err != nil {
			m.answered(err, time.Now())
			pause(ctx, min(time.Until(due), beatEvery(m.lease)/4))
		}
		if m.called {
			m.muster(ctx, time.Now())
		}
		m.tally()
		if time.Now().Before(due) && m.at.Position == said && m.drained == m.saidDrained() {
			continue
		}
		sent := time.Now()
		v, renewed := m.board.renew(ctx, t, m.at.Position, m.drained, m.node.Generation())
		due = sent.Add(beatEvery(m.lease))
		m.answered(errors.Join(err, renewed), time.Now())
		switch {
		case errors.Is(renewed, errGone):
			m.report(Event{Kind: Removed, Member: m.name})
			return errGone
		case renewed == nil:
			m.extend(sent)
			said, head = m.at.Position, v.Position
			m.saw(v, time.Now())
			m.attend(ctx, t, v)
		}
		m.judge(time.Now())
	}
}

const drainPoll = 25 * time.Millisecond

// saidDrained is what the others know of this node.
func (m *Member) saidDrained() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.view.Members {
		if one.ID == m.id {
			return one.Drained
		}
	}
	return 0
}

// tally finds out which orders have no earlier exchange under way any more.
func (m *Member) tally() {
	for len(m.drains) > 0 && m.node.Draining(m.drains[0].generation) == 0 {
		m.drained = m.drains[0].position
		m.drains = m.drains[1:]
	}
}

// extend lets this node use what it holds, by a renewal that was sent at a time.
func (m *Member) extend(sent time.Time) {
	m.grant.Store(&grant{sent: sent, lasts: trustFor(m.lease)})
	m.judge(time.Now())
}

// judge reports that the grant has ended, or has come back.
func (m *Member) judge(now time.Time) {
	good := m.grant.Load().left(now) > 0
	if lasted, changed := m.trust.change(good, now); changed {
		kind := Trusted
		if !good {
			kind = CutOff
		}
		m.report(Event{Kind: kind, Member: m.name, For: lasted})
	}
}

// saw takes note of a view that has arrived.
func (m *Member) saw(v View, now time.Time) {
	if m.since.beat != v.Incarnation {
		m.since = sighting{beat: v.Incarnation, since: now}
		clear(m.others)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.view, m.viewed = v, now
}

// answered takes note whether things go well, and reports a change.
func (m *Member) answered(err error, now time.Time) {
	if errors.Is(err, errGone) || errors.Is(err, context.Canceled) {
		err = nil
	}
	m.mu.Lock()
	m.fault = err
	m.mu.Unlock()
	if lasted, changed := m.redis.change(err == nil, now); changed {
		kind := Recovered
		if err != nil {
			kind = Fault
		}
		m.report(Event{Kind: kind, Member: m.name, For: lasted, Err: err})
	}
	m.judge(now)
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
