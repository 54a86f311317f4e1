package backup

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Plan says what to back up and how often.
type Plan struct {
	Vault *Vault
	// Every is the time between the beginnings of two backups.
	Every time.Duration
	// Timeout is how long one may take.
	Timeout time.Duration
	// Lineage is that of the state which is copied.
	Lineage func() (string, error)
}

// Status is what a Runner knows.
type Status struct {
	// Last is the newest backup of this state, made by this process or found in the
	// store; the zero value for none.
	Last Marker
	// Took is how long it took; 0 if an earlier process made it.
	Took time.Duration
	// Made and Failed count this process's.
	Made, Failed int64
	// Err is what is wrong with the last attempt; nil after a success. Since says
	// from when on.
	Err   error
	Since time.Time
	// Every is the plan's; 0 for no plan.
	Every time.Duration
}

// Event tells of one attempt.
type Event struct {
	Marker Marker
	Took   time.Duration
	Err    error
	// Tidied is what kept old backups from going, though this one was made.
	Tidied error
	// Others are how many backups of other states are in the store, when this one
	// is the first of its own.
	Others int
}

// Runner makes backups in the background. All methods may be called concurrently.
type Runner struct {
	event func(Event)

	mu     sync.Mutex
	stop   context.CancelFunc
	done   chan struct{} // closed when the loop of the plan has ended
	status Status
}

// NewRunner does nothing before Configure.
func NewRunner(event func(Event)) *Runner {
	done := make(chan struct{})
	close(done)
	return &Runner{event: event, stop: func() {}, done: done}
}

// Configure replaces the plan; nil ends backups. It waits for nobody: a backup under
// way is broken off, and the new plan begins after it.
func (r *Runner) Configure(p *Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop()
	r.stop, r.status.Every = func() {}, 0
	if p == nil {
		return
	}
	r.status.Every = p.Every
	ctx, stop := context.WithCancel(context.Background())
	before, done := r.done, make(chan struct{})
	r.stop, r.done = stop, done
	go func() {
		defer close(done)
		<-before
		r.follow(ctx, p)
	}()
}

// patience is how long Close waits for a store that hangs.
const patience = 5 * time.Second

// Close ends backups.
func (r *Runner) Close() {
	r.Configure(nil)
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	select {
	case <-done:
	case <-time.After(patience):
	}
}

// Status is what is known now.
func (r *Runner) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

const (
	firstRetry = 30 * time.Second
	mostRetry  = 5 * time.Minute
)

// pause is how long to wait for the next backup: what is left of the interval after a
// good one, half a minute after the first failure and twice as long after each more,
// up to five minutes and never longer than the interval.
func pause(now, last time.Time, every time.Duration, failures int) time.Duration {
	if failures > 0 {
		return min(every, mostRetry, firstRetry<<min(failures-1, 10))
	}
	if last.IsZero() {
		return 0
	}
	return min(every, max(0, last.Add(every).Sub(now)))
}

func (r *Runner) follow(ctx context.Context, p *Plan) {
	others, failures := r.look(ctx, p), 0
	for {
		timer := time.NewTimer(pause(time.Now(), r.Status().Last.Created, p.Every, failures))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		e := r.attempt(ctx, p)
		if ctx.Err() != nil {
			return
		}
		failures++
		if e.Err == nil {
			failures = 0
			e.Others, others = others, 0
		}
		r.event(e)
	}
}

// look finds what an earlier process has made. If the store does not answer, the
// first attempt will tell. It counts the backups of other states, if there is none of
// this one.
func (r *Runner) look(ctx context.Context, p *Plan) (others int) {
	ctx, stop := context.WithTimeout(ctx, p.Timeout)
	defer stop()
	lineage, err := p.Lineage()
	if err != nil {
		return 0
	}
	markers, err := p.Vault.List(ctx)
	if err != nil {
		return 0
	}
	for _, m := range markers {
		if m.Lineage == lineage {
			r.mu.Lock()
			defer r.mu.Unlock()
			if m.Created.After(r.status.Last.Created) {
				r.status.Last, r.status.Took = m, 0
			}
			return 0
		}
	}
	return len(markers)
}

func (r *Runner) attempt(ctx context.Context, p *Plan) Event {
	ctx, stop := context.WithTimeout(ctx, p.Timeout)
	defer stop()
	began := time.Now()
	m, err := p.Vault.Make(ctx)
	e := Event{Marker: m, Took: time.Since(began), Err: err}
	if tidying := new(Tidying); errors.As(err, &tidying) {
		e.Tidied, e.Err = tidying, nil
	}
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return e // by another configuration, or the end
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Err != nil {
		r.status.Failed++
		if r.status.Err == nil {
			r.status.Since = began
		}
		r.status.Err = e.Err
		return e
	}
	r.status.Last, r.status.Took, r.status.Err = m, e.Took, nil
	r.status.Made++
	return e
}
