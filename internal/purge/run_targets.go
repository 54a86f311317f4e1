package purge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// alive reports whether a target is still worth a call.
func alive(t TargetState) bool { return t.State != Failed }

// targets calls every target that has not failed, side by side. What one
// answers is in its state; the error is only that ctx is done.
func (x *run) targets(ctx context.Context, p *Parts, last bool) (string, error) {
	if err := x.toCaller(ctx); err != nil {
		return "", err
	}
	var calls sync.WaitGroup
	var lost atomic.Bool // another node is to make the calls
	for i, state := range slices.Clone(x.record.Targets) {
		if alive(state) {
			calls.Go(func() {
				if errors.Is(x.target(ctx, p.target(state.Name), i, last), errNotCaller) {
					lost.Store(true)
				}
			})
		}
	}
	calls.Wait()
	failed := 0
	for _, t := range x.record.Targets {
		if !alive(t) {
			failed++
		}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errExpired) {
		return "", cause
	}
	if lost.Load() {
		return "", errNotCaller
	}
	if failed > 0 {
		return fmt.Sprintf("%d of %d targets failed", failed, len(x.record.Targets)), nil
	}
	return "", nil
}

// targetsAgain is the second pass. A CDN has accepted it before all of its
// places have carried it out, and only then is it true that it keeps nothing.
func (x *run) targetsAgain(ctx context.Context, p *Parts) (string, error) {
	detail, err := x.targets(ctx, p, true)
	if err != nil || !slices.ContainsFunc(x.record.Targets, alive) {
		return detail, err
	}
	return detail, sleep(ctx, p.Settings.spread(x.record.Order))
}

// errUnconfigured: the target has no place in the configuration any more.
var errUnconfigured = &TargetError{Kind: Refused, Message: "target is not configured any more"}

// target makes one target's pass and writes down how it went.
func (x *run) target(ctx context.Context, t Target, i int, last bool) error {
	before := x.change(func(r *Record) { r.Targets[i].State = Running }).Targets[i]
	if t == nil {
		x.change(func(r *Record) {
			r.Targets[i].State = Failed
			r.Targets[i].Error = errUnconfigured
		})
		return nil
	}
	show := func(result Result) {
		r := x.change(func(r *Record) { r.Targets[i] = before.plus(result) })
		x.c.ledger.touch(r)
		if result.Last != nil {
			x.c.report.send(Event{Kind: TargetRetry, Record: r, Target: before.Name, Err: result.Last, Wait: result.Wait})
		}
	}
	result, err := x.call(ctx, t, show)
	x.change(func(r *Record) {
		state := before.plus(result)
		state.Error = targetError(ctx, err)
		switch {
		case ended(ctx), errors.Is(err, errNotCaller):
			state.State = before.State // the next start, or nobody, repeats it
		case err != nil:
			state.State = Failed
		case last:
			state.State = Done
		}
		r.Targets[i] = state
	})
	return err
}

// ended reports whether the run was stopped from outside.
func ended(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return cause != nil && !errors.Is(cause, errExpired)
}

// plus adds what a pass has done to what was done before it.
func (t TargetState) plus(r Result) TargetState {
	t.Batches += r.Batches
	t.Items += r.Items
	t.Attempts += r.Attempts
	t.RateLimited += milliseconds(r.RateLimited)
	if r.Note != "" {
		t.Note = r.Note
	}
	if r.Cost != nil {
		t.Cost = r.Cost
	}
	t.Error = r.Last
	return t
}

func targetError(ctx context.Context, err error) *TargetError {
	var refused *TargetError
	switch {
	case err == nil, ended(ctx), errors.Is(err, errNotCaller):
		return nil
	case errors.As(err, &refused):
		return refused
	case ctx.Err() != nil:
		return &TargetError{Kind: Expired, Message: errExpired.Error()}
	}
	return &TargetError{Kind: Unreachable, Message: err.Error()}
}
