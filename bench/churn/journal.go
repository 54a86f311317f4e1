package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/internal/purge/history"
)

// journal is what a long run notes beside the churn. It is safe for concurrent
// use.
type journal struct {
	site     *site
	commands *gateway.Commands
	spell    time.Duration // how long Redis may be away

	mu      sync.Mutex
	history history.History
	done    map[string]int // mischief, by its name
	samples []sample

	violations []history.Violation // when judged
}

// sample is what the gateway's process held at a moment.
type sample struct {
	at time.Time
	footprint
}

func newJournal(s *site, o options) *journal {
	return &journal{
		site: s, spell: min(10*time.Second, o.duration/20), done: make(map[string]int),
		commands: &gateway.Commands{Binary: s.binary, Dir: s.dir, Token: s.token},
	}
}

func (j *journal) add(edit func(*history.History)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	edit(&j.history)
}

// pages are what readers and the crowd ask for.
var pages = []string{"/", "/contacts", "/contacts/1", "/contacts/2"}

const (
	readers      = 4 // who ask all the time
	readersPause = 50 * time.Millisecond
	crowdPause   = time.Minute // on the average
)

// come has readers and the crowd come, until leave is done.
func (j *journal) come(leave context.Context, group *sync.WaitGroup, o options) {
	for i := range readers {
		group.Go(func() { j.read(leave, o.seed<<16+uint64(i), readersPause) })
	}
	for i := range o.crowd {
		group.Go(func() { j.read(leave, o.seed<<32+uint64(i), crowdPause) })
	}
}

// read asks for one page after the other over a connection that it keeps.
func (j *journal) read(leave context.Context, seed uint64, pause time.Duration) {
	dice := rand.New(rand.NewPCG(seed, 3))
	transport := newTransport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for gateway.Pause(leave, gateway.UpTo(dice, 2*pause)) {
		r := history.Ask(client, j.site.url(), pages[dice.IntN(len(pages))])
		j.add(func(h *history.History) { h.Reads = append(h.Reads, r) })
	}
}

// endure deploys one version after the other for as long as the run is to take,
// while pages are purged and the gateway and its Redis are disturbed.
func (j *journal) endure(ctx context.Context, o options, f *fleet) (left map[manner]int, err error) {
	until, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	left = make(map[manner]int)
	work := []func() error{
		func() error { return j.deployOften(ctx, until, o, f, left) },
		func() error { return j.purgeOften(ctx, until, o) },
		func() error { return j.disturb(ctx, until, o) },
		func() error { return j.watch(ctx, until) },
	}
	errs := make([]error, len(work))
	var group sync.WaitGroup
	for i, do := range work {
		group.Go(func() {
			if errs[i] = do(); errs[i] != nil {
				stop()
			}
		})
	}
	group.Wait()
	return left, errors.Join(append(errs, ctx.Err())...)
}

// deployOften rolls out one version after the other, each time with CI waiting.
func (j *journal) deployOften(ctx, until context.Context, o options, f *fleet, left map[manner]int) error {
	for i := 1; until.Err() == nil; i++ {
		if err := j.deploy(ctx, o, f, fmt.Sprint("v", i), left); err != nil {
			return err
		}
		gateway.Pause(until, o.rest)
	}
	return nil
}

func (j *journal) deploy(ctx context.Context, o options, f *fleet, version string, left map[manner]int) error {
	j.add(func(h *history.History) {
		if last := len(h.Deploys) - 1; last >= 0 {
			h.Deploys[last].Until = time.Now()
		}
	})
	type outcome struct {
		code int
		err  error
		at   time.Time
	}
	called := make(chan outcome, 1)
	go func() {
		code, err := j.commands.Run(ctx, j.site.url(), "deploy", "--version", version, "--timeout", "5m", "--wait", "5m")
		called <- outcome{code, err, time.Now()}
	}()
	rolled := f.roll(ctx, version, o.most, o.atOnce, left)
	out := <-called
	d := history.Deploy{Version: version}
	if out.code == 0 {
		d.Acknowledged = out.at
	}
	j.add(func(h *history.History) { h.Deploys = append(h.Deploys, d) })
	log.Printf("deploy of %s: exit %d", version, out.code)
	return errors.Join(rolled, out.err)
}

// purgeOften has pages purged every ten seconds or so, in a short run more often.
func (j *journal) purgeOften(ctx, until context.Context, o options) error {
	dice := rand.New(rand.NewPCG(o.seed, 4))
	for gateway.Pause(until, gateway.UpTo(dice, min(20*time.Second, o.duration/10))) {
		if err := j.purge(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) purge(ctx context.Context) error {
	p := history.Purge{Called: time.Now()}
	code, err := j.commands.Run(ctx, j.site.url(), "purge", "--tag", "pages", "--wait", "1m")
	if err != nil {
		return err
	}
	if code == 0 {
		p.Acknowledged = time.Now()
	}
	j.add(func(h *history.History) { h.Purges = append(h.Purges, p) })
	log.Printf("purge: exit %d after %s", code, time.Since(p.Called).Round(time.Millisecond))
	return nil
}

// watch looks at the gateway's process now and then.
func (j *journal) watch(ctx, until context.Context) error {
	for gateway.Pause(until, 15*time.Second) {
		seen, err := j.site.footprint(ctx)
		if err != nil {
			continue // it is being upgraded, or busy: the next look will do
		}
		j.mu.Lock()
		j.samples = append(j.samples, sample{time.Now(), seen})
		j.mu.Unlock()
	}
	return nil
}
