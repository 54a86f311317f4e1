package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// controlled is the live gateway, as the control API sees it. It is looked up
// anew for each call, since the admin endpoint outlives configurations.
type controlled struct{}

// Status is everything there is to see.
func (controlled) Status(ctx context.Context) control.Status {
	a := live.Load()
	if a == nil {
		return control.Status{}
	}
	version, caddyVersion := versions()
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	s := control.Status{
		Version:      version,
		Caddy:        caddyVersion,
		Node:         host,
		Started:      a.gateway.started,
		Uptime:       unit.Duration(time.Since(a.gateway.started).Round(time.Second)),
		ConfigLoaded: a.loaded,
		Generation:   a.gateway.store.Generation(),
		Cache:        a.gateway.store.Stats(),
		Dependencies: a.dependencies(),
	}
	pools := []lb.Status{}
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		pools = append(pools, a.pools[name].Status())
	}
	s.Pools = pools
	if m := a.gateway.member; m != nil {
		s.Fleet = m.Status()
	}
	s.Deploys = control.DeployStatus{Pools: controlled{}.Versions(), Last: controlled{}.Deploys("", 5)}
	s.Trouble = a.sights(time.Now()).troubles()
	if c := a.gateway.coordinator(); c != nil {
		s.Purges = control.PurgeStatus{Pending: c.Health().Pending, Last: c.ListAll(ctx, 5)}
	}
	return s
}

// Ready is false while a pool has no replica that may take a request, and once
// the process has been told to stop.
func (controlled) Ready(context.Context) control.Readiness {
	a := live.Load()
	if a == nil {
		return control.Readiness{Dependencies: []control.Dependency{{Name: "configuration", Detail: "none is loaded"}}}
	}
	r := control.Readiness{Ready: true, Dependencies: a.dependencies()}
	if leaving.Load() && !handedOver() {
		r.Ready = false
		r.Dependencies = append(r.Dependencies, control.Dependency{Name: "gateway", Severity: string(health.Critical), Detail: "told to stop: it serves until its listeners close"})
	}
	for _, d := range r.Dependencies {
		if d.Severity == string(health.Critical) && !d.OK {
			r.Ready = false
		}
	}
	return r
}

// diskState judges the cache's disk; nil is one that was not opened.
func diskState(folder string, d *httpcache.DiskStats) control.Dependency {
	switch {
	case d == nil:
		return control.Dependency{Name: "cache disk", Detail: folder + ": not opened, see the log; restart to try again"}
	case d.Fault != "":
		return control.Dependency{Name: "cache disk", Detail: d.Fault}
	case !d.Serving || d.Failing:
		return control.Dependency{Name: "cache disk", Detail: d.Error}
	}
	return control.Dependency{Name: "cache disk", OK: true, Detail: folder}
}

// coordinatorOf is the live one, or an error while there is none.
func coordinatorOf() (*purge.Coordinator, error) {
	a := live.Load()
	if a == nil {
		return nil, errNotStarted
	}
	c := a.gateway.coordinator()
	if c == nil {
		return nil, errNotStarted
	}
	return c, nil
}

// Submit makes an order durable; it does not wait for it.
func (controlled) Submit(ctx context.Context, o purge.Order) (purge.Record, error) {
	c, err := coordinatorOf()
	if err != nil {
		return purge.Record{}, err
	}
	return c.Submit(ctx, o)
}

// Purge finds an order by its id.
func (controlled) Purge(id string) (purge.Record, bool) {
	c, err := coordinatorOf()
	if err != nil {
		return purge.Record{}, false
	}
	return c.Get(id)
}

// WaitPurge is Purge after the order is finished or ctx is done.
func (controlled) WaitPurge(ctx context.Context, id string) (purge.Record, bool) {
	c, err := coordinatorOf()
	if err != nil {
		return purge.Record{}, false
	}
	return c.Wait(ctx, id)
}

// Purges lists the newest orders, of the whole fleet, newest first.
func (controlled) Purges(ctx context.Context, limit int) []purge.Record {
	c, err := coordinatorOf()
	if err != nil {
		return nil
	}
	return c.ListAll(ctx, limit)
}

// CancelPurge ends an order.
func (controlled) CancelPurge(id string) error {
	c, err := coordinatorOf()
	if err != nil {
		return err
	}
	return c.Cancel(id)
}

// Register adds a replica to a pool until the lease ends.
func (controlled) Register(name, address string, lease time.Duration) (string, error) {
	a := live.Load()
	if a == nil {
		return "", errNotStarted
	}
	p, err := a.controlledPool(name)
	if err != nil {
		return "", err
	}
	var id string
	err = p.share([]string{address}, func() (addresses []string, err error) {
		if id, err = p.Register(address, lease); err == nil {
			addresses = []string{p.addressOf(id)}
		}
		return addresses, err
	}, func(m *fleet.Member, ctx context.Context, pool, address string) error {
		return m.Enroll(ctx, pool, address, lease)
	})
	return id, err
}

// Deregister drains and then forgets a replica.
func (controlled) Deregister(id string) error {
	return eachPool(id, func(p *pool) error {
		gone := []string{p.addressOf(id)}
		return p.share(gone, func() ([]string, error) {
			if err := p.Deregister(id); err != nil {
				return nil, err
			}
			return gone, nil
		}, (*fleet.Member).Dismiss)
	})
}

// eachPool asks one pool after the other until one knows the replica.
func eachPool(id string, ask func(*pool) error) error {
	a := live.Load()
	if a == nil {
		return errNotStarted
	}
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		if err := ask(a.pools[name]); !errors.Is(err, lb.ErrUnknownReplica) {
			return err
		}
	}
	return fmt.Errorf("replica %q: %w", id, control.ErrUnknownReplica)
}

var _ control.Gateway = controlled{}
