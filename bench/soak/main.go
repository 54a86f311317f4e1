// Command soak asks a gateway for a great many URLs, over sockets, for as long
// as is wanted, watches the memory that its process has, and writes down how
// that compares with the cap on its cache. It is run in the folder bench:
// go run ./soak
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// most is what a process may have, in percent of the cache's cap.
const most = 115

type options struct {
	out      string
	duration time.Duration
	urls     int
	cap      int // MiB
	disk     int // MiB; 0 for none
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "SOAK.md", "`file` to write; - for standard output")
	flag.DurationVar(&o.duration, "duration", 30*time.Minute, "over how long the URLs are asked for")
	flag.IntVar(&o.urls, "urls", 1_000_000, "`number` of distinct URLs")
	flag.IntVar(&o.cap, "cap", 512, "cap on the cache, in `MiB`")
	flag.IntVar(&o.disk, "disk", 0, "size of the cache's disk, in `MiB`; 0 for none")
	flag.Parse()
	command.Main(run, o)
}

func (o options) check() error {
	var errs []error
	if o.duration < 10*time.Second {
		errs = append(errs, fmt.Errorf("-duration %s: want 10s at least", o.duration))
	}
	if o.urls < 1000 {
		errs = append(errs, fmt.Errorf("-urls %d: want 1000 at least", o.urls))
	}
	if o.cap < 1 {
		errs = append(errs, fmt.Errorf("-cap %d: want 1 at least", o.cap))
	}
	if o.disk < 0 {
		errs = append(errs, fmt.Errorf("-disk %d: want 0 for none, or more", o.disk))
	}
	return errors.Join(errs...)
}

// run soaks and writes the page. That the process took too much is an error,
// though the page is written.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	return command.Scratch("soak", func(dir string) error {
		binary, version, err := peers.Build(ctx, "edge", dir)
		if err != nil {
			return err
		}
		s, err := soak(ctx, o, binary, dir)
		if err != nil {
			return err
		}
		return errors.Join(command.Write(o.out, page(o, version, s)), s.verdict(o))
	})
}

// soak starts the gateway with an origin behind it, asks, and ends both.
func soak(ctx context.Context, o options, binary, dir string) (s series, err error) {
	behind, err := gateway.Serve(http.HandlerFunc(answer))
	if err != nil {
		return series{}, err
	}
	defer func() { err = errors.Join(err, behind.Close()) }()
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return series{}, err
	}
	cache := fmt.Sprintf("memory %dMiB", o.cap)
	if o.disk > 0 {
		cache += fmt.Sprintf("\n\t\t\tdisk %dMiB", o.disk)
	}
	c := newClient(addresses[0])
	defer c.close()
	err = gateway.Cache(binary, dir, addresses[0], behind.Address, token, cache).Run(func(server *process.Process) error {
		if err := c.ready(ctx, server.Exited()); err != nil {
			return err
		}
		s, err = play(ctx, o, c, server)
		return err
	})
	return s, err
}
