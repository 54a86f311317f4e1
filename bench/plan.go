package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/workloads"
)

// plan is what options come to, checked.
type plan struct {
	options

	workloads []workloads.Workload
	peers     []peers.Peer
	command   string
}

// newPlan reports every mistake at once.
func newPlan(o options, args []string, allowed []int) (plan, error) {
	var errs []error
	if len(args) > 0 {
		errs = append(errs, fmt.Errorf("arguments %q: want flags only", args))
	}
	for _, n := range []struct {
		name               string
		value, least, most int
	}{{"rounds", o.rounds, 1, 100}, {"seconds", o.seconds, 1, 600}, {"warmup", o.warmup, 0, 600}} {
		if n.value < n.least || n.value > n.most {
			errs = append(errs, fmt.Errorf("-%s %d: want %d to %d", n.name, n.value, n.least, n.most))
		}
	}
	if o.out == "" {
		errs = append(errs, errors.New("-out: want a file, or - for standard output"))
	}
	p := plan{options: o}
	var err error
	p.workloads, err = choose("-workloads", o.workloads, workloads.All(), func(w workloads.Workload) string { return w.Name })
	errs = append(errs, err)
	p.peers, err = choose("-peers", o.peers, peers.All(), func(p peers.Peer) string { return p.Name })
	errs = append(errs, err)
	if o.peers == "" {
		p.peers = slices.DeleteFunc(p.peers, func(p peers.Peer) bool { return p.Apart })
	}
	errs = append(errs, p.chooseWays())
	p.command = p.commandLine() // before -1 gives way to this machine's numbers
	errs = append(errs, p.chooseCPUs(allowed))
	return p, errors.Join(errs...)
}

// chooseWays leaves those that are asked for.
func (p *plan) chooseWays() error {
	wanted, err := regexp.Compile(p.ways)
	if err != nil {
		return fmt.Errorf("-ways: %w", err)
	}
	left := 0
	for i := range p.peers {
		ways := slices.Clone(p.peers[i].Ways)
		p.peers[i].Ways = slices.DeleteFunc(ways, func(w peers.Way) bool { return !wanted.MatchString(w.Name) })
		left += len(p.peers[i].Ways)
	}
	if left == 0 && len(p.peers) > 0 {
		return fmt.Errorf("-ways %q: no way of these peers has such a name", p.ways)
	}
	return nil
}

// choose picks from all by names separated by commas, in the order of all.
func choose[T any](flag, names string, all []T, name func(T) string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	var known []string
	for _, item := range all {
		known = append(known, name(item))
	}
	wanted := strings.Split(names, ",")
	var errs []error
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			errs = append(errs, fmt.Errorf("%s %q: want some of %s", flag, w, strings.Join(known, ",")))
		}
	}
	return slices.DeleteFunc(all, func(item T) bool { return !slices.Contains(wanted, name(item)) }), errors.Join(errs...)
}

// chooseCPUs replaces -1 and sees to it that server and client do not share.
func (p *plan) chooseCPUs(allowed []int) error {
	if p.serverCPU < 0 && len(allowed) > 0 {
		p.serverCPU = allowed[0]
	}
	if p.clientCPU < 0 && len(allowed) > 1 {
		p.clientCPU = allowed[1]
	}
	var errs []error
	for _, c := range []struct {
		flag string
		cpu  int
	}{{"-server-cpu", p.serverCPU}, {"-client-cpu", p.clientCPU}} {
		if !slices.Contains(allowed, c.cpu) {
			errs = append(errs, fmt.Errorf("%s %d: want one of the CPUs that may be used, %v, of which there must be two", c.flag, c.cpu, allowed))
		}
	}
	if p.serverCPU == p.clientCPU {
		errs = append(errs, fmt.Errorf("-server-cpu and -client-cpu are both %d: want two", p.serverCPU))
	}
	return errors.Join(errs...)
}

// commandLine makes the same run again, whatever the defaults become.
func (p plan) commandLine() string {
	line := fmt.Sprintf("go run . -rounds %d -seconds %d -warmup %d", p.rounds, p.seconds, p.warmup)
	if p.serverCPU >= 0 {
		line += fmt.Sprintf(" -server-cpu %d", p.serverCPU)
	}
	if p.clientCPU >= 0 {
		line += fmt.Sprintf(" -client-cpu %d", p.clientCPU)
	}
	var peerNames, workloadNames []string
	for _, peer := range p.peers {
		peerNames = append(peerNames, peer.Name)
	}
	for _, w := range p.workloads {
		workloadNames = append(workloadNames, w.Name)
	}
	line += " -peers " + strings.Join(peerNames, ",")
	if p.ways != "" {
		line += fmt.Sprintf(" -ways '%s'", p.ways)
	}
	return line + " -workloads " + strings.Join(workloadNames, ",")
}
