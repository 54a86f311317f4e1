package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// stage is one contestant with the origin behind it.
type stage struct {
	contestant contestant
	client     *client
	origin     *origin
	ledger     *ledger
}

// verdict of one try.
type verdict int

const (
	held   verdict = iota // nothing from before the purge was served after it
	lost                  // something was
	absent                // the contestant does not do what the scenario is about
)

// scenario is one way to lose the race, with everything else standing still.
type scenario struct {
	name, about string
	control     string // Cache-Control of the page
	plain       bool   // without a validator
	play        func(ctx context.Context, s *stage, path string) (verdict, error)
}

var scenarios = []scenario{
	{name: "at rest", control: "public, max-age=60", play: atRest,
		about: "Nothing is under way: the page is stored, then purged. Who loses this does not purge at all."},
	{name: "before the header", control: "public, max-age=60", play: duringFetch(beforeHeader),
		about: "A fetch is held before its header; the page is purged; the fetch goes on."},
	{name: "in the body", control: "public, max-age=60", play: duringFetch(inBody),
		about: "Likewise, held in the middle of its body."},
	{name: "asked meanwhile", control: "public, max-age=60", play: askedMeanwhile,
		about: "The fetch is still held when, after the purge, another visitor asks."},
	{name: "confirmed by a 304", control: "public, max-age=1", play: confirmedMeanwhile,
		about: "A stale copy is being confirmed; it is purged; the origin's 304 arrives."},
	{name: "background refresh", control: "public, max-age=1, stale-while-revalidate=60", plain: true, play: refreshedMeanwhile,
		about: "A stale copy is served and refreshed; it is purged; the refresh arrives."},
}

// patience is how long to wait for what a contestant may never do.
const patience = 700 * time.Millisecond

// purgePage publishes a new page and purges the old one.
func (s *stage) purgePage(ctx context.Context, path string) error {
	number := s.ledger.publish(path)
	if err := s.contestant.purge(ctx, s.client, path); err != nil {
		return fmt.Errorf("purge: %w", err)
	}
	s.ledger.acknowledge(path, number)
	return nil
}

// ask sends a request and judges what comes.
func (s *stage) ask(ctx context.Context, path string) (verdict, error) {
	least, before := s.ledger.least(path), s.origin.fetched(path)
	got, err := s.client.get(ctx, path)
	if err != nil {
		return held, err
	}
	if s.ledger.judge(least, got, s.origin.fetched(path) == before) {
		return held, nil
	}
	return lost, nil
}

// asking is a request on its way.
type asking struct {
	done    chan struct{}
	verdict verdict
	err     error
}

func (s *stage) start(ctx context.Context, path string) *asking {
	a := &asking{done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.verdict, a.err = s.ask(ctx, path)
	}()
	return a
}

func (a *asking) wait() (verdict, error) {
	<-a.done
	return a.verdict, a.err
}

// after asks some times, for whatever is stored late.
func (s *stage) after(ctx context.Context, path string) (verdict, error) {
	for range 5 {
		if v, err := s.ask(ctx, path); v != held || err != nil {
			return v, err
		}
		gateway.Pause(ctx, 20*time.Millisecond)
	}
	return held, ctx.Err()
}

func atRest(ctx context.Context, s *stage, path string) (verdict, error) {
	if v, err := s.after(ctx, path); v != held || err != nil {
		return v, err
	}
	if err := s.purgePage(ctx, path); err != nil {
		return held, err
	}
	return s.after(ctx, path)
}

func duringFetch(at point) func(context.Context, *stage, string) (verdict, error) {
	return func(ctx context.Context, s *stage, path string) (verdict, error) {
		h := s.origin.holdNext(path, at)
		first := s.start(ctx, path)
		<-h.arrived
		err := s.purgePage(ctx, path)
		h.release()
		if _, e := first.wait(); err != nil || e != nil { // it asked before, and may have either
			return held, errors.Join(err, e)
		}
		return s.after(ctx, path)
	}
}

func askedMeanwhile(ctx context.Context, s *stage, path string) (verdict, error) {
	h := s.origin.holdNext(path, beforeHeader)
	first := s.start(ctx, path)
	<-h.arrived
	err := s.purgePage(ctx, path)
	second := s.start(ctx, path)
	select {
	case <-second.done:
	case <-time.After(patience): // it waits for the first
	}
	h.release()
	if _, e := first.wait(); err != nil || e != nil {
		return held, errors.Join(err, e)
	}
	return second.wait()
}

func confirmedMeanwhile(ctx context.Context, s *stage, path string) (verdict, error) {
	if _, err := s.ask(ctx, path); err != nil {
		return held, err
	}
	gateway.Pause(ctx, 2100*time.Millisecond)
	h := s.origin.holdNext(path, beforeHeader)
	first := s.start(ctx, path)
	<-h.arrived
	err := s.purgePage(ctx, path)
	h.release()
	if _, e := first.wait(); err != nil || e != nil {
		return held, errors.Join(err, e)
	}
	if !h.conditional {
		return absent, nil
	}
	return s.after(ctx, path)
}

func refreshedMeanwhile(ctx context.Context, s *stage, path string) (verdict, error) {
	if _, err := s.ask(ctx, path); err != nil {
		return held, err
	}
	gateway.Pause(ctx, 2100*time.Millisecond)
	h := s.origin.holdNext(path, inBody)
	first := s.start(ctx, path)
	select {
	case <-first.done: // the stale copy, while the refresh is held
	case <-time.After(patience):
		h.release()
		_, err := first.wait()
		return absent, err
	}
	select {
	case <-h.arrived:
	case <-time.After(patience):
		return absent, nil
	}
	err := s.purgePage(ctx, path)
	h.release()
	if err != nil || first.err != nil {
		return held, errors.Join(err, first.err)
	}
	gateway.Pause(ctx, 100*time.Millisecond) // the refresh has nobody who could say that it has ended
	return s.after(ctx, path)
}

// schedule is a random one: visitors and purges at random moments, an origin
// that takes its time. The seed gives the delays; what the machine makes of
// them differs from run to run.
func (s *stage) schedule(ctx context.Context, seed uint64) error {
	s.origin.delay(rand.New(rand.NewPCG(seed, 0)), 8*time.Millisecond)
	defer s.origin.delay(nil, 0)
	var (
		all   sync.WaitGroup
		mu    sync.Mutex
		wrong error
	)
	actor := func(number uint64, steps int, longest time.Duration, act func(path string) error) {
		random := rand.New(rand.NewPCG(seed, number))
		all.Go(func() {
			for range steps {
				gateway.Pause(ctx, time.Duration(random.Int64N(int64(longest))))
				if err := act(fmt.Sprintf("/page/random/%d/%d", seed, random.IntN(3))); err != nil {
					mu.Lock()
					wrong = err
					mu.Unlock()
					return
				}
			}
		})
	}
	for visitor := range uint64(6) {
		actor(1+visitor, 16, 8*time.Millisecond, func(path string) error {
			_, err := s.ask(ctx, path)
			return err
		})
	}
	for purger := range uint64(2) {
		actor(100+purger, 5, 24*time.Millisecond, func(path string) error { return s.purgePage(ctx, path) })
	}
	all.Wait()
	return wrong
}
