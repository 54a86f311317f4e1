// Command race plays purges against fetches that are under way, over HTTP, on
// edge and its peers, and writes who serves what was purged. It is run in the
// folder bench: go run ./race
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

type options struct {
	out       string
	tries     int
	schedules int
	seed      uint64
	only      string
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "RACE.md", "`file` to write; - for standard output")
	flag.IntVar(&o.tries, "tries", 5, "how often each scenario is played")
	flag.IntVar(&o.schedules, "schedules", 200, "how many random schedules are played")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the first schedule; the others follow")
	flag.StringVar(&o.only, "only", "", "only contestants whose name contains this")
	flag.Parse()
	command.Main(run, o)
}

// run plays everything and writes the page. That edge lost is an error, though
// the page is written.
func run(ctx context.Context, o options) error {
	return command.Scratch("race", func(dir string) error {
		binaries, versions, err := build(ctx, dir, o)
		if err != nil {
			return err
		}
		var rows []row
		for i, c := range contestants {
			if !strings.Contains(c.name, o.only) {
				continue
			}
			log.Print(c.name)
			r, err := playOn(ctx, o, c, binaries[c.program], filepath.Join(dir, fmt.Sprintf("%s-%d", c.program, i)))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			rows = append(rows, r)
		}
		return errors.Join(command.Write(o.out, page(o, versions, rows)), edgeLost(rows))
	})
}

// build makes or finds every program that is needed.
func build(ctx context.Context, dir string, o options) (binaries, versions map[string]string, err error) {
	binaries, versions = make(map[string]string), make(map[string]string)
	all := programs()
	for _, c := range contestants {
		if binaries[c.program] != "" || !strings.Contains(c.name, o.only) {
			continue
		}
		p := all[c.program]
		if binaries[c.program], err = p.build(ctx, dir); err != nil {
			return nil, nil, err
		}
		if versions[c.program], err = p.version(ctx, binaries[c.program]); err != nil {
			return nil, nil, err
		}
	}
	return binaries, versions, nil
}

// playOn starts the contestant with an origin of its own, plays, and ends both.
func playOn(ctx context.Context, o options, c contestant, binary, dir string) (r row, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return row{}, err
	}
	behind := newOrigin()
	app, err := gateway.Serve(behind)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return row{}, err
	}
	config := c.configure(peers.Setup{Listen: addresses[0], Origin: app.Address, Dir: dir, Root: os.Geteuid() == 0})
	visitor := newClient(addresses[0], dir)
	defer visitor.close()
	err = gateway.Program{
		Name: c.name, Binary: binary, Dir: dir, File: config.File, Text: config.Text, Args: config.Args, Env: config.Env, Pinned: true,
	}.Run(func(server *process.Process) error {
		if err := visitor.ready(ctx, server.Exited()); err != nil {
			return err
		}
		r, err = play(ctx, o, &stage{contestant: c, client: visitor, origin: behind})
		return err
	})
	return r, err
}

// play plays every scenario some times, each on a page of its own, and then the
// random schedules.
func play(ctx context.Context, o options, s *stage) (row, error) {
	r := row{name: s.contestant.name}
	for i, scenario := range scenarios {
		s.begin(scenario.control, scenario.plain)
		c, err := s.tryAll(ctx, scenario, i, o.tries)
		if err != nil {
			return row{}, fmt.Errorf("%s: %w", scenario.name, err)
		}
		r.cells = append(r.cells, c)
	}
	s.begin("public, max-age=60", false)
	for n := range o.schedules {
		before := s.ledger.total().stale
		if err := s.schedule(ctx, o.seed+uint64(n)); err != nil {
			return row{}, fmt.Errorf("schedule %d: %w", n, err)
		}
		if s.ledger.total().stale > before {
			r.lost++
		}
	}
	r.schedules, r.tally = o.schedules, s.ledger.total()
	if o.schedules > 0 && r.tally.hits == 0 {
		return row{}, errors.New("no hit: it does not cache, so it proves nothing")
	}
	return r, ctx.Err()
}

// tryAll plays a scenario some times, all at once: each has a page of its own.
func (s *stage) tryAll(ctx context.Context, played scenario, number, tries int) (cell, error) {
	type result struct {
		v   verdict
		err error
	}
	results := make(chan result, tries)
	for try := range tries {
		go func() {
			v, err := played.play(ctx, s, fmt.Sprintf("/page/%d/%d", number, try))
			results <- result{v, err}
		}()
	}
	c := cell{tries: tries}
	var errs []error
	for range tries {
		one := <-results
		c.add(one.v)
		errs = append(errs, one.err)
	}
	return c, errors.Join(errs...)
}

// begin gives the stage a fresh ledger. Pages are never reused, so what is
// cached from before is of no matter.
func (s *stage) begin(control string, plain bool) {
	s.ledger = newLedger()
	s.origin.reset(s.ledger, control, plain)
}
