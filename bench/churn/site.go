package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
)

// replicaField names, in answers that the gateway makes up, the replica that it
// asked last.
const replicaField = "X-Churn-Replica"

// caddyfile is what an operator would write: replicas from a file and by
// registration, everything else at its default but for times, which are short
// enough to see a drain to its end many times.
const caddyfile = `{
	admin ADMIN
	persist_config off
	log {
		level WARN
	}
	servers {
		listener_wrappers {
			edge
			tls
			edge_hits
		}
	}
	edge {
		state_dir DIR/state
		cache {
			memory 64MiB
		}
		pool app {
			discover file DIR/replicas {
				interval 200ms
			}
			health /healthz {
				interval 500ms
				version_header X-App-Version
				instance_header X-App-Instance
			}
			slow_start 2s
			drain DRAIN
			retry {
				idempotency_key
			}
		}
		control {
			token TOKEN
		}
		stop {
			announce 1ms
		}
		FLEET
	}
}

http://LISTEN {
	edge_rules {
		fingerprinted /assets/*
		private /api/* /events /ws
		page /* {
			edge LIFE
			tag pages
		}
	}
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
	handle_errors {
		header FIELD {edge.replica}
		respond "{err.status_code} {err.message}"
	}
}
`

// site is the gateway under test.
type site struct {
	binary        string
	listen, admin string
	dir, config   string
	token         string // of the control API
	server        *process.Process
	heir          atomic.Int64   // the process that has taken over from server; 0 for none
	redis         *gateway.Redis // nil for none
	client        *http.Client
}

// startSite runs the gateway, with a Redis in a long run; it has no replicas yet.
func startSite(ctx context.Context, o options, binary, dir string) (*site, error) {
	s := &site{binary: binary, dir: dir, config: filepath.Join(dir, "Caddyfile"), token: rand.Text(), client: &http.Client{Timeout: 10 * time.Second}}
	addresses, err := gateway.Addresses(2)
	if err != nil {
		return nil, err
	}
	s.listen, s.admin = addresses[0], addresses[1]
	life, fleet := "1s", ""
	if o.long() {
		redis, err := peers.Find("redis-server", "redis-server")
		if err != nil {
			return nil, err
		}
		s.redis = &gateway.Redis{Binary: redis, Dir: filepath.Join(dir, "redis")}
		if err := s.redis.Start(ctx); err != nil {
			return nil, errors.Join(err, s.redis.Stop())
		}
		life, fleet = "10m", fmt.Sprintf("fleet unix://%s {\n\t\t\tlease %s\n\t\t}", s.redis.Socket(), o.fleetLease())
	}
	text := strings.NewReplacer("ADMIN", s.admin, "DIR", dir, "DRAIN", o.drain.String(), "TOKEN", s.token, "LISTEN", s.listen, "FIELD", replicaField,
		"LIFE", life, "FLEET", fleet).Replace(caddyfile)
	if err := errors.Join(os.WriteFile(s.config, []byte(text), 0o600), s.list(nil)); err != nil {
		return nil, errors.Join(err, s.redis.Stop())
	}
	s.server, err = process.Start(process.Command{
		Name: "edge", Path: binary, Dir: dir, CPU: process.AnyCPU,
		Args: []string{"run", "--adapter", "caddyfile", "--config", s.config}, Env: peers.Environment(dir),
		Grace: 20 * time.Second,
	})
	if err != nil {
		return nil, errors.Join(err, s.redis.Stop())
	}
	err = gateway.Ready(ctx, s.server.Exited(), func(ctx context.Context) error {
		return s.call(ctx, http.MethodGet, "healthz", nil, nil)
	})
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

// stop ends the gateway and its Redis.
func (s *site) stop() error {
	if s.heir.Load() == 0 {
		return errors.Join(s.server.Stop(), s.redis.Stop())
	}
	return errors.Join(s.stopHeir(), s.redis.Stop())
}

// pid is the process that is in charge.
func (s *site) pid() int {
	if heir := s.heir.Load(); heir != 0 {
		return int(heir)
	}
	return s.server.PID()
}

// stopHeir ends a process that is no child of ours, and waits until it has let go
// of its address.
func (s *site) stopHeir() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	heir := s.pid()
	if err := syscall.Kill(heir, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d, which has taken over: %w", heir, err)
	}
	for {
		c, err := net.Dial("tcp", s.admin)
		if err != nil {
			return nil
		}
		c.Close()
		if !gateway.Pause(ctx, 50*time.Millisecond) {
			return errors.Join(fmt.Errorf("process %d still runs %s after SIGTERM: killed", heir, patience), syscall.Kill(heir, syscall.SIGKILL))
		}
	}
}

// url is the gateway's.
func (s *site) url() string { return "http://" + s.listen }

// list writes the file of replicas, whole.
func (s *site) list(addresses []string) error {
	return gateway.List(filepath.Join(s.dir, "replicas"), addresses)
}

func (s *site) call(ctx context.Context, method, path string, body []byte, into any) error {
	return gateway.Control(ctx, s.client, s.token, method, "http://"+s.listen+"/.edge/"+path, body, into)
}

// insist repeats a call until it is answered, as whoever registers replicas does:
// one that reaches a gateway which is being replaced may be turned away, or lose its
// connection. The call must be one that may be made twice.
func (s *site) insist(ctx context.Context, method, path string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := s.call(ctx, method, path, body, nil)
		if err == nil || strings.Contains(err.Error(), "404") {
			return err
		}
		if !gateway.Pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("not within %s: %w", patience, err)
		}
	}
}

// poolView is what the control API says of the pool.
type poolView struct {
	InFlight int64 `json:"in_flight"`
	Queued   int64
	Retries  int64
	Refused  int64
	Replicas []replicaView
}

type replicaView struct {
	ID, Address, State, Why string
	WebSockets, Streams     int64
}

func (s *site) pool(ctx context.Context) (poolView, error) {
	var status struct{ Pools []poolView }
	if err := s.call(ctx, http.MethodGet, "status", nil, &status); err != nil {
		return poolView{}, err
	}
	if len(status.Pools) != 1 {
		return poolView{}, fmt.Errorf("status: %d pools: want one", len(status.Pools))
	}
	return status.Pools[0], nil
}

// at is the replica at an address; its state is "" if there is none.
func (v poolView) at(address string) replicaView {
	for _, r := range v.Replicas {
		if r.Address == address {
			return r
		}
	}
	return replicaView{}
}

// await asks again and again until the pool is as wanted.
func (s *site) await(ctx context.Context, within time.Duration, what string, holds func(poolView) bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		pool, err := s.pool(ctx)
		if err == nil && holds(pool) {
			return nil
		}
		if !gateway.Pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("%s: not within %s: %w; last seen %+v", what, within, errors.Join(ctx.Err(), err), pool)
		}
	}
}
