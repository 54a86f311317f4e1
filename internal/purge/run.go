package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// run carries out one order. Its goroutine owns it; the targets' goroutines
// report through mu.
type run struct {
	c      *Coordinator
	cancel context.CancelCauseFunc
	// hold is this node's on the order, in a fleet. alone: nobody can be asked
	// about it, so this node carries it out.
	hold  string
	alone bool

	mu     sync.Mutex
	record Record
}

// errGate: the replicas did not all report the expected version in time.
var errGate = errors.New("rollout gate not reached, nothing purged")

// all carries the order out, or follows another node that does, until it is
// final, unless the coordinator is closed first.
func (x *run) all(ctx context.Context) {
	for x.mine(ctx) {
		failure := x.rest(ctx)
		switch {
		case errors.Is(failure, ErrClosed):
			return
		case errors.Is(failure, errElsewhere):
		case errors.Is(failure, errNotCaller):
			if sleep(x.c.ctx, heedPoll) != nil {
				return
			}
		case x.finish(failure):
			return
		}
	}
}

// rest applies the steps that are left, each journaled after its effect.
func (x *run) rest(ctx context.Context) error {
	for _, name := range steps(x.record) {
		if x.record.Did(name) {
			continue
		}
		if stop := context.Cause(ctx); stop != nil {
			return stop
		}
		if err := x.regain(); err != nil {
			return err
		}
		if err := x.step(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// steps lists what an order consists of, in order.
func steps(r Record) []StepName {
	var names []StepName
	if r.Expect != "" {
		names = append(names, StepGate)
	}
	names = append(names, StepGeneration, StepNode, StepFleet)
	if len(r.Targets) > 0 {
		names = append(names, StepDrain, StepTargets, StepSettle, StepTargetsAgain)
	}
	if len(r.Verify) > 0 {
		names = append(names, StepVerify)
	}
	if r.warms() {
		names = append(names, StepWarm)
	}
	return names
}

func (x *run) step(ctx context.Context, name StepName) error {
	started := time.Now()
	detail, err := x.apply(ctx, name)
	if err != nil {
		return err
	}
	finished := time.Now()
	r := x.change(func(r *Record) {
		r.State = Running
		if r.Started.IsZero() {
			r.Started = started
		}
		r.Steps = append(r.Steps, Step{Name: name, Started: started, Finished: finished, Detail: detail})
	})
	if !x.keep(r) {
		return errElsewhere
	}
	x.c.ledger.update(r)
	x.c.report.send(Event{Kind: OrderStep, Record: r, Step: name, Took: finished.Sub(started), Detail: detail})
	return nil
}

// change edits the record and gives a copy that nobody will change.
func (x *run) change(edit func(*Record)) Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.record.Steps = slices.Clone(x.record.Steps)
	x.record.Targets = slices.Clone(x.record.Targets)
	edit(&x.record)
	x.record.Exit = ExitCode(x.record)
	return x.record
}

func (x *run) apply(ctx context.Context, name StepName) (string, error) {
	p := x.c.parts.Load()
	switch name {
	case StepGate:
		return x.gate(ctx, p)
	case StepGeneration:
		return x.insist(ctx, name, func() (string, error) { return x.raise(ctx, p) })
	case StepNode:
		return x.insist(ctx, name, func() (string, error) {
			return "", p.Node.Purge(ctx, x.record.Order, x.record.Generation)
		})
	case StepFleet:
		return x.insist(ctx, name, func() (string, error) { return x.announce(ctx, p) })
	case StepDrain:
		return x.drain(ctx, p)
	case StepSettle:
		if !slices.ContainsFunc(x.record.Targets, alive) {
			return "skipped: no target was reached", nil
		}
		return "", sleep(ctx, p.Settings.settle(x.record.Order))
	case StepTargets:
		return x.targets(ctx, p, false)
	case StepTargetsAgain:
		return x.targetsAgain(ctx, p)
	case StepWarm:
		return x.warm(ctx, p)
	default:
		return x.verify(ctx, p)
	}
}

// insist repeats a step of ours until it succeeds or ctx is done.
func (x *run) insist(ctx context.Context, name StepName, try func() (string, error)) (string, error) {
	for attempt := 0; ; attempt++ {
		detail, err := try()
		if err == nil {
			return detail, nil
		}
		wait := backoff(min(attempt, ownDoublings))
		x.c.report.send(Event{Kind: StepRetry, Record: x.record, Step: name, Err: err, Wait: wait})
		if stop := sleep(ctx, wait); stop != nil {
			return "", fmt.Errorf("%s: %w: %w", name, stop, err)
		}
	}
}

func (x *run) gate(ctx context.Context, p *Parts) (string, error) {
	if p.Rollout == nil {
		return "", fmt.Errorf("%w: no pool reports versions", errGate)
	}
	until := time.Now().Add(p.Settings.GateFor.D())
	for {
		behind, err := p.Rollout.Behind(ctx, x.record.Expect)
		if err == nil && len(behind) == 0 {
			return "", nil
		}
		if stop := context.Cause(ctx); stop != nil {
			return "", stop
		}
		if !time.Now().Before(until) {
			if err != nil {
				return "", fmt.Errorf("%w: %w", errGate, err)
			}
			return "", fmt.Errorf("%w: %d replicas do not report %s: %s", errGate, len(behind), x.record.Expect, some(behind))
		}
		if stop := sleep(ctx, gatePoll); stop != nil {
			return "", stop
		}
	}
}

// some names the first few.
func some(names []string) string {
	if len(names) > 5 {
		names = append(slices.Clone(names[:5]), "…")
	}
	return strings.Join(names, ", ")
}

func (x *run) raise(ctx context.Context, p *Parts) (string, error) {
	generation, err := p.Fleet.Next(ctx, max(x.c.ledger.highest(), p.Node.Generation()))
	if err == nil {
		x.change(func(r *Record) { r.Generation = generation })
	}
	return "", err
}

func (x *run) announce(ctx context.Context, p *Parts) (string, error) {
	text, err := json.Marshal(x.record.Order)
	if err != nil {
		return "", err
	}
	members, err := p.Fleet.Announce(ctx, x.record.Generation, text)
	return fmt.Sprintf("%d of %d nodes", members, members), err
}

// drain waits until no answer that began before the purge can reach a CDN any
// more. A download that takes longer than the cap must not hold up the purge.
func (x *run) drain(ctx context.Context, p *Parts) (string, error) {
	until := time.Now().Add(p.Settings.DrainCap.D())
	for {
		left := p.Node.Draining(x.record.Generation)
		others, err := p.Fleet.Undrained(ctx, x.record.Generation)
		if left == 0 && others == 0 && err == nil {
			return "", nil
		}
		if !time.Now().Before(until) {
			return capped(left, others, err), nil
		}
		if stop := sleep(ctx, drainPoll); stop != nil {
			return "", stop
		}
	}
}

// capped says what a drain that took too long leaves behind.
func capped(left, others int, err error) string {
	detail := fmt.Sprintf("capped: %d exchanges left", left)
	switch {
	case err != nil:
		detail += "; other nodes: " + err.Error()
	case others > 0:
		detail += fmt.Sprintf(", and some at %d other nodes", others)
	}
	return detail
}

// verify polls each URL until it shows the new state; all share one time limit.
func (x *run) verify(ctx context.Context, p *Parts) (string, error) {
	if p.Verifier == nil {
		return "", errors.New("verify: this gateway has no verifier any more")
	}
	until := time.Now().Add(p.Settings.VerifyFor.D())
	since := x.record.purged()
	seen := make([]Verification, 0, len(x.record.Verify))
	good := 0
	for _, url := range x.record.Verify {
		v := p.Verifier.Verify(ctx, url, x.record.Expect, since)
		for !v.OK && time.Now().Before(until) {
			if stop := sleep(ctx, verifyPoll); stop != nil {
				return "", stop
			}
			v = p.Verifier.Verify(ctx, url, x.record.Expect, since)
		}
		if stop := context.Cause(ctx); stop != nil && !v.OK {
			return "", stop
		}
		if v.OK {
			good++
		}
		seen = append(seen, v)
	}
	x.change(func(r *Record) { r.Verified = seen })
	return fmt.Sprintf("%d of %d URLs", good, len(seen)), nil
}

// purged is when this node was: no copy from before it may be seen again.
func (r Record) purged() time.Time {
	i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.Name == StepNode })
	return r.Steps[i].Finished
}

// finish gives the order its last state. False: another node has taken it over,
// and what this one makes of it does not count.
func (x *run) finish(failure error) bool {
	r := x.change(func(r *Record) {
		r.State = outcome(*r, failure)
		if failure != nil {
			r.Error = failure.Error()
		}
		for i := range r.Targets {
			if r.Targets[i].State.Final() {
				continue
			}
			r.Targets[i].State = Failed
			if r.State == Canceled {
				r.Targets[i].State = Canceled
			}
			if r.Targets[i].Error == nil && errors.Is(failure, errExpired) {
				r.Targets[i].Error = &TargetError{Kind: Expired, Message: failure.Error()}
			}
		}
		r.Finished = time.Now()
	})
	if !x.keep(r) {
		return false
	}
	x.c.ledger.update(r)
	x.c.report.send(Event{Kind: OrderFinished, Record: r, Took: r.Finished.Sub(r.Created), Err: failure})
	return true
}

func outcome(r Record, failure error) State {
	switch {
	case errors.Is(failure, errCanceled):
		return Canceled
	case failure != nil && !r.Did(StepNode):
		return Failed
	case failure != nil || r.stale() || slices.ContainsFunc(r.Targets, func(t TargetState) bool { return t.State != Done }):
		return Partial
	}
	return Done
}

// sleep waits, unless ctx is done first: then it gives the cause.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// milliseconds rounds a duration for records.
func milliseconds(d time.Duration) unit.Duration {
	return unit.Duration(d.Round(time.Millisecond))
}
