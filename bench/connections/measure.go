package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/process"
)

const (
	path = "/contacts/1"
	// warmth is how many connections come and go first, so that what a server
	// makes once is not counted.
	warmth = 200
	// step is how many requests come at a time that are then under way: more at
	// once would show how a machine without a free processor dials.
	step = 500
)

// situation is what connections do while memory is read.
type situation string

const (
	idle       situation = "idle, HTTP/1.1"
	idleTLS    situation = "idle, HTTP/1.1 over TLS 1.3"
	underWay   situation = "a request under way in each"
	spareFiles           = 100 // of a process besides connections
)

var situations = []situation{idle, idleTLS, underWay}

// row is one contestant in one situation.
type row struct {
	contestant contestant
	situation  situation
	n          int
	before     int64 // bytes, without connections
	held       int64 // with them
	after      int64 // once each had another answer
}

func (r row) each() float64 { return float64(r.held-r.before) / float64(r.n) }

// measure puts every contestant into every situation.
func (s *stand) measure(ctx context.Context) error {
	for _, situation := range situations {
		for _, c := range contestants {
			if !strings.Contains(c.name, s.only) {
				continue
			}
			r := row{contestant: c, situation: situation, n: s.n}
			if situation == underWay {
				// Each takes a file on either side.
				r.n = min(s.n, (s.files-spareFiles)/2)
			}
			err := s.serve(ctx, c, situation == idleTLS, func(server *process.Process, listen string) error {
				return s.hold(ctx, server, listen, &r)
			})
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, situation, err)
			}
			log.Printf("%s, %s: %.1f KiB", c.name, situation, r.each()/1024)
			s.rows = append(s.rows, r)
		}
	}
	return nil
}

// hold opens connections and reads the server's memory before and after.
func (s *stand) hold(ctx context.Context, server *process.Process, listen string, r *row) (err error) {
	held := &crowd{address: listen}
	if r.situation == idleTLS {
		held.secure = s.certificate.Trusted
	}
	defer held.leave()
	if err := warmUp(ctx, server, held); err != nil {
		return err
	}
	memory := func() (n int64) {
		if err == nil && !gateway.Pause(ctx, s.rest) {
			err = ctx.Err()
		}
		if err == nil {
			n, err = measure.Procfs{FS: os.DirFS("/proc")}.TreeMemory(server.PID())
		}
		return n
	}
	r.before = memory()
	if err != nil {
		return err
	}
	if err := held.come(ctx, r.n); err != nil {
		return err
	}
	if r.situation == underWay {
		return s.whileUnderWay(ctx, held, r, memory)
	}
	if err := held.ask(ctx, path); err != nil {
		return err
	}
	r.held = memory()
	if err != nil {
		return err
	}
	if err := held.ask(ctx, path); err != nil {
		return fmt.Errorf("asked again: %w", err)
	}
	r.after = memory()
	return err
}

// warmUp waits until the server answers and has it serve some connections.
func warmUp(ctx context.Context, server *process.Process, c *crowd) error {
	first := &crowd{address: c.address, secure: c.secure}
	defer first.leave()
	err := gateway.Ready(ctx, server.Exited(), func(ctx context.Context) error {
		first.leave()
		if err := first.come(ctx, 1); err != nil {
			return err
		}
		return first.ask(ctx, path)
	})
	if err != nil {
		return err
	}
	first.leave()
	if err := first.come(ctx, warmth); err != nil {
		return err
	}
	return errors.Join(first.ask(ctx, path), first.ask(ctx, "/api/contacts?q=nobody"))
}

// whileUnderWay reads memory while every connection waits for its answer, and
// the replicas hold all requests.
func (s *stand) whileUnderWay(ctx context.Context, held *crowd, r *row, memory func() int64) error {
	resting, err := s.replicaFiles()
	if err != nil {
		return err
	}
	began := time.Now()
	for first := 0; first < r.n; first += step {
		last := min(first+step, r.n)
		if err := held.send(first, last, "/api/contacts?q=nobody&think="+s.think.String()); err != nil {
			return err
		}
		// Idle connections of the warming up may be among those that are used.
		if err := s.arrive(ctx, began, resting+last-warmth); err != nil {
			return fmt.Errorf("%d requests are sent: %w", last, err)
		}
	}
	r.held = memory()
	if took := time.Since(began); took > s.think {
		return fmt.Errorf("memory was read after %s: the replicas hold requests for %s", took, s.think)
	}
	if err := held.readAll(ctx, s.think+20*time.Second); err != nil {
		return err
	}
	r.after = memory()
	return nil
}

// arrive waits until the replicas have so many files open.
func (s *stand) arrive(ctx context.Context, began time.Time, files int) error {
	for {
		open, err := s.replicaFiles()
		if err != nil || open >= files {
			return err
		}
		if time.Since(began) > s.think/2 || !gateway.Pause(ctx, 20*time.Millisecond) {
			return fmt.Errorf("the replicas have %d files open after %s: want %d", open, time.Since(began), files)
		}
	}
}

// replicaFiles is how many files the replicas have open, connections among them.
func (s *stand) replicaFiles() (sum int, err error) {
	for _, p := range s.replicas {
		n, err := measure.Procfs{FS: os.DirFS("/proc")}.Files(p.PID())
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
