package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edgegw/edge/bench/certificate"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/bench/report"
	"github.com/edgegw/edge/bench/workloads"
)

// stand is all that runs during a measurement. Whoever makes one closes it.
type stand struct {
	plan plan
	// disk holds what was built; memory, on a file system in memory if there
	// is one, a folder for each process.
	disk, memory string
	binaries     map[string]string // by peer, and what is ours
	versions     []report.Fact
	origin       *process.Process
	originURL    string
	certificate  certificate.Certificate
	rows         []*row
}

// row is one way of one peer: a process, and a row of each table that it takes
// part in.
type row struct {
	peer    peers.Peer
	way     peers.Way
	server  *process.Process
	address string
	samples map[string][]measure.Sample // by workload, one a round
}

func (r *row) name() string { return r.peer.Name + " " + r.way.Name }

// stop ends its process, if it has one.
func (r *row) stop() error {
	if r.server == nil {
		return nil
	}
	return r.server.Stop()
}

func (r *row) url() string {
	if r.way.Kind.Secure() {
		return "https://" + r.address
	}
	return "http://" + r.address
}

// newStand builds everything, and starts the origin.
func newStand(ctx context.Context, p plan) (*stand, error) {
	s := &stand{plan: p}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stand) start(ctx context.Context) error {
	if _, err := os.Stat("peers/stockcaddy"); err != nil {
		return fmt.Errorf("run it in the folder bench: %w", err)
	}
	for program, debian := range map[string]string{"wrk": "wrk", "h2load": "nghttp2-client"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: run ../scripts/install-debian.sh %s", err, debian)
		}
	}
	if err := s.makeFolders(); err != nil {
		return err
	}
	var err error
	if s.certificate, err = certificate.New(); err != nil {
		return err
	}
	client = newClient(s.certificate.Trusted)
	if s.binaries, err = s.build(ctx); err != nil {
		return err
	}
	for _, peer := range s.plan.peers {
		for _, way := range peer.Ways {
			if takesPart(way, s.plan.workloads) {
				s.rows = append(s.rows, &row{peer: peer, way: way, samples: make(map[string][]measure.Sample)})
			}
		}
	}
	addresses, err := gateway.Addresses(len(s.rows) + 1)
	if err != nil {
		return err
	}
	if err := s.startOrigin(s.binaries["origin"], addresses[0]); err != nil {
		return err
	}
	for i, r := range s.rows {
		r.address = addresses[i+1]
	}
	return nil
}

// renew has every peer in a new process, which knows nothing of the one before.
func (s *stand) renew() error {
	for _, r := range s.rows {
		if err := errors.Join(r.stop(), os.RemoveAll(s.folder(r))); err != nil {
			return err
		}
		if err := s.startRow(r); err != nil {
			return err
		}
	}
	return nil
}

// folder is where a row's process keeps what it writes.
func (s *stand) folder(r *row) string {
	return filepath.Join(s.memory, strings.ReplaceAll(r.name(), " ", "-"))
}

func takesPart(way peers.Way, all []workloads.Workload) bool {
	return slices.ContainsFunc(all, func(w workloads.Workload) bool { return w.Kind == way.Kind })
}

func (s *stand) makeFolders() error {
	var err error
	if s.disk, err = os.MkdirTemp("", "edge-bench-"); err != nil {
		return err
	}
	// What is built stays on disk: /dev/shm may be small, or forbid programs.
	if s.memory, err = os.MkdirTemp("/dev/shm", "edge-bench-"); err != nil {
		s.memory, err = os.MkdirTemp("", "edge-bench-")
	}
	return err
}

// build makes the origin and every peer, and notes their versions.
func (s *stand) build(ctx context.Context) (map[string]string, error) {
	binaries := make(map[string]string)
	for _, own := range []string{"origin", "h3load"} {
		binaries[own] = filepath.Join(s.disk, own)
		if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binaries[own], "./"+own).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", own, err, out)
		}
	}
	for _, peer := range s.plan.peers {
		log.Printf("build %s", peer.Name)
		binary, err := peer.Build(ctx, s.disk)
		if err != nil {
			return nil, err
		}
		version, err := peer.Version(ctx, binary)
		if err != nil {
			return nil, err
		}
		binaries[peer.Name] = binary
		s.versions = append(s.versions, report.Fact{Name: peer.Name, Value: version})
	}
	return binaries, nil
}

func (s *stand) startOrigin(binary, address string) error {
	var sizes []string
	for _, size := range s.sizes() {
		sizes = append(sizes, strconv.Itoa(size))
	}
	dir := filepath.Join(s.memory, "origin")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	var err error
	s.origin, err = process.Start(process.Command{
		Name: "origin", Path: binary, Dir: dir, CPU: s.plan.clientCPU,
		// No object may go stale before the longest of runs has ended.
		Args: []string{"-listen", address, "-sizes", strings.Join(sizes, ","), "-cache-control", "public, max-age=31536000"},
		Env:  peers.Environment(dir, "GOMAXPROCS=1"),
	})
	s.originURL = "http://" + address
	return err
}

func (s *stand) startRow(r *row) error {
	dir := s.folder(r)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := s.certificate.Write(dir); err != nil {
		return err
	}
	c := r.way.Configure(peers.Setup{
		Listen: r.address, Origin: strings.TrimPrefix(s.originURL, "http://"), Dir: dir, Sizes: s.sizes(), Root: os.Geteuid() == 0,
	})
	if err := os.WriteFile(filepath.Join(dir, c.File), []byte(c.Text), 0o600); err != nil {
		return err
	}
	var err error
	r.server, err = process.Start(process.Command{
		Name: r.name(), Path: s.binaries[r.peer.Name], Dir: dir, CPU: s.plan.serverCPU,
		Args: c.Args, Env: peers.Environment(dir, c.Env...),
	})
	return err
}

// sizes of all objects that any workload of the run asks for.
func (s *stand) sizes() []int {
	var all []int
	for _, w := range s.plan.workloads {
		all = append(all, w.Sizes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// close ends every process that was started and removes the folders. It
// returns what did not end as it should.
func (s *stand) close() error {
	var errs []error
	for _, r := range s.rows {
		errs = append(errs, r.stop())
	}
	if s.origin != nil {
		errs = append(errs, s.origin.Stop())
	}
	for _, dir := range []string{s.disk, s.memory} {
		if dir != "" {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}
