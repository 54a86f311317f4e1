package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/internal/redistest"
)

// think is how long the slower application takes for an answer.
const think = 10 * time.Millisecond

const caddyfile = `{
	admin off
	persist_config off
	log {
		level WARN
	}
	edge {
		state_dir DIR/state
		cache {
			memory 512MiB
			SHARED
		}
		pool quick {
			discover static QUICK
		}
		pool slow {
			discover static SLOW
		}
		FLEET
	}
}

http://quick.test:PORT {
	bind 127.0.0.1
	edge_cache
	edge_proxy quick
}

http://slow.test:PORT {
	bind 127.0.0.1
	edge_cache
	edge_proxy slow
}
`

// stand is all that runs: two nodes with a cache in common, one without, two
// applications, and a Redis.
type stand struct {
	dir, version string
	redis        *redistest.Server
	first        *node // stores what others find
	other        *node
	alone        *node
	quick, slow  *process.Process
	client       *http.Client
}

// node is one gateway.
type node struct {
	name, address string
	server        *process.Process
}

func start(ctx context.Context, dir string) (*stand, error) {
	s := &stand{dir: dir, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}, Timeout: time.Minute}}
	binary, version, err := peers.Build(ctx, "edge", dir)
	if err != nil {
		return s, err
	}
	s.version = version
	if s.redis, err = redistest.Run(); err != nil {
		return s, err
	}
	application := filepath.Join(dir, "application")
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", application, "./origin").CombinedOutput(); err != nil {
		return s, fmt.Errorf("build origin: %w\n%s", err, out)
	}
	var quick, slow string
	if s.quick, quick, err = s.application(ctx, application, "quick", 0); err != nil {
		return s, err
	}
	if s.slow, slow, err = s.application(ctx, application, "slow", think); err != nil {
		return s, err
	}
	words := []string{"QUICK", quick, "SLOW", slow}
	for name, to := range map[string]**node{"first": &s.first, "other": &s.other, "alone": &s.alone} {
		shared, fleet := "shared 1GiB {\n\t\t\t\ttimeout 100ms\n\t\t\t}", fmt.Sprintf("fleet unix://%s {\n\t\t\tnode %s\n\t\t}", s.redis.Socket, name)
		if name == "alone" {
			shared, fleet = "", ""
		}
		if *to, err = s.node(ctx, binary, name, append(words, "SHARED", shared, "FLEET", fleet)...); err != nil {
			return s, err
		}
	}
	return s, nil
}

// application starts one, which serves objects of every size that is asked for.
func (s *stand) application(ctx context.Context, binary, name string, delay time.Duration) (*process.Process, string, error) {
	var list []string
	for _, size := range sizes {
		list = append(list, fmt.Sprint(size))
	}
	p, said, err := gateway.Listening(ctx, s.dir, process.Command{
		Name: name, Path: binary, Args: []string{"-sizes", strings.Join(list, ","), "-delay", delay.String()},
	})
	return p, strings.TrimPrefix(said, "listening on "), err
}

// node starts a gateway, and waits until it answers from a replica and, in a
// fleet, trusts its cache.
func (s *stand) node(ctx context.Context, binary, name string, words ...string) (*node, error) {
	addresses, err := gateway.Addresses(1)
	if err != nil {
		return nil, err
	}
	n := &node{name: name, address: addresses[0]}
	dir := filepath.Join(s.dir, name)
	_, port, err := net.SplitHostPort(n.address)
	if err != nil {
		return nil, err
	}
	text := strings.NewReplacer(append(words, "DIR", dir, "PORT", port)...).Replace(caddyfile)
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(text), 0o600)); err != nil {
		return nil, err
	}
	n.server, err = process.Start(process.Command{
		Name: name, Path: binary, Args: []string{"run", "--config", filepath.Join(dir, "Caddyfile")}, Env: peers.Environment(dir), Dir: dir,
		CPU: process.AnyCPU, Grace: 40 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return n, gateway.Ready(ctx, n.server.Exited(), func(ctx context.Context) error {
		for _, host := range []string{"quick.test", "slow.test"} {
			a := n.get(ctx, s.client, host, fmt.Sprintf("%s?ready", object.Path(sizes[0])))
			if a.err != nil || a.status != http.StatusOK || strings.Contains(a.cache, "fleet-behind") {
				return fmt.Errorf("%s: %d %s, %w", host, a.status, a.cache, a.err)
			}
		}
		return nil
	})
}

func (s *stand) end() error {
	var errs []error
	for _, n := range []*node{s.first, s.other, s.alone} {
		if n != nil && n.server != nil {
			errs = append(errs, n.server.Stop())
		}
	}
	for _, p := range []*process.Process{s.quick, s.slow} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if s.redis != nil {
		s.redis.Close()
	}
	return errors.Join(errs...)
}
