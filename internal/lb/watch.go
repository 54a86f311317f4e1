package lb

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

var (
	errSlow  = errors.New("the replica took too long: another is asked")
	errHedge = errors.New("another replica answered first")
)

// watch is one try that does not just wait for its answer: another replica may
// be asked besides (a hedge), or instead of this one (a try's time-out). Both
// happen only when another may have the request: the last one that is asked may
// take its time.
//
// The exchange is the request's goroutine's. Timers touch the fields below the
// mutex, and what does not change while the try is under way.
type watch struct {
	pool    *Pool
	view    *view
	in      *http.Request
	payload *payload
	tries   func(Try, http.Header) func(int, error)
	tried   [maxAttempts + maxRescues]*replica // with the one of this try
	count   int
	cancel  context.CancelCauseFunc

	mu      sync.Mutex
	over    bool   // the try has ended: timers come too late
	waiting bool   // it has failed, and the hedge is waited for
	hedge   *hedge // nil: there is none
	next    slot   // taken for the try that follows
}

// hedge is the try besides.
type hedge struct {
	x       *exchange // of its own goroutine until done is closed
	replica *replica
	cancel  context.CancelCauseFunc
	resp    *http.Response
	good    bool          // it answered, and the request has use for it
	done    chan struct{} // closed when the above stands
}

// try makes one try with the slot held.
func (x *exchange) try() (*http.Response, error) {
	s := x.view.settings
	patience := s.Retry.Timeout.D()
	movable := patience > 0 && x.attempts < s.Retry.Attempts && x.repeatable(late)
	delay, hedgeable := x.hedgeAfter()
	if !movable && !hedgeable {
		return x.send()
	}
	ctx, cancel := context.WithCancelCause(x.in.Context())
	w := &watch{
		pool: x.pool, view: x.view, in: x.in, payload: x.payload, tries: x.tries,
		tried: x.tried, count: x.attempts + 1, cancel: cancel,
	}
	w.tried[x.attempts] = x.slot.replica
	x.ctx, x.stop = ctx, cancel
	if movable {
		defer time.AfterFunc(patience, w.move).Stop()
	}
	if delay > 0 {
		defer time.AfterFunc(delay, w.besides).Stop()
	}
	resp, err := x.send()
	if hedgeable {
		x.pool.latencies.add(x.pool.now(), time.Duration(x.pool.now()-x.slot.began))
	}
	return x.wrapUp(w, resp, err)
}

// wrapUp ends a watched try. What a hedge brought takes its place.
func (x *exchange) wrapUp(w *watch, resp *http.Response, err error) (*http.Response, error) {
	failed := err != nil || x.outcomeOf(resp, err) >= gateway
	w.mu.Lock()
	w.over, w.waiting = true, failed
	h, next := w.hedge, w.next
	both := h != nil && h.good
	w.mu.Unlock()

	if err == nil && next.replica != nil {
		x.pool.giveBack(&next) // The answer came as it was being left.
	} else {
		x.next = next
	}
	if h == nil {
		return resp, err
	}
	x.tried[x.attempts] = h.replica
	x.attempts++
	if !failed {
		h.cancel(errHedge)
		if both {
			<-h.done
			h.drop(neutral)
		}
		return resp, nil
	}
	<-h.done
	if !h.good {
		return resp, err
	}
	if resp != nil {
		_ = resp.Body.Close() // Nobody wants it.
		x.settle(x.outcomeOf(resp, nil))
	}
	x.adopt(h)
	return h.resp, nil
}

// adopt goes on with the answer of a hedge. What the first replica would have
// done nobody knows; that it was slower is noted.
func (x *exchange) adopt(h *hedge) {
	x.settle(neutral)
	x.stop(errHedge)
	x.stop = h.cancel
	h.x.held = false
	x.hold(h.x.slot)
	x.conn = h.x.conn
	x.name(x.slot.replica)
	x.pool.hedgesWon.Add(1)
}

// move leaves the replica for another, if another may have the request.
func (w *watch) move() {
	scout := w.scout()
	next, ok := scout.take()
	if !ok {
		return
	}
	if !w.pool.budget.retry(w.pool.now(), float64(w.view.settings.Retry.Budget)) {
		w.pool.giveBack(&next)
		return
	}
	w.mu.Lock()
	late := w.over || w.hedge != nil
	if !late && w.payload != nil && w.in.GetBody == nil {
		_, whole := w.payload.again()
		late = !whole
	}
	if !late {
		w.next = next
	}
	w.mu.Unlock()
	if late {
		w.pool.giveBack(&next)
		return
	}
	w.cancel(errSlow)
}

// scout looks for a replica that was not tried.
func (w *watch) scout() *exchange {
	return &exchange{pool: w.pool, view: w.view, in: w.in, tries: w.tries, tried: w.tried, attempts: w.count}
}

// besides asks another replica too, if the pool has room. Whoever answers
// first is taken.
func (w *watch) besides() {
	x := w.scout()
	s, ok := x.takeSpare()
	if !ok {
		return
	}
	if !w.pool.budget.hedge(w.pool.now(), float64(w.view.settings.Hedge.Budget)) {
		w.pool.giveBack(&s)
		return
	}
	ctx, cancel := context.WithCancelCause(w.in.Context())
	h := &hedge{x: x, replica: s.replica, cancel: cancel, done: make(chan struct{})}
	x.ctx, x.beside = ctx, true
	w.mu.Lock()
	late := w.over || w.next.replica != nil
	if !late {
		w.hedge = h
	}
	w.mu.Unlock()
	if late {
		cancel(errHedge)
		w.pool.giveBack(&s)
		return
	}
	w.pool.hedges.Add(1)
	x.hold(s)
	w.finish(h)
}

// release ends the context of a watched try, whose answer is read or not wanted.
func (x *exchange) release() {
	if x.stop != nil {
		x.stop(nil)
		x.stop, x.ctx = nil, nil
	}
}

// finish waits for the hedge's answer and says what it is good for.
func (w *watch) finish(h *hedge) {
	defer func() {
		// A hook of the caller's may panic. Here nobody is above to catch it, and
		// the request has a try of its own.
		if recover() != nil {
			h.drop(neutral)
		}
		close(h.done)
	}()
	resp, err := h.x.send()
	o := h.x.outcomeOf(resp, err)
	w.mu.Lock()
	first := !w.over
	good := err == nil && o < gateway && (first || w.waiting)
	h.resp, h.good = resp, good
	w.mu.Unlock()
	switch {
	case !good:
		if context.Cause(h.x.ctx) != nil {
			o = neutral
		}
		h.drop(o)
	case first:
		w.cancel(errHedge)
	}
}

// drop gives back what the hedge holds. Nobody wants its answer.
func (h *hedge) drop(o outcome) {
	if h.resp != nil {
		_ = h.resp.Body.Close() // Its connection goes with it.
	}
	h.x.settle(o)
	h.cancel(errHedge)
}
