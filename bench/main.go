// Command bench measures edge and its peers side by side, in turn, on this
// machine, and writes what it found as a page of Markdown. It is run in its own
// folder: go run .
package main

import (
	"context"
	"errors"
	"flag"
	"log"

	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/process"
)

// options of a run, as the command line gives them.
type options struct {
	rounds, seconds, warmup int
	peers, workloads, ways  string
	out                     string
	serverCPU, clientCPU    int
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 3, "how often every peer is visited")
	flag.IntVar(&o.seconds, "seconds", 2, "seconds of a sample")
	flag.IntVar(&o.warmup, "warmup", 1, "seconds of load before a sample")
	flag.StringVar(&o.peers, "peers", "", "`names` of the peers, separated by commas; empty for all")
	flag.StringVar(&o.workloads, "workloads", "", "`names` of the workloads, separated by commas; empty for all")
	flag.StringVar(&o.ways, "ways", "", "only the peers' ways whose names match this regular `expression`; empty for all")
	flag.StringVar(&o.out, "out", "RESULTS.md", "`file` to write; - for standard output")
	flag.IntVar(&o.serverCPU, "server-cpu", -1, "`number` of the CPU for the peer; -1 for the first that may be used")
	flag.IntVar(&o.clientCPU, "client-cpu", -1, "`number` of the CPU for load generator and origin; -1 for the second that may be used")
	flag.Parse()
	command.Main(run, o)
}

func run(ctx context.Context, o options) (err error) {
	allowed, err := process.Allowed()
	if err != nil {
		return err
	}
	p, err := newPlan(o, flag.Args(), allowed)
	if err != nil {
		return err
	}
	s, err := newStand(ctx, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.measure(ctx); err != nil {
		return err
	}
	return write(p.out, s.document(machineFacts(ctx)))
}
