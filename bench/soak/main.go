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
	"os"
	"path/filepath"
	"strings"
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
	behind, err := startOrigin()
	if err != nil {
		return series{}, err
	}
	defer func() { err = errors.Join(err, behind.close()) }()
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return series{}, err
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(caddyfile(o, dir, addresses[0], behind.address)), 0o600); err != nil {
		return series{}, err
	}
	server, err := process.Start(process.Command{
		Name: "edge", Path: binary, Dir: dir, CPU: process.AnyCPU,
		Args: []string{"run", "--adapter", "caddyfile", "--config", config}, Env: peers.Environment(dir),
	})
	if err != nil {
		return series{}, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	c := newClient(addresses[0])
	defer c.close()
	if err := c.ready(ctx, server.Exited()); err != nil {
		return series{}, err
	}
	return play(ctx, o, c, server)
}

// caddyfile is what an operator would write; only the cap is chosen.
func caddyfile(o options, dir, listen, origin string) string {
	disk := ""
	if o.disk > 0 {
		disk = fmt.Sprintf("\n\t\t\tdisk %dMiB", o.disk)
	}
	return strings.NewReplacer(
		"DIR", filepath.Join(dir, "state"), "CAP", fmt.Sprint(o.cap), "DISK", disk,
		"ORIGIN", origin, "TOKEN", token, "LISTEN", listen,
	).Replace(`{
	admin off
	persist_config off
	log {
		level ERROR
	}
	edge {
		state_dir DIR
		cache {
			memory CAPMiBDISK
		}
		pool app {
			discover static ORIGIN
		}
		control {
			token TOKEN
		}
		stop {
			announce 1ms
		}
	}
}

http://LISTEN {
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
}
`)
}
