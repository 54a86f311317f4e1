// Command fleet has three gateways share purges through a real Redis, behind a
// stand-in of Cloudflare, while versions are deployed, pages purged, and
// gateways and Redis killed, stopped and emptied; and it decides whether every
// promise that a command made with its exit code was kept. It is run in the
// folder bench: go run ./fleet
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"path/filepath"
	"time"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/peers"
)

type options struct {
	out      string
	duration time.Duration
	replicas int
	visitors int
	seed     uint64
	lease    time.Duration
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "FLEET.md", "`file` to write; - for standard output")
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long there is chaos")
	flag.IntVar(&o.replicas, "replicas", 3, "`number` of replicas")
	flag.IntVar(&o.visitors, "visitors", 3, "`number` of visitors at each node, and at each data centre")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of what is random")
	flag.DurationVar(&o.lease, "lease", 5*time.Second, "lease of the members of the fleet")
	flag.Parse()
	command.Main(run, o)
}

func (o options) check() error {
	var errs []error
	if o.duration < 30*time.Second {
		errs = append(errs, fmt.Errorf("-duration %s: want 30s at least", o.duration))
	}
	if o.replicas < 1 || o.replicas > 20 {
		errs = append(errs, fmt.Errorf("-replicas %d: want 1 to 20", o.replicas))
	}
	if o.visitors < 1 || o.visitors > 100 {
		errs = append(errs, fmt.Errorf("-visitors %d: want 1 to 100", o.visitors))
	}
	if o.lease < time.Second {
		errs = append(errs, fmt.Errorf("-lease %s: want 1s at least", o.lease))
	}
	return errors.Join(errs...)
}

// run plays the soak and writes the page. A broken promise is an error, though
// the page is written.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	redis, err := peers.Find("redis-server", "redis-server")
	if err != nil {
		return err
	}
	return command.Scratch("fleet", func(dir string) error {
		binary, version, err := peers.Build(ctx, "edge", dir)
		if err != nil {
			return err
		}
		r, err := play(ctx, o, binary, redis, filepath.Join(dir, "stage"))
		if err != nil {
			return err
		}
		return errors.Join(command.Write(o.out, page(o, version, r)), r.verdict())
	})
}
