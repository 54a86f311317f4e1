// Package lb balances requests over the replicas of an application. A Pool
// finds them, checks them, picks one for each request, tries another when that
// is safe, sets bad ones aside and drains those that leave. It is an
// http.RoundTripper. DESIGN.md, 7 says what always holds.
package lb

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrUnknownReplica is returned for an id that no replica of the pool has.
var ErrUnknownReplica = errors.New("unknown replica")

// ErrClosed is returned by a pool after Close.
var ErrClosed = errors.New("pool is closed")

// Pool is the replicas of one application. It outlives configurations: what it
// knows of a replica survives Configure as long as the address is still found.
// All methods may be called concurrently.
type Pool struct {
	name string
	born time.Time

	// What requests read. A request takes no lock that all share.
	view       atomic.Pointer[view]
	avoid      atomic.Pointer[string] // a version that gets no requests while others can take them
	panicking  atomic.Bool            // most replicas look sick, or are ejected: health is presumed wrong
	distrusted atomic.Bool            // most breakers are open: so are they
	opened     atomic.Int64           // breakers that are not closed
	reviewedAt atomic.Int64           // when replicas were last compared
	median     atomic.Uint64          // float64, of the replicas' latencies, milliseconds
	medianAt   atomic.Int64
	queue      queue
	budget     budget
	latencies  latencies
	retries    atomic.Int64
	rescuers   queue // of requests for what other versions may have
	rescued    atomic.Int64
	hedges     atomic.Int64
	hedgesWon  atomic.Int64
	refused    atomic.Int64
	received   atomic.Int64 // bytes of bodies, from replicas

	assessing sync.Mutex // one assessment at a time, so that the last one stands
	ejecting  sync.Mutex // one ejection at a time, so that their number keeps its cap

	scaling  scaling
	steering steering
	local    atomic.Int64 // replicas that a driver lets the pool run itself; 0 without one

	news news
	kick chan struct{} // wakes the keeper

	mu            sync.Mutex
	settings      *settings
	members       map[Address]*replica
	feeds         []*feed
	ranked        bool // members differ in priority
	leases        map[Address]time.Time
	ahead         map[Address]time.Time // set aside before they are found, until when
	stop          context.CancelFunc    // of all goroutines
	ctx           context.Context
	closed        bool
	work          sync.WaitGroup
	resolve       resolver
	resolvedEvery time.Duration
	hinted        int64 // when replicas were last checked out of turn
}

// view is the pool as requests see it. It is never changed, only replaced.
type view struct {
	settings *settings
	members  []*replica // that are not leaving, of the first rank, by address
}

// NewPool returns a pool without replicas. It starts nothing; Configure does.
// The event function, which may be nil, is called by one goroutine of the
// pool's own, in order, and may take its time.
func NewPool(name string, event func(Event)) *Pool {
	ctx, stop := context.WithCancel(context.Background())
	return &Pool{
		name: name, born: time.Now(),
		news:    news{event: event, wake: make(chan struct{}, 1)},
		kick:    make(chan struct{}, 1),
		members: make(map[Address]*replica), leases: make(map[Address]time.Time),
		ctx: ctx, stop: stop,
		resolve: systemResolve, resolvedEvery: 30 * time.Second,
	}
}

// now is the pool's clock: nanoseconds since it was made, never 0 or less. It
// does not jump when the system's clock is set.
func (p *Pool) now() int64 { return int64(time.Since(p.born)) + 1 }

// Configure puts c in force: at once for requests that begin from now on. It
// starts the discoveries that c adds and stops those that it leaves out; what
// those had found stays until the new ones have reported. On error nothing has
// changed.
func (p *Pool) Configure(c Config) error {
	s, err := compile(c)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	first := p.settings == nil
	before := p.settings
	p.settings = s
	if first {
		p.work.Go(func() { p.news.run(p.ctx) })
		p.work.Go(func() { p.keep(p.ctx) })
		p.work.Go(func() { p.measure(p.ctx) })
	}
	for _, r := range p.members {
		p.refit(r, before)
	}
	p.feedLocked()
	p.mergeLocked()
	p.steerLocked()
	return nil
}

// refit gives a replica the parts that changed settings ask for.
func (p *Pool) refit(r *replica, before *settings) {
	s := p.settings
	if before == nil || before.Transport != s.Transport || before.Health.Timeout != s.Health.Timeout || !sameRoots(before, s) {
		old, oldChecker := r.transport.Swap(newCarrier(r, s, p.wakeKeeper)), r.checker.Swap(newChecker(r, s))
		if old != nil {
			old.CloseIdleConnections()
			oldChecker.CloseIdleConnections()
		}
	}
	if before != nil && before.Breaker != s.Breaker {
		p.resetBreaker(r)
	}
	if before != nil && !reflect.DeepEqual(before.Health, s.Health) {
		select {
		case r.recheck <- struct{}{}:
		default:
		}
	}
}

// sameRoots reports whether the CA file still holds the same certificates.
func sameRoots(a, b *settings) bool {
	if a.tls == nil || b.tls == nil {
		return a.tls == b.tls
	}
	return a.tls.RootCAs.Equal(b.tls.RootCAs)
}

// Close stops everything the pool has started and waits for it. Upgraded
// connections and event streams are asked to end, and closed if they have not
// within seconds; requests in flight may finish. A closed pool answers 503.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.view.Store(nil)
	members := make([]*replica, 0, len(p.members))
	for _, r := range p.members {
		members = append(members, r)
	}
	p.mu.Unlock()

	p.stop()
	p.work.Wait()
	p.news.flush()
	for _, r := range members {
		here, _ := r.lasting.count()
		r.lasting.ask(here)
		r.closeTransports()
	}
	return nil
}

// publishLocked lets requests see the members as they are now.
func (p *Pool) publishLocked() {
	p.rankLocked()
	p.view.Store(&view{settings: p.settings, members: p.firstLocked()})
	p.assess()
}

// assess counts again who is sick and whose breaker is open. It reads atomics
// only, since breakers call it under their locks.
func (p *Pool) assess() {
	p.assessing.Lock()
	defer p.assessing.Unlock()
	v := p.view.Load()
	if v == nil {
		return
	}
	passed, aside, opened := 0, 0, 0
	for _, r := range v.members {
		switch state := r.is(); {
		case state == sick, state == up && r.record.Load().ejection.on():
			aside++
			passed++
		case state == up:
			passed++
		}
		if !r.record.Load().breaker.Load().closed() {
			opened++
		}
	}
	p.opened.Store(int64(opened))
	p.distrusted.Store(2*opened > len(v.members))
	// More than half of those that ever passed a check.
	panicking := 2*aside > passed
	if p.panicking.Swap(panicking) != panicking {
		kind := PanicEnded
		if panicking {
			kind = PanicBegan
		}
		p.news.add(Event{Kind: kind, Pool: p.name})
	}
	p.news.changed()
	p.queue.call()
}

// inDoubt reports whether most replicas look bad, so that their looks are not
// believed.
func (p *Pool) inDoubt() bool { return p.panicking.Load() || p.distrusted.Load() }

// newRecord is the empty record of a process we know nothing about.
func (p *Pool) newRecord(r *replica) *record {
	record := new(record)
	record.latencyAt.Store(p.now())
	record.breaker.Store(p.newBreaker(r, record))
	return record
}

// newBreaker is silent once another process has taken the record's place.
func (p *Pool) newBreaker(r *replica, of *record) *breaker {
	return newBreaker(p.settings.Breaker, p.now, func(to gobreaker.State) {
		if r.record.Load() == of {
			p.breakerChanged(r, to)
		}
	})
}

// resetBreaker gives r a breaker that has seen nothing.
func (p *Pool) resetBreaker(r *replica) {
	of := r.record.Load()
	of.breaker.Store(p.newBreaker(r, of))
	p.assess()
}

// breakerChanged is called under the breaker's lock.
func (p *Pool) breakerChanged(r *replica, to gobreaker.State) {
	kind := BreakerHalfOpened
	switch to {
	case gobreaker.StateOpen:
		kind = BreakerOpened
		select { // If it cannot be reached, a check is to see when it can be again.
		case r.recheck <- struct{}{}:
		default:
		}
	case gobreaker.StateClosed:
		kind = BreakerClosed
		r.slowFrom.Store(p.now())
	}
	p.news.add(p.about(r, kind, ""))
	p.assess()
}

func (p *Pool) about(r *replica, kind Kind, why string) Event {
	return Event{
		Kind: kind, Pool: p.name, Why: why,
		Replica: r.id, Address: string(r.address), Version: r.identity.Load().version,
	}
}

// unclaim gives back a slot, or the attempt at one.
func (p *Pool) unclaim(r *replica) { p.give(r, &r.inflight) }

// give ends what was counted: whoever waits for a slot, or for the end of a
// drain, hears of it.
func (p *Pool) give(r *replica, count *atomic.Int64) {
	count.Add(-1)
	p.queue.call()
	p.rescuers.call()
	if r.is() == draining && r.idle() {
		p.wakeKeeper()
	}
}

// medianEvery is how often the median of latencies is computed again.
const medianEvery = int64(100 * time.Millisecond)

// refreshMedian computes the median latency, at most every 100 ms, by whichever
// request comes along.
func (p *Pool) refreshMedian(now int64) {
	at := p.medianAt.Load()
	if (at != 0 && now-at < medianEvery) || !p.medianAt.CompareAndSwap(at, now) {
		return
	}
	v := p.view.Load()
	if v == nil {
		return
	}
	var room [64]float64
	known := room[:0]
	for _, r := range v.members {
		if ms := load(&r.record.Load().latency); ms > 0 && r.is() == up {
			known = append(known, ms)
		}
	}
	if len(known) == 0 {
		return
	}
	slices.Sort(known)
	// The lower of two middles: of two replicas one that was slow to start must
	// not say what is usual.
	store(&p.median, known[(len(known)-1)/2])
}
