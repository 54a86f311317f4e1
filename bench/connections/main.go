// Command connections holds a great many connections to gateways, idle ones and
// ones with a request under way, and writes what memory each takes. It is run
// in the folder bench: go run ./connections
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/edgegw/edge/bench/certificate"
	"github.com/edgegw/edge/bench/command"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// replicas is how many processes of the sample application are behind every
// gateway.
const replicas = 10

type options struct {
	out   string
	n     int
	rest  time.Duration
	think time.Duration
	only  string
}

func main() {
	log.SetFlags(log.Ltime)
	o := options{}
	flag.StringVar(&o.out, "out", "CONNECTIONS.md", "`file` to write; - for standard output")
	flag.IntVar(&o.n, "n", 10_000, "`number` of connections")
	flag.DurationVar(&o.rest, "rest", 5*time.Second, "how long nothing happens before memory is read")
	flag.DurationVar(&o.think, "think", 40*time.Second, "how long replicas hold requests; at most 1m")
	flag.StringVar(&o.only, "only", "", "only contestants whose name contains this")
	flag.Parse()
	command.Main(run, o)
}

func (o options) check() error {
	var errs []error
	if o.n < 1 {
		errs = append(errs, fmt.Errorf("-n %d: want 1 at least", o.n))
	}
	if o.rest < 0 {
		errs = append(errs, fmt.Errorf("-rest %s: want 0s or more", o.rest))
	}
	if o.think < time.Second || o.think > time.Minute {
		errs = append(errs, fmt.Errorf("-think %s: want 1s to 1m", o.think))
	}
	return errors.Join(errs...)
}

// run measures everything and writes the page.
func run(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	files, err := openFiles()
	if err != nil {
		return err
	}
	if files < o.n+100 {
		return fmt.Errorf("a process may open %d files: want %d for %d connections", files, o.n+100, o.n)
	}
	return command.Scratch("connections", func(dir string) error {
		s, err := newStand(ctx, o, files, dir)
		if err != nil {
			return err
		}
		err = s.measure(ctx)
		if err == nil {
			err = command.Write(o.out, s.page())
		}
		return errors.Join(err, s.close())
	})
}

// openFiles is how many files a process may have open here. What the soft limit
// leaves of the hard one every Go program takes by itself; nginx and HAProxy are
// told to.
func openFiles() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	// Only root may; where it may not, the hard limit stands.
	higher := syscall.Rlimit{Cur: max(limit.Max, 65536), Max: max(limit.Max, 65536)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil {
		return int(higher.Cur), nil
	}
	limit.Cur = limit.Max
	return int(limit.Cur), syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// stand is the replicas behind all gateways, and what was measured.
type stand struct {
	options
	dir         string
	files       int               // that a process may open
	binaries    map[string]string // by program
	versions    map[string]string
	certificate certificate.Certificate
	replicas    []*process.Process
	addresses   []string // of the replicas
	rows        []row
}

// newStand builds or finds everything and starts the replicas.
func newStand(ctx context.Context, o options, files int, dir string) (*stand, error) {
	s := &stand{options: o, dir: dir, files: files}
	var err error
	if s.binaries, s.versions, err = peers.BuildAll(ctx, dir, "edge", "caddy", "nginx", "haproxy"); err != nil {
		return nil, err
	}
	if s.certificate, err = certificate.New(); err != nil {
		return nil, err
	}
	sample := filepath.Join(dir, "sample")
	if err := copyProgram(s.binaries["edge"], sample); err != nil {
		return nil, err
	}
	for i := range replicas {
		p, address, err := gateway.Replica(ctx, sample, dir, fmt.Sprint("r", i+1))
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.replicas, s.addresses = append(s.replicas, p), append(s.addresses, address)
	}
	return s, nil
}

// copyProgram copies a program, so that its processes share no pages with those
// of the original.
func copyProgram(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o700)
}

func (s *stand) close() error {
	var errs []error
	for _, p := range s.replicas {
		errs = append(errs, p.Stop())
	}
	return errors.Join(errs...)
}

// serve runs a contestant, has work done with it, and ends it.
func (s *stand) serve(ctx context.Context, c contestant, secure bool, work func(server *process.Process, listen string) error) error {
	dir, err := os.MkdirTemp(s.dir, cmp.Or(c.program, "server")+"-")
	if err != nil {
		return err
	}
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return err
	}
	if err := s.certificate.Write(dir); err != nil {
		return err
	}
	settings := c.configure(setup{
		listen: addresses[0], dir: dir, replicas: s.addresses, secure: secure, most: s.n, root: os.Geteuid() == 0,
	})
	return gateway.Program{
		Name: c.name, Binary: s.binaries[c.program], Dir: dir, File: settings.file, Text: settings.text, Args: settings.args,
	}.Run(func(server *process.Process) error { return work(server, addresses[0]) })
}
