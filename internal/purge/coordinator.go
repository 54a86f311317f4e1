package purge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Node is this node's cache.
type Node interface {
	// Generation is the highest that any exchange of this node has begun at.
	Generation() uint64
	// Purge makes everything that the order names, and that began before this
	// call, unservable. A node whose own counter has meanwhile passed the
	// generation must purge what began at those numbers too.
	Purge(ctx context.Context, o Order, generation uint64) error
	// Draining counts the exchanges in flight that began before generation.
	Draining(generation uint64) int
}

// Fleet is this node and its peers. Package fleet has the implementations.
type Fleet interface {
	// Next raises the generation, above the floor and every earlier one.
	Next(ctx context.Context, floor uint64) (uint64, error)
	// Announce hands the order, as JSON, to every other live node, and returns
	// the number of members, this one included, when all have applied it.
	Announce(ctx context.Context, generation uint64, order []byte) (int, error)
	// Undrained counts the other members where exchanges may be in flight that
	// began before the generation.
	Undrained(ctx context.Context, generation uint64) (int, error)
}

// Rollout knows what the replicas run.
type Rollout interface {
	// Behind names the replicas that do not report the version, or are not
	// healthy. An empty answer opens the gate; having no replica is an error.
	Behind(ctx context.Context, version string) ([]string, error)
}

// Verifier looks at a URL from outside.
type Verifier interface {
	// Verify fetches the URL once. What it finds is OK when it is of the
	// expected version, if that is not empty, and not a copy from before since.
	Verify(ctx context.Context, url, expect string, since time.Time) Verification
}

// Parts are what a configuration supplies. Node and Fleet must be there;
// without Rollout, Verifier or Warmer, orders that need them are refused.
type Parts struct {
	Node  Node
	Fleet Fleet
	// Commons is nil for a node alone. It must stay the same.
	Commons  Commons
	Targets  []Target
	Rollout  Rollout
	Verifier Verifier
	Warmer   Warmer
	Settings Settings
}

// Coordinator accepts orders and carries them out, each on a goroutine of its
// own. It outlives configurations and is safe for concurrent use.
type Coordinator struct {
	report reporter
	ledger *ledger
	parts  atomic.Pointer[Parts]

	ctx   context.Context // ends at Close, with ErrClosed
	close context.CancelCauseFunc
	runs  sync.WaitGroup

	mu      sync.Mutex
	cancels map[string]context.CancelCauseFunc
	closed  bool
	gathers map[string]*gather
	// offering are the orders that are shared, and neither accepted nor refused
	// here yet; true for those that were refused and are shared still.
	offering map[string]bool
}

// errCanceled is the cause by which Cancel ends a run, errExpired the deadline. Their
// texts are the record's beside its state, which says the rest.
var (
	errCanceled = errors.New("by a caller")
	errExpired  = errors.New("deadline passed")
)

// NewCoordinator takes over the journal, and closes it at Close. Nothing runs
// before Resume or Submit.
func NewCoordinator(j Journal, p Parts, event func(Event)) *Coordinator {
	c := &Coordinator{
		report: event, ledger: newLedger(j, event), cancels: make(map[string]context.CancelCauseFunc),
		gathers: make(map[string]*gather), offering: make(map[string]bool),
	}
	c.ctx, c.close = context.WithCancelCause(context.Background())
	c.Configure(p)
	return c
}

// Configure replaces the parts, from the next step of each order on.
func (c *Coordinator) Configure(p Parts) {
	p.Settings = p.Settings.withDefaults()
	c.parts.Store(&p)
}

// Resume takes up the orders that an earlier process left unfinished. Call it
// once, when the parts can be used.
func (c *Coordinator) Resume() {
	for _, r := range c.ledger.unfinished() {
		if c.start(r, "") == nil {
			c.report.send(Event{Kind: OrderResumed, Record: r})
		}
	}
	if commons := c.parts.Load().Commons; commons != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closed {
			c.runs.Go(func() { c.claim(commons) })
		}
	}
}

// Submit accepts an order: when it returns without error, the order is durable
// and will be carried out. The same IdempotencyKey with the same body gives the
// first one's record. Errors: *Mistake joined, ErrNoSelector, ErrConflict,
// ErrBusy, ErrJournal, ErrClosed; after any of them nothing was applied.
func (c *Coordinator) Submit(ctx context.Context, o Order) (Record, error) {
	r, err := c.submit(ctx, o)
	if err != nil {
		c.report.send(Event{Kind: OrderRefused, Record: Record{Order: o}, Err: err})
	}
	return r, err
}

func (c *Coordinator) submit(ctx context.Context, o Order) (Record, error) {
	if err := context.Cause(ctx); err != nil {
		return Record{}, err
	}
	p, now := c.parts.Load(), time.Now()
	o, err := o.normalize(now)
	if err == nil {
		err = p.supports(o)
	}
	if err != nil {
		return Record{}, err
	}
	o.ID = newID()
	if o.Soft && p.Warmer != nil {
		o.Hottest = hottest
	}
	r := Record{Order: o.due(now, p.Settings), State: Accepted, Steps: []Step{}, Targets: p.targetStates(o)}
	r.Exit = ExitCode(r)
	if o.DryRun {
		return p.plan(r), nil
	}
	if c.ctx.Err() != nil {
		return Record{}, ErrClosed
	}
	if p.Commons != nil {
		r.Node = p.Commons.Name()
		return c.submitShared(ctx, p, r)
	}
	r, fresh, err := c.ledger.accept(r, p.Settings.MaxPending)
	if err == nil && fresh {
		c.accepted(r, "")
	}
	return r, err
}

// submitShared shares an order first: two nodes that are asked the same, at once,
// carry out one.
func (c *Coordinator) submitShared(ctx context.Context, p *Parts, r Record) (Record, error) {
	id := r.ID
	c.mu.Lock()
	c.offering[id] = false
	c.mu.Unlock()
	hold, other, err := c.offer(ctx, p.Commons, r)
	fresh := false
	if err == nil && other == nil {
		r, fresh, err = c.ledger.accept(r, p.Settings.MaxPending)
	}
	if err == nil && fresh {
		c.accepted(r, hold)
	}
	if hold != "" && !fresh {
		c.withdraw(p.Commons, id, hold, r.IdempotencyKey)
	} else {
		c.mu.Lock()
		delete(c.offering, id)
		c.mu.Unlock()
	}
	if other != nil {
		if known, ok := c.Get(other.ID); ok {
			return known, nil
		}
		return *other, nil
	}
	return r, err
}

func (c *Coordinator) accepted(r Record, hold string) {
	c.report.send(Event{Kind: OrderAccepted, Record: r})
	// Closed meanwhile: the order is durable, the next start resumes it.
	_ = c.start(r, hold)
}

// supports reports what an order asks for that the configuration lacks.
func (p *Parts) supports(o Order) error {
	var m mistakes
	if o.Expect != "" && p.Rollout == nil {
		m.add(&Mistake{"expect", o.Expect, "none: no pool reports versions"})
	}
	if len(o.Verify) > 0 && p.Verifier == nil {
		m.add(&Mistake{"verify", strings.Join(o.Verify, " "), "none: this gateway has no verifier"})
	}
	if len(o.Warm) > 0 && p.Warmer == nil {
		m.add(&Mistake{"warm", strings.Join(o.Warm, " "), "none: this gateway has no site to fetch from"})
	}
	return m.join()
}

func (p *Parts) targetStates(o Order) []TargetState {
	states := make([]TargetState, 0, len(p.Targets))
	if o.Follows != "" {
		return states
	}
	for _, t := range p.Targets {
		states = append(states, TargetState{Name: t.Name(), State: Accepted})
	}
	return states
}

func (p *Parts) target(name string) Target {
	for _, t := range p.Targets {
		if t.Name() == name {
			return t
		}
	}
	return nil
}

// newID is sortable by time, and cannot be guessed.
func newID() string {
	return idAt(time.Now()) + strings.ToLower(rand.Text()[:13])
}

// idAt is how IDs of that time begin.
func idAt(t time.Time) string { return fmt.Sprintf("%011x", t.UnixMilli()) }

// start runs an accepted order, on which this node has a hold, or has to ask for
// one. It fails with ErrClosed only.
func (c *Coordinator) start(r Record, hold string) error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel(ErrClosed)
		return ErrClosed
	}
	c.cancels[r.ID] = cancel
	c.runs.Go(func() {
		defer cancel(nil)
		ctx, stop := context.WithDeadlineCause(ctx, r.Deadline, errExpired)
		defer stop()
		(&run{c: c, record: r, hold: hold, cancel: cancel}).all(ctx)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.cancels, r.ID)
	})
	return nil
}

// Get gives a record as it is now, of another node's order too.
func (c *Coordinator) Get(id string) (Record, bool) {
	if r, _, ok := c.ledger.get(id); ok {
		return r, true
	}
	return c.elsewhere(c.ctx, id)
}

// Wait gives a record when it is final, or as it is when ctx is done.
func (c *Coordinator) Wait(ctx context.Context, id string) (Record, bool) {
	r, done, ok := c.ledger.get(id)
	if !ok {
		return c.waitElsewhere(ctx, id)
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	if latest, _, ok := c.ledger.get(id); ok {
		return latest, true
	}
	return r, true // forgotten meanwhile
}

// List gives up to limit records of this node, the newest first; a negative limit
// gives all.
func (c *Coordinator) List(limit int) []Record { return c.ledger.list(limit) }

// ListAll gives up to limit records of the whole fleet, the newest first: those of
// this node while the fleet does not answer.
func (c *Coordinator) ListAll(ctx context.Context, limit int) []Record {
	return c.everywhere(ctx, c.ledger.list(limit), limit)
}

// Cancel ends an order; what was applied stays so. It returns before the order
// is final. Errors: ErrUnknown, ErrFinished.
func (c *Coordinator) Cancel(id string) error {
	r, _, ok := c.ledger.get(id)
	if !ok {
		return c.cancelElsewhere(id)
	}
	c.mu.Lock()
	cancel := c.cancels[id]
	c.mu.Unlock()
	if r.State.Final() || cancel == nil {
		return ErrFinished
	}
	cancel(errCanceled)
	return nil
}

// Health is what a status page and a readiness check want to know.
type Health struct {
	Pending int       `json:"pending"`
	Oldest  time.Time `json:"oldest,omitzero"` // acceptance of the oldest pending order
	// Journal is the error of the last write, nil after one that succeeded.
	Journal error `json:"-"`
}

// Health gives the coordinator's.
func (c *Coordinator) Health() Health {
	h := Health{Journal: c.ledger.lastFault()}
	pending := c.ledger.unfinished()
	if h.Pending = len(pending); h.Pending > 0 {
		h.Oldest = pending[0].Created
	}
	return h
}

// Generation is the highest that was ever journaled: what a store must start at.
func (c *Coordinator) Generation() uint64 { return c.ledger.highest() }

// Close stops every run where it is, waits for them, and closes the journal.
// What was not finished is resumed at the next start.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	already := c.closed
	c.closed = true
	c.mu.Unlock()
	c.close(ErrClosed)
	c.runs.Wait()
	if already {
		return nil
	}
	return c.ledger.close()
}
