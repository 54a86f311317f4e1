// Command storm has a thousand clients ask for one key at once, of edge and its peers,
// and starts each of them anew some times. It writes how often the origin was asked,
// who got another's answer, and who waited how long. It is run in the folder bench:
// go run ./storm
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
	"time"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/bench/workloads"
)

type options struct {
	out             string
	clients, rounds int
	starts          int
	takes           time.Duration
	only            string
}

func (o options) check() error {
	if o.clients < 2 || o.clients > 5000 || o.rounds < 1 || o.starts < 1 || o.takes <= 0 {
		return fmt.Errorf("-clients %d -rounds %d -starts %d -takes %s: want 2 to 5000 clients, and the others above 0", o.clients, o.rounds, o.starts, o.takes)
	}
	return nil
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "STORM.md", "`file` to write; - for standard output")
	flag.IntVar(&o.clients, "clients", 1000, "how many ask at once, each on a connection of its own")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each storm comes, each time over another key")
	flag.IntVar(&o.starts, "starts", 11, "how often each contestant is started")
	flag.DurationVar(&o.takes, "takes", 200*time.Millisecond, "how long the origin takes for an answer")
	flag.StringVar(&o.only, "only", "", "only contestants whose name contains this")
	flag.Parse()
	command.Main(run, o)
}

// run plays everything and writes the page. That edge failed is an error, though the
// page is written.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	return command.Scratch("storm", func(dir string) error {
		var rows []row
		versions := make(map[string]string)
		for _, peer := range peers.All() {
			for _, way := range peer.Ways {
				name := peer.Name + " " + way.Name
				if !takesPart(peer, way) || !strings.Contains(name, o.only) {
					continue
				}
				binary, version, err := peers.Build(ctx, peer.Name, dir)
				if err != nil {
					return err
				}
				versions[peer.Name] = version
				log.Print(name)
				r, err := playOn(ctx, o, contestant{name, binary, way}, filepath.Join(dir, strings.ReplaceAll(name, " ", "-")))
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				rows = append(rows, r)
			}
		}
		return errors.Join(command.Write(o.out, page(o, versions, rows)), edgeFailed(rows))
	})
}

// takesPart: a cache in front of an origin, without TLS. What answers by itself has no
// storm.
func takesPart(peer peers.Peer, way peers.Way) bool {
	return !peer.Apart && way.Kind == workloads.Hit && (way.Name == "cache" || way.Name == "hits")
}

// contestant is one way to run a cache.
type contestant struct {
	name, binary string
	way          peers.Way
}

// run starts it in a folder, in front of an origin, has work done with it, and ends it.
func (c contestant) run(dir, origin string, work func(server *process.Process, base string) error) error {
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config := c.way.Configure(peers.Setup{Listen: addresses[0], Origin: origin, Dir: dir, Root: os.Geteuid() == 0})
	return gateway.Program{
		Name: c.name, Binary: c.binary, Dir: dir, File: config.File, Text: unlimited(config.Text), Args: config.Args, Env: config.Env, Pinned: true,
	}.Run(func(server *process.Process) error { return work(server, "http://"+addresses[0]) })
}

// unlimited lifts the limit of requests that a replica gets at a time, of which edge
// alone has one: a storm would show nothing else.
func unlimited(caddyfile string) string {
	return strings.Replace(caddyfile, "\t\tpool app {\n", "\t\tpool app {\n\t\t\tqueue {\n\t\t\t\tmax_inflight none\n\t\t\t}\n", 1)
}

// playOn has all storms come over a contestant, and then starts it some times.
func playOn(ctx context.Context, o options, c contestant, dir string) (r row, err error) {
	behind := &origin{count: make(map[string]int)}
	app, err := gateway.Serve(behind)
	if err != nil {
		return row{}, err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	r = row{name: c.name}
	err = c.run(filepath.Join(dir, "storm"), app.Address, func(server *process.Process, base string) error {
		r.storms, err = storms(ctx, o, server, base, behind)
		return err
	})
	if err != nil {
		return row{}, err
	}
	for i := range o.starts {
		var s started
		began := time.Now()
		err := c.run(filepath.Join(dir, fmt.Sprint("start-", i)), app.Address, func(_ *process.Process, base string) error {
			s, err = startUp(ctx, began, base, behind, fmt.Sprint("/quick/", i))
			return err
		})
		if err != nil {
			return row{}, fmt.Errorf("start: %w", err)
		}
		r.starts = append(r.starts, s)
	}
	return r, ctx.Err()
}

func storms(ctx context.Context, o options, server *process.Process, base string, behind *origin) (all []storm, err error) {
	crowd := newCrowd(base, o.clients)
	defer crowd.leave()
	if err := gateway.Ready(ctx, server.Exited(), func(ctx context.Context) error { return crowd.ask(ctx, 0, "/quick/ready").err }); err != nil {
		return nil, err
	}
	if err := crowd.connect(ctx, o.takes); err != nil {
		return nil, err
	}
	for _, k := range kinds {
		s := storm{kind: k}
		for round := range o.rounds {
			pages := k.pages(round, o.clients, o.takes)
			for range k.times {
				before := behind.fetches(pages...)
				answers := crowd.all(ctx, func(client int) string { return pages[client%len(pages)] })
				s.add(answers, behind.fetches(pages...)-before)
			}
		}
		all = append(all, s)
	}
	return all, ctx.Err()
}
