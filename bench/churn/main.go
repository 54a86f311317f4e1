// Command churn asks a gateway for everything that visitors ask for, while the
// replicas behind it come, go and are killed, and writes down what was lost and
// why. It is run in the folder bench: go run ./churn
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
	out          string
	most         int
	replacements int
	atOnce       int
	visitors     int
	streams      int // of each sort
	seed         uint64
	drain        time.Duration
	kills        time.Duration // mean time between two
	endurance
}

// endurance is how a long run goes on. Without a duration it is none, and only
// replicas come and go.
type endurance struct {
	duration time.Duration
	crowd    int
	rest     time.Duration // between two deploys
}

// leastLong is how long a run must be for everything to happen in it.
const leastLong = 3 * time.Minute

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "CHURN.md", "`file` to write; - for standard output")
	flag.IntVar(&o.most, "most", 10, "`number` of replicas to scale up to, from one")
	flag.IntVar(&o.replacements, "replacements", 100, "`number` of rolling replacements at that size")
	flag.IntVar(&o.atOnce, "at-once", 2, "`number` of replacements under way at a time")
	flag.IntVar(&o.visitors, "visitors", 60, "`number` of visitors that ask for one thing after the other")
	flag.IntVar(&o.streams, "streams", 20, "`number` of visitors with an event stream, and of those with a WebSocket")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of what is random")
	flag.DurationVar(&o.drain, "drain", 6*time.Second, "drain of the pool")
	flag.DurationVar(&o.kills, "kills", 4*time.Second, "mean time between two kill -9")
	flag.DurationVar(&o.duration, "duration", 0, "go on for so long, with a crowd, deploys, purges, reloads, upgrades and a Redis that fails; without, there are -replacements and nothing else")
	flag.IntVar(&o.crowd, "crowd", 10000, "`number` of visitors with a connection of their own each, over which they ask for a page a minute; with -duration")
	flag.DurationVar(&o.rest, "rest", 2*time.Minute, "time between two deploys; with -duration")
	flag.Parse()
	command.Main(run, o)
}

func (o options) check() error {
	var errs []error
	for _, number := range []struct {
		name       string
		value, min int
	}{
		{"most", o.most, 3}, {"replacements", o.replacements, 0}, {"at-once", o.atOnce, 1}, {"visitors", o.visitors, 1}, {"streams", o.streams, 1},
	} {
		if number.value < number.min {
			errs = append(errs, fmt.Errorf("-%s %d: want %d at least", number.name, number.value, number.min))
		}
	}
	if o.drain < time.Second {
		errs = append(errs, fmt.Errorf("-drain %s: want 1s at least", o.drain))
	}
	if o.kills < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("-kills %s: want 100ms at least", o.kills))
	}
	if o.duration != 0 && o.duration < leastLong {
		errs = append(errs, fmt.Errorf("-duration %s: want %s at least", o.duration, leastLong))
	}
	if o.duration != 0 && (o.crowd < 1 || o.rest < time.Second) {
		errs = append(errs, fmt.Errorf("-crowd %d, -rest %s: want 1 and 1s at least", o.crowd, o.rest))
	}
	return errors.Join(errs...)
}

// long reports a run that goes on for a time.
func (o options) long() bool { return o.duration > 0 }

// fleetLease is the default, or in a short run so short that purges are acknowledged
// between two losses of what Redis knew: each is waited for that long.
func (o options) fleetLease() time.Duration { return min(10*time.Second, o.duration/25) }

// run plays the churn and writes the page. That something was lost which could
// have been saved is an error, though the page is written.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	return command.Scratch("churn", func(dir string) error {
		binary, version, err := peers.Build(ctx, "edge", dir)
		if err != nil {
			return err
		}
		r, err := play(ctx, o, binary, filepath.Join(dir, "stage"))
		if err != nil {
			return err
		}
		return errors.Join(command.Write(o.out, page(o, version, r)), r.verdict())
	})
}
