// Command shared measures what a hit from the Redis that nodes have in common
// costs, beside a hit from memory and an answer of a replica. It is run in the
// folder bench: go run ./shared
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"

	"github.com/edgegw/edge/bench/command"
)

type options struct {
	out      string
	rounds   int
	requests int
	clients  int
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "SHARED.md", "`file` to write; - for standard output")
	flag.IntVar(&o.rounds, "rounds", 10, "how often each way is visited, in turn")
	flag.IntVar(&o.requests, "requests", 1000, "requests of a visit")
	flag.IntVar(&o.clients, "clients", 8, "requests at a time")
	flag.Parse()
	command.Main(run, o)
}

func (o options) check() error {
	var errs []error
	for name, n := range map[string]int{"rounds": o.rounds, "requests": o.requests, "clients": o.clients} {
		if n < 1 || n > 100_000 {
			errs = append(errs, fmt.Errorf("-%s %d: want 1 to 100000", name, n))
		}
	}
	return errors.Join(errs...)
}

// run measures and writes the page.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	return command.Scratch("shared", func(dir string) (err error) {
		s, err := start(ctx, dir)
		defer func() { err = errors.Join(err, s.end()) }()
		if err != nil {
			return err
		}
		rows, err := s.measure(ctx, o)
		if err != nil {
			return err
		}
		return command.Write(o.out, page(o, s.version, rows))
	})
}
