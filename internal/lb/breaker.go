package lb

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// outcome is what one try on one replica came to.
type outcome uint8

const (
	neutral outcome = iota // says nothing about the replica: the client left, or sent a bad body
	good                   // an answer, whatever it says, below 500
	busy                   // 429: the replica is fine and wants less
	faulty                 // 5xx other than those below: in the ratio, not in the streak
	gateway                // 502, 503, 504
	refused                // no connection: nothing was sent
	reset                  // the connection broke before the headers came
	late                   // no headers in time
	cut                    // the body broke off, or stalled
)

// failed reports whether the breaker counts it as a failure.
func (o outcome) failed() bool { return o >= faulty }

// streaky reports whether it counts among the consecutive failures.
func (o outcome) streaky() bool { return o >= gateway }

var (
	errNeutral = errors.New("neutral")
	errFailed  = errors.New("failed")
)

func (o outcome) verdict() error {
	switch {
	case o == neutral:
		return errNeutral
	case o.failed():
		return errFailed
	}
	return nil
}

// breaker is gobreaker's two-step breaker with two additions: what requests
// read while they look for a replica is atomic, since gobreaker's State takes a
// lock and may change the state; and in the closed state an outcome is counted
// when it is known, in one go, so that admission costs one atomic load.
type breaker struct {
	two     *gobreaker.TwoStepCircuitBreaker[struct{}]
	now     func() int64
	open    int64        // nanoseconds that it stays open
	reopens atomic.Int64 // 0 when closed; else the time from which a probe may pass
	probing atomic.Bool  // the probe is under way
	streak  atomic.Int64 // gateway failures in a row
	last    atomic.Uint32
}

// newBreaker calls changed, when the state has changed, under gobreaker's lock:
// it must not block nor call the breaker.
func newBreaker(c Breaker, now func() int64, changed func(to gobreaker.State)) *breaker {
	b := &breaker{now: now, open: int64(c.Open)}
	ratio, minimum := float64(c.FailureRatio), uint32(c.MinRequests)
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     c.Window.D(),
		BucketPeriod: max(c.Window.D()/10, time.Millisecond),
		Timeout:      c.Open.D(),
		ReadyToTrip: func(n gobreaker.Counts) bool {
			if c.Consecutive > 0 && b.streak.Load() >= int64(c.Consecutive) {
				return true
			}
			return n.Requests >= minimum && float64(n.TotalFailures) >= ratio*float64(n.Requests)
		},
		IsSuccessful: func(err error) bool { return err == nil },
		IsExcluded:   func(err error) bool { return err == errNeutral },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				b.reopens.Store(b.now() + b.open)
			case gobreaker.StateClosed:
				b.streak.Store(0)
				b.reopens.Store(0)
			}
			changed(to)
		},
	})
	return b
}

// admits reports whether a request may be sent at now: it is closed, or due
// for a probe.
func (b *breaker) admits(now int64) bool {
	at := b.reopens.Load()
	return at == 0 || b.dueAt(at, now)
}

// due reports whether it waits for a probe.
func (b *breaker) due(now int64) bool {
	at := b.reopens.Load()
	return at != 0 && b.dueAt(at, now)
}

func (b *breaker) dueAt(at, now int64) bool { return now >= at && !b.probing.Load() }

// closed reports whether requests pass freely.
func (b *breaker) closed() bool { return b.reopens.Load() == 0 }

// unreachable reports whether it is open because connections failed: then
// trying the replica all the same would only cost time.
func (b *breaker) unreachable() bool {
	return b.reopens.Load() != 0 && outcome(b.last.Load()) == refused
}

// begin asks to send a request. In the half-open state the request is the
// probe, and probe must be called with its outcome exactly once; else probe is
// nil and the outcome goes to report.
func (b *breaker) begin(now int64) (probe func(outcome), ok bool) {
	at := b.reopens.Load()
	if at == 0 {
		return nil, true
	}
	if now < at || !b.probing.CompareAndSwap(false, true) {
		return nil, false
	}
	done, err := b.two.Allow()
	if err != nil {
		b.probing.Store(false)
		return nil, false
	}
	return func(o outcome) {
		if o.failed() {
			b.last.Store(uint32(o))
		}
		done(o.verdict())
		b.probing.Store(false)
	}, true
}

// report counts the outcome of a request that was no probe. Outcomes that come
// in after the breaker opened are of requests from before, and say nothing new.
func (b *breaker) report(o outcome) {
	if o == neutral || !b.closed() {
		return
	}
	if o.streaky() {
		b.streak.Add(1)
	} else {
		b.streak.Store(0)
	}
	if o.failed() {
		b.last.Store(uint32(o))
	}
	if done, err := b.two.Allow(); err == nil {
		done(o.verdict())
	}
}

// String is the state for people.
func (b *breaker) String() string {
	at := b.reopens.Load()
	switch {
	case at == 0:
		return gobreaker.StateClosed.String()
	case b.now() >= at:
		return gobreaker.StateHalfOpen.String()
	}
	return gobreaker.StateOpen.String()
}
