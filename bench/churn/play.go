package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// result is what a run came to.
type result struct {
	took          time.Duration
	tally         *tally
	retries       int64 // by the pool
	started, most int   // replicas
	manners       map[manner]int
	kills         int
	before, after footprint
	left          poolView // what the pool has at the end
	journal       *journal // of a long run; else nil
}

// play starts the gateway and one replica, has visitors come, changes the fleet
// under them, and ends everything.
func play(ctx context.Context, o options, binary, dir string) (r result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return result{}, err
	}
	s, err := startSite(ctx, o, binary, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	f := &fleet{site: s, binary: binary, dir: dir, target: "v0"}
	defer func() { err = errors.Join(err, f.end()) }()
	if err := f.add(ctx, "v0"); err != nil {
		return result{}, err
	}
	if r.before, err = s.footprint(ctx); err != nil {
		return result{}, err
	}
	r.tally = newTally()
	began := time.Now()
	leave, stop := context.WithCancel(ctx)
	var visitors sync.WaitGroup
	come(leave, &visitors, o, s.url(), r.tally)
	if o.long() {
		r.journal = newJournal(s, o)
		r.journal.come(leave, &visitors, o)
		r.manners, r.kills, err = churn(ctx, o, f, func() (map[manner]int, error) { return r.journal.endure(ctx, o, f) })
	} else {
		r.manners, r.kills, err = churn(ctx, o, f, func() (map[manner]int, error) { return f.replaceAll(ctx, o) })
	}
	stop()
	visitors.Wait()
	r.took = time.Since(began)
	if err != nil {
		return result{}, err
	}
	r.started, r.most = f.started, f.most
	if err := s.settle(ctx, &r); err != nil {
		return result{}, err
	}
	if r.journal != nil {
		r.journal.judge()
	}
	r.tally.judge(f.lives())
	return r, nil
}

// come has all visitors come. They leave when leave is done.
func come(leave context.Context, group *sync.WaitGroup, o options, base string, t *tally) {
	for i := range o.visitors {
		group.Go(func() { newVisitor(base, o.seed<<16+uint64(i), t).visit(leave) })
	}
	for range o.streams {
		group.Go(func() { s := newStreamer(base, t); s.keep(leave, sse, s.events) })
		group.Go(func() { s := newStreamer(base, t); s.keep(leave, socket, s.echoes) })
	}
}

// churn scales up, has something happen to the replicas, and scales down, while
// some are killed.
func churn(ctx context.Context, o options, f *fleet, happen func() (map[manner]int, error)) (left map[manner]int, kills int, err error) {
	killing, stop := context.WithCancel(ctx)
	var killer sync.WaitGroup
	var killerErr error
	killer.Go(func() { kills, killerErr = f.killAtRandom(ctx, killing, o) })
	if err = f.grow(ctx, o.most); err == nil {
		left, err = happen()
	}
	stop()
	killer.Wait()
	if err = errors.Join(err, killerErr); err != nil {
		return nil, 0, err
	}
	log.Printf("%d replicas, down to 1", f.serving())
	for r := f.oldest(); r != nil; r = f.oldest() {
		if err := f.retire(ctx, r); err != nil {
			return nil, 0, err
		}
		left[r.manner]++
	}
	return left, kills, nil
}

// grow starts replicas until so many serve.
func (f *fleet) grow(ctx context.Context, most int) error {
	log.Printf("%d replicas, up to %d", f.serving(), most)
	for f.serving() < most {
		if err := f.add(ctx, f.wanted()); err != nil {
			return err
		}
	}
	return nil
}

// replaceAll makes all replacements of a short run. A round of them is a deploy.
func (f *fleet) replaceAll(ctx context.Context, o options) (map[manner]int, error) {
	log.Printf("%d replicas, %d replacements", f.serving(), o.replacements)
	left := make(map[manner]int)
	for n := 0; n < o.replacements; n += o.most {
		err := f.roll(ctx, fmt.Sprint("v", 1+n/o.most), min(o.most, o.replacements-n), o.atOnce, left)
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// roll replaces so many replicas by ones of a version, and counts in which manner
// they left.
func (f *fleet) roll(ctx context.Context, version string, count, atOnce int, left map[manner]int) error {
	f.want(version)
	var mu sync.Mutex
	errs := make([]error, atOnce)
	var group sync.WaitGroup
	next := 0
	for i := range atOnce {
		group.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				mu.Unlock()
				if n >= count {
					return
				}
				how, err := f.replace(ctx, version)
				if err != nil {
					errs[i] = err
					return
				}
				mu.Lock()
				left[how]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// replace starts a replica and then ends the oldest.
func (f *fleet) replace(ctx context.Context, version string) (manner, error) {
	if err := f.add(ctx, version); err != nil {
		return "", err
	}
	r := f.oldest()
	if r == nil {
		return "", errors.New("there is no replica to replace")
	}
	return r.manner, f.retire(ctx, r)
}

// killAtRandom kills replicas until killing is done, takes them off the list
// some time later, and starts others in their place.
func (f *fleet) killAtRandom(ctx, killing context.Context, o options) (kills int, err error) {
	random := rand.New(rand.NewPCG(o.seed, 2))
	var burials sync.WaitGroup
	var mu sync.Mutex
	for {
		if !gateway.Pause(killing, time.Duration((0.2+1.6*random.Float64())*float64(o.kills))) {
			break
		}
		r := f.victim(random.IntN(1 << 20))
		if r == nil {
			continue
		}
		f.kill(r)
		kills++
		noticed := time.Duration(200+random.IntN(1300)) * time.Millisecond
		burials.Go(func() {
			gateway.Pause(ctx, noticed)
			failed := f.bury(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, failed)
		})
	}
	burials.Wait()
	return kills, err
}

// settle waits until nothing of the visitors is left in the gateway, and looks
// at what it holds.
func (s *site) settle(ctx context.Context, r *result) error {
	err := s.await(ctx, patience, "the pool is at rest", func(v poolView) bool {
		r.left, r.retries = v, v.Retries
		return v.atRest()
	})
	if err != nil {
		return err
	}
	// Connections that were in use a moment ago are closed a moment later.
	limit := time.Now().Add(patience)
	for {
		if r.after, err = s.footprint(ctx); err != nil || !r.leaking() || time.Now().After(limit) {
			return err
		}
		gateway.Pause(ctx, 500*time.Millisecond)
	}
}

// atRest reports whether one replica is left, with nothing to do.
func (v poolView) atRest() bool {
	if len(v.Replicas) != 1 || v.InFlight != 0 || v.Queued != 0 {
		return false
	}
	r := v.Replicas[0]
	return r.State == "up" && r.WebSockets == 0 && r.Streams == 0
}

// spare is by how many files and goroutines the gateway may differ before and
// after: it has idle connections to its replica, and to us.
const spare = 30

func (r result) leaking() bool {
	return r.after.files > r.before.files+spare || r.after.goroutines > r.before.goroutines+spare
}

// verdict is an error if anything was lost by the gateway's fault.
func (r result) verdict() error {
	var errs []error
	for i, l := range r.tally.faults() {
		if i == 20 {
			errs = append(errs, fmt.Errorf("and %d more", len(r.tally.faults())-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s: began %s, took %s, status %d, at replica %q: %s",
			l.kind.name, l.began.Format(time.TimeOnly), l.ended.Sub(l.began).Round(time.Millisecond), l.status, l.where, l.what))
	}
	if r.journal != nil {
		errs = append(errs, r.journal.verdict(r.tally))
	}
	if r.leaking() {
		errs = append(errs, fmt.Errorf("the gateway holds %d files and %d goroutines, and had %d and %d: want no more than %d above",
			r.after.files, r.after.goroutines, r.before.files, r.before.goroutines, spare))
	}
	return errors.Join(errs...)
}
