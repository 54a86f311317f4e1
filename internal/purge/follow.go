package purge

import (
	"context"
	"errors"
	"time"
)

// errElsewhere: another node carries the order out. errNotCaller: another node
// calls the targets.
var (
	errElsewhere = errors.New("another node carries the order out")
	errNotCaller = errors.New("another node calls the targets")
)

// commons is nil for a node alone.
func (x *run) commons() Commons { return x.c.parts.Load().Commons }

// mine returns true when this node is to carry the order out: it has the hold, or
// nobody can be asked. It follows what another node does with it until then, and
// returns false when the order is final, or the coordinator closed.
func (x *run) mine(ctx context.Context) bool {
	commons := x.commons()
	if commons == nil || x.hold != "" || x.alone {
		return true
	}
	asked, heard := false, time.Now()
	for {
		over, err := x.look(commons)
		switch {
		case err == nil && over:
			return false
		case err == nil && x.hold != "":
			return true
		case err == nil:
			heard = time.Now()
		case time.Since(heard) >= patience(commons):
			x.alone = true
			return true
		}
		if errors.Is(context.Cause(ctx), errCanceled) && !asked {
			asked, _ = commons.Cancel(x.c.ctx, x.record.ID) // asked again if that fails
		}
		if sleep(x.c.ctx, heedPoll) != nil {
			return false
		}
	}
}

// look asks what has become of the order. over: it is final. An order that the
// fleet does not know, any more or yet, is shared as this node has it.
func (x *run) look(commons Commons) (over bool, err error) {
	text, hold, err := commons.Find(x.c.ctx, x.record.ID)
	if err != nil {
		return false, err
	}
	if text == nil {
		x.hold, _, err = commons.Offer(x.c.ctx, x.record.ID, "", "", x.record.text())
		return false, err
	}
	r, err := readRecord(text)
	if err != nil {
		return false, err
	}
	if hold != "" {
		r = r.takenOver()
	}
	x.change(func(own *Record) { *own = r })
	x.hold = hold
	if !r.State.Final() {
		x.c.ledger.touch(r)
		return false, nil
	}
	x.c.ledger.update(r)
	x.c.report.send(Event{Kind: OrderLanded, Record: r, Took: r.Finished.Sub(r.Created)})
	return true, nil
}

// regain ends the time in which this node acts alone, once somebody answers.
func (x *run) regain() error {
	if !x.alone {
		return nil
	}
	commons := x.commons()
	text, hold, err := commons.Find(x.c.ctx, x.record.ID)
	if err == nil && text == nil {
		hold, _, err = commons.Offer(x.c.ctx, x.record.ID, "", "", x.record.text())
	}
	if err != nil {
		return nil // still alone
	}
	x.alone, x.hold = false, hold
	if hold == "" {
		return errElsewhere
	}
	return nil
}

// keep shares a state of the order. It returns false when the hold has passed to
// another node: then what this one did since is not the order's.
func (x *run) keep(r Record) bool {
	commons := x.commons()
	if commons == nil || x.hold == "" {
		return true
	}
	limit := patience(commons)
	if x.alone {
		limit = 0
	}
	var held, canceled bool
	err := insistFor(x.c.ctx, limit, func() (err error) {
		held, canceled, err = commons.Keep(x.c.ctx, r.ID, x.hold, r.IdempotencyKey, r.text(), r.State.Final())
		return err
	})
	switch {
	case err != nil:
		x.alone = true
		return true
	case !held:
		x.hold = ""
	case canceled:
		x.cancel(errCanceled)
	}
	return held
}

// toCaller returns nil when this node is to make the order's calls.
func (x *run) toCaller(ctx context.Context) error {
	commons := x.commons()
	if commons == nil || x.alone {
		return nil
	}
	until := time.Now().Add(patience(commons))
	for {
		held, mine, err := commons.Hand(x.c.ctx, x.record.ID, x.hold, x.record.text())
		switch {
		case err == nil && mine:
			return nil
		case err == nil && !held:
			x.hold = ""
			return errElsewhere
		case !time.Now().Before(until):
			x.alone = true
			return nil
		}
		if stop := sleep(ctx, heedPoll); stop != nil {
			return stop
		}
	}
}

// call has a target make its pass: with those of the fleet's other orders, unless
// this node is alone.
func (x *run) call(ctx context.Context, t Target, show func(Result)) (Result, error) {
	if x.commons() == nil || x.alone {
		return t.Purge(ctx, x.record.Order, nil, show)
	}
	return x.c.gatherFor(t.Name()).purge(ctx, x.record.Order, show)
}
