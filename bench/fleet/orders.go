package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/internal/purge/history"
)

// record is the history, as it grows.
type record struct {
	mu      sync.Mutex
	history history.History
	deploys []cost
	wrong   []absence // mischief, of the whole site
}

// cost is what a deploy that was done took of Cloudflare.
type cost struct {
	version string
	calls   int
	// wrong is how many kinds of mischief there were while it was purged: then a
	// call that was made, and not written down, is made again.
	wrong int
}

// most is how many calls a deploy may take: two passes, once more for each mischief.
func (c cost) most() int { return 2 * (1 + c.wrong) }

// trouble notes mischief, until over is called.
func (r *record) trouble(why string) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := len(r.wrong)
	r.wrong = append(r.wrong, absence{from: time.Now(), why: why})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wrong[i].until = time.Now()
	}
}

// troubles counts the mischief that was not over before a time.
func (r *record) troubles(from time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.wrong {
		if a.until.IsZero() || a.until.After(from) {
			n++
		}
	}
	return n
}

// recovery is how long a fleet may need to be whole again after mischief: leases
// end, another node calls.
func recovery(lease time.Duration) time.Duration { return 3 * lease }

func (r *record) add(edit func(*history.History)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.history)
}

// purgeOften has pages purged until ctx is done, each time at another node.
func (r *record) purgeOften(ctx, until context.Context, s *site, seed uint64) error {
	dice := rand.New(rand.NewPCG(seed, 2))
	for gateway.Pause(until, time.Second+gateway.UpTo(dice, 4*time.Second)) {
		if err := r.purgeOnce(ctx, s, s.nodes[dice.IntN(nodes)], "25s"); err != nil {
			return err
		}
	}
	return nil
}

func (r *record) purgeOnce(ctx context.Context, s *site, n *node, wait string) error {
	p := history.Purge{Called: time.Now()}
	code, err := s.commands.Run(ctx, n.url(), "purge", "--tag", "pages", "--wait", wait)
	if err != nil {
		return err
	}
	if code == 0 {
		p.Acknowledged = time.Now()
	}
	r.add(func(h *history.History) { h.Purges = append(h.Purges, p) })
	return nil
}

// fleet is the replicas.
type fleet struct {
	site  *site
	count int
	alive []*replica
}

type replica struct {
	address, version string
	process          *process.Process
}

// start starts a replica and names it.
func (f *fleet) start(ctx context.Context, version string) error {
	f.count++
	p, address, err := gateway.Replica(ctx, f.site.binary, f.site.dir, fmt.Sprint("r", f.count), "--version", version)
	if err != nil {
		return err
	}
	f.alive = append(f.alive, &replica{address, version, p})
	return f.name()
}

func (f *fleet) name() error {
	var addresses []string
	for _, r := range f.alive {
		addresses = append(addresses, r.address)
	}
	return f.site.list(addresses)
}

// roll replaces every replica, one by one, as an orchestrator does that knows
// nothing of gateways: a new one is there for two seconds before an old one is
// taken off the list, and that one has six seconds to finish.
func (f *fleet) roll(ctx context.Context, to string) error {
	for range len(f.alive) {
		if err := f.start(ctx, to); err != nil {
			return err
		}
		gateway.Pause(ctx, 2*time.Second)
		old := f.alive[0]
		f.alive = f.alive[1:]
		if err := f.name(); err != nil {
			return err
		}
		gateway.Pause(ctx, 6*time.Second)
		if err := old.process.Stop(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) end() error {
	var errs []error
	for _, r := range f.alive {
		errs = append(errs, r.process.Stop())
	}
	return errors.Join(errs...)
}

// deployOften rolls out one version after the other until ctx is done, each
// time with CI waiting at another node.
func (r *record) deployOften(ctx, until context.Context, s *site, f *fleet, o options) error {
	dice := rand.New(rand.NewPCG(o.seed, 3))
	for i := 2; gateway.Pause(until, time.Second+gateway.UpTo(dice, 4*time.Second)); i++ {
		version := fmt.Sprint("v", i)
		if i%3 == 0 {
			version = fmt.Sprint("v", i-2) // a rollback
		}
		if err := r.deploy(ctx, s, f, s.nodes[dice.IntN(nodes)], version, o.lease); err != nil {
			return err
		}
	}
	return nil
}

// deploy rolls a version out while CI waits at a node.
func (r *record) deploy(ctx context.Context, s *site, f *fleet, n *node, version string, lease time.Duration) error {
	log.Printf("deploy of %s, CI waits at %s", version, n.name)
	calls := len(s.api.Calls())
	type outcome struct {
		code int
		err  error
		at   time.Time
	}
	r.add(func(h *history.History) {
		if last := len(h.Deploys) - 1; last >= 0 {
			h.Deploys[last].Until = time.Now()
		}
	})
	called := make(chan outcome, 1)
	go func() {
		code, err := s.commands.Run(ctx, n.url(), "deploy", "--version", version, "--timeout", "90s", "--wait", "2m")
		called <- outcome{code, err, time.Now()}
	}()
	rolled := f.roll(ctx, version)
	out := <-called
	if err := errors.Join(rolled, out.err); err != nil {
		return err
	}
	d := history.Deploy{Version: version}
	if out.code == 0 {
		d.Acknowledged = out.at
		made, from := 0, out.at
		for _, call := range s.api.Calls()[calls:] {
			if len(call.Items) > 0 && strings.HasPrefix(call.Items[0], "v-") {
				if made++; call.At.Before(from) {
					from = call.At
				}
			}
		}
		c := cost{version, made, r.troubles(from.Add(-recovery(lease)))}
		r.mu.Lock()
		r.deploys = append(r.deploys, c)
		r.mu.Unlock()
	}
	r.add(func(h *history.History) { h.Deploys = append(h.Deploys, d) })
	log.Printf("deploy of %s: exit %d", version, out.code)
	return nil
}
