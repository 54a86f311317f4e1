package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/internal/purge/standin"
	"github.com/edgegw/edge/internal/purge/standin/cdn"
	"github.com/edgegw/edge/internal/redistest"
)

const (
	nodes    = 3
	patience = time.Minute // for what is to happen when nothing is in the way
)

// caddyfile is what an operator would write, with a lease that is short enough
// to see it end many times.
const caddyfile = `{
	admin ADMIN
	persist_config off
	log {
		level WARN
	}
	edge {
		state_dir DIR/state
		cache {
			memory 64MiB
			DISK
			shared 16MiB
		}
		pool app {
			discover file REPLICAS {
				interval 200ms
			}
			health /healthz {
				interval 500ms
				version_header X-App-Version
			}
			drain 4s
		}
		cloudflare {
			zone_id ZONE
			api_token TOKEN
			plan business
			api_url API
		}
		control {
			token TOKEN
		}
		stop {
			announce 1ms
		}
		fleet unix://REDIS {
			node NODE
			lease LEASE
		}
	}
}

http://:PORT {
	bind 127.0.0.1
	edge_rules {
		fingerprinted /assets/*
		private /api/*
		page /* {
			edge 1h
			stale 10m
			tag pages
		}
	}
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
}
`

// host is what visitors ask for, wherever they do: what one node has stored is for
// all of them.
const host = "crm.example.com"

// site is all that runs.
type site struct {
	dir, binary string
	token, zone string
	commands    *gateway.Commands
	redis       *gateway.Redis
	nodes       []*node
	api         *standin.Server
	cdn         *cdn.CDN
	places      []string // URLs of the data centres
	servers     []*http.Server
	client      *http.Client
}

// node is one gateway.
type node struct {
	name, listen, dir, config string
	server                    *process.Process
	line                      *redistest.Line // its way to Redis

	mu sync.Mutex
	// absences are when it was killed or stopped, until it was back.
	absences []absence
}

type absence struct {
	from, until time.Time // until is zero while it lasts
	why         string
}

func (n *node) url() string { return "http://" + n.listen }

// leave notes that it is away, back that it is there again.
func (n *node) leave(why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.absences = append(n.absences, absence{from: time.Now(), why: why})
}

func (n *node) back() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.absences[len(n.absences)-1].until = time.Now()
}

// excuse says why the node need not have answered; "" if it should have.
func (n *node) excuse(from, until time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.absences {
		if a.from.Before(until) && (a.until.IsZero() || a.until.After(from)) {
			return n.name + " " + a.why
		}
	}
	return ""
}

// start runs Redis, the gateways and the stand-in; there are no replicas yet.
func start(ctx context.Context, o options, binary, redis, dir string) (s *site, err error) {
	zone := make([]byte, 16)
	_, _ = rand.Read(zone) // never fails
	s = &site{dir: dir, binary: binary, redis: &gateway.Redis{Binary: redis, Dir: filepath.Join(dir, "redis")}, token: rand.Text(), zone: hex.EncodeToString(zone), client: &http.Client{Timeout: 10 * time.Second}}
	s.commands = &gateway.Commands{Binary: binary, Dir: dir, Token: s.token}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.end())
		}
	}()
	if err := s.list(nil); err != nil {
		return s, err
	}
	if err := s.redis.Start(ctx); err != nil {
		return s, err
	}
	addresses, err := gateway.Addresses(2 * nodes)
	if err != nil {
		return s, err
	}
	var origins []string
	for i := range nodes {
		n := &node{name: fmt.Sprint("edge-", i), listen: addresses[i], dir: filepath.Join(dir, fmt.Sprint("edge-", i))}
		n.config = filepath.Join(n.dir, "Caddyfile")
		s.nodes = append(s.nodes, n)
		origins = append(origins, n.url())
	}
	if err := s.startCloudflare(origins); err != nil {
		return s, err
	}
	for i, n := range s.nodes {
		disk := ""
		if i == nodes-1 {
			disk = "disk 64MiB" // what it holds outlives the process
		}
		if n.line, err = redistest.NewLine(s.path(fmt.Sprint("line-", i)), s.redis.Socket()); err != nil {
			return s, err
		}
		_, port, _ := strings.Cut(n.listen, ":")
		text := strings.NewReplacer("ADMIN", addresses[nodes+i], "DIR", n.dir, "DISK", disk, "REPLICAS", s.path("replicas"), "ZONE", s.zone, "TOKEN", s.token,
			"API", "http://"+s.servers[0].Addr+"/client/v4", "REDIS", n.line.Socket, "NODE", n.name, "LEASE", o.lease.String(), "PORT", port).Replace(caddyfile)
		if err := errors.Join(os.Mkdir(n.dir, 0o700), os.WriteFile(n.config, []byte(text), 0o600)); err != nil {
			return s, err
		}
		if err := s.run(n); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// run starts a gateway's process.
func (s *site) run(n *node) (err error) {
	n.server, err = process.Start(process.Command{
		Name: n.name, Path: s.binary, Dir: n.dir, CPU: process.AnyCPU,
		Args: []string{"run", "--adapter", "caddyfile", "--config", n.config}, Env: peers.Environment(n.dir),
		Grace: 40 * time.Second,
	})
	return err
}

// startCloudflare runs the stand-in: its API, and two data centres.
func (s *site) startCloudflare(origins []string) (err error) {
	// edge pauses for three seconds between its two passes, and for one after
	// the second: the CDN is as slow as that allows, and a little quicker.
	if s.cdn, err = cdn.New(cdn.Options{Origins: origins, Spread: 800 * time.Millisecond, Travel: time.Second}); err != nil {
		return err
	}
	s.api, err = standin.New(standin.Options{Token: s.token, Plan: "business", Zones: []standin.Zone{{ID: s.zone, Name: "example.com"}}, Accepted: s.cdn.Purge})
	if err != nil {
		return err
	}
	for i, handler := range []http.Handler{s.api, s.cdn.Site(0), s.cdn.Site(1)} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		h := &http.Server{Addr: l.Addr().String(), Handler: handler, ReadHeaderTimeout: time.Minute}
		s.servers = append(s.servers, h)
		go func() { _ = h.Serve(l) }() // ends at Close
		if i > 0 {
			s.places = append(s.places, "http://"+h.Addr)
		}
	}
	return nil
}

// list writes the file of replicas, whole.
func (s *site) list(addresses []string) error {
	return gateway.List(s.path("replicas"), addresses)
}

// status is the part of a node's status that the soak looks at.
type status struct {
	Pools []struct {
		Replicas []struct{ Address, State, Version string }
	}
	Fleet  struct{ Trusted bool }
	Purges struct{ Pending int }
}

func (s *site) status(ctx context.Context, n *node) (st status, err error) {
	err = gateway.Control(ctx, s.client, s.token, http.MethodGet, n.url()+"/.edge/status", nil, &st)
	return st, err
}

// await asks a node again and again until it is as wanted.
func (s *site) await(ctx context.Context, n *node, within time.Duration, what string, holds func(status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		st, err := s.status(ctx, n)
		if err == nil && holds(st) {
			return nil
		}
		if !gateway.Pause(ctx, 100*time.Millisecond) {
			return fmt.Errorf("%s: %s: not within %s: %w; last seen %+v", n.name, what, within, errors.Join(ctx.Err(), err), st)
		}
	}
}

// serves reports a node that has a replica for its visitors.
func serves(st status) bool {
	for _, p := range st.Pools {
		for _, r := range p.Replicas {
			if r.State == "up" {
				return true
			}
		}
	}
	return false
}

func whole(st status) bool { return serves(st) && st.Fleet.Trusted && st.Purges.Pending == 0 }

// end ends whatever was started.
func (s *site) end() error {
	var errs []error
	for _, n := range s.nodes {
		if n.server != nil {
			errs = append(errs, n.server.Stop())
		}
		if n.line != nil {
			n.line.Close()
		}
	}
	errs = append(errs, s.redis.Stop())
	for _, h := range s.servers {
		errs = append(errs, h.Close())
	}
	if s.cdn != nil {
		s.cdn.Close()
	}
	return errors.Join(errs...)
}
