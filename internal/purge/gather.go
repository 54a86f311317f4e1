package purge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gatherWindow is how long a pass waits for others to go along: nodes notice the
// same thing at nearly the same time.
const gatherWindow = 100 * time.Millisecond

// gather makes the passes that the fleet's orders want of one target, one pass
// at a time: all orders that wait for one go along in it, if they fit.
type gather struct {
	c    *Coordinator
	name string

	mu      sync.Mutex
	waiting []*errand
	busy    bool

	// These belong to the goroutine that is busy.
	token uint64
	alone bool // nobody could be asked, the last time
}

// errand is what one order wants.
type errand struct {
	order Order
	ctx   context.Context
	done  chan struct{}

	mu       sync.Mutex
	left     bool // nobody listens any more
	progress func(Result)
	result   Result
	err      error
}

func (c *Coordinator) gatherFor(name string) *gather {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gathers[name] == nil {
		c.gathers[name] = &gather{c: c, name: name}
	}
	return c.gathers[name]
}

// purge returns when a pass that began after the call has ended, or with the
// cause of ctx.
func (g *gather) purge(ctx context.Context, o Order, progress func(Result)) (Result, error) {
	e := &errand{order: o, ctx: ctx, done: make(chan struct{}), progress: progress}
	g.mu.Lock()
	g.waiting = append(g.waiting, e)
	if !g.busy {
		g.busy = true
		// Whoever calls this is waited for, and so this is too.
		g.c.runs.Go(g.work)
	}
	g.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left = true
	select {
	case <-e.done:
		return e.result, e.err
	default:
		return e.result, context.Cause(ctx)
	}
}

// work makes passes until nobody waits.
func (g *gather) work() {
	for {
		_ = sleep(g.c.ctx, gatherWindow) // closed: the pass says so
		g.mu.Lock()
		all := g.waiting
		g.waiting = nil
		if len(all) == 0 {
			g.busy = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		for _, soft := range []bool{false, true} {
			alike := slices.DeleteFunc(slices.Clone(all), func(e *errand) bool { return e.order.Soft != soft })
			if len(alike) > 0 {
				g.pass(alike)
			}
		}
	}
}

// pass makes one pass for some errands. One that is refused together is tried
// one by one: an order must not fail for what another one says.
func (g *gather) pass(errands []*errand) {
	ctx, cancel := context.WithCancelCause(g.c.ctx)
	defer cancel(nil)
	var left atomic.Int32
	for _, e := range errands {
		defer context.AfterFunc(e.ctx, func() {
			if int(left.Add(1)) == len(errands) {
				cancel(context.Cause(e.ctx))
			}
		})()
	}
	result, err := g.send(ctx, errands)
	var refused *TargetError
	if len(errands) > 1 && errors.As(err, &refused) && refused.Kind == Refused {
		for _, e := range errands {
			g.pass([]*errand{e})
		}
		return
	}
	for i, e := range errands {
		e.mu.Lock()
		e.result, e.err = e.part(i, errands[0].order.ID, result), err
		close(e.done)
		e.mu.Unlock()
	}
}

// send makes the calls, for as long as this node is the one to make them.
func (g *gather) send(ctx context.Context, errands []*errand) (Result, error) {
	p := g.c.parts.Load()
	t := p.target(g.name)
	if t == nil {
		return Result{}, errUnconfigured
	}
	orders := make([]Order, len(errands))
	for i, e := range errands {
		orders[i] = e.order
	}
	if token, _ := p.Commons.Token(); token != g.token {
		g.token = token
		g.inherit(ctx, p.Commons, t)
	}
	may := func(ctx context.Context) error { return g.ask(ctx, p.Commons, t) }
	return t.Purge(ctx, together(orders), may, func(result Result) {
		for i, e := range errands {
			e.mu.Lock()
			if !e.left && e.progress != nil {
				e.progress(e.part(i, errands[0].order.ID, result))
			}
			e.mu.Unlock()
		}
	})
}

// inherit takes over what the caller before has left of the limits.
func (g *gather) inherit(ctx context.Context, commons Commons, t Target) {
	limited, ok := t.(Limited)
	if !ok {
		return
	}
	// When nobody can be asked, this node's own count is what is known.
	if left, ago, err := commons.Budget(ctx, g.name); err == nil && len(left) > 0 {
		limited.Inherit(left, ago)
	}
}

// ask is called before each call. When nobody answers for long, this node makes
// its calls all the same: a CDN that is told twice is better than one that is
// not told.
func (g *gather) ask(ctx context.Context, commons Commons, t Target) error {
	var left []byte
	if limited, ok := t.(Limited); ok {
		left = limited.Left()
	}
	limit := patience(commons)
	if g.alone {
		limit = 0
	}
	counts := false
	err := insistFor(ctx, limit, func() (err error) {
		counts, err = commons.Calling(ctx, g.token, g.name, left)
		return err
	})
	if stop := context.Cause(ctx); stop != nil {
		return stop
	}
	g.alone = err != nil
	if err == nil && !counts {
		return errNotCaller
	}
	return nil
}

// part is what one of several errands shows of a pass: the first one has its
// calls, so that they are counted once.
func (e *errand) part(i int, first string, all Result) Result {
	if i == 0 {
		return all
	}
	all.Batches, all.Attempts, all.Items = 0, 0, 0
	if all.Note != "" {
		all.Note += "; "
	}
	all.Note += "in one pass with " + first
	return all
}

// together is one order for what several ask.
func together(orders []Order) Order {
	all := Order{ID: orders[0].ID, Soft: orders[0].Soft}
	for _, o := range orders {
		all.Everything = all.Everything || o.Everything
		all.URLs = append(all.URLs, o.URLs...)
		all.Tags = append(all.Tags, o.Tags...)
		all.Prefixes = append(all.Prefixes, o.Prefixes...)
		all.Hosts = append(all.Hosts, o.Hosts...)
		all.Versions = append(all.Versions, o.Versions...)
		if o.Deadline.After(all.Deadline) {
			all.Deadline = o.Deadline
		}
	}
	if all.Everything {
		all.Selectors = Selectors{Everything: true} // there is nothing else
	}
	for _, list := range []*[]string{&all.URLs, &all.Tags, &all.Prefixes, &all.Hosts, &all.Versions} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return all
}
