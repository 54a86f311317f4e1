package caddymodule

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/lb"
)

// registrations are the replicas that the fleet knows of, as far as this node has
// taken them over.
type registrations struct {
	mu    sync.Mutex
	taken map[string]fleet.Replica // by pool and address
}

// Roster takes over who has registered at other nodes: for the lease, and one of
// the fleet's more, since the next renewal may be heard of late.
func (n fleetNode) Roster(found []fleet.Replica) {
	a := live.Load()
	if a == nil {
		return // told again
	}
	known := &n.g.registrations
	known.mu.Lock()
	defer known.mu.Unlock()
	taken := make(map[string]fleet.Replica, len(found))
	for _, r := range found {
		key := r.Pool + " " + r.Address
		before := known.taken[key]
		taken[key] = r
		p := a.pools[r.Pool]
		if p == nil || r.Mine || r.Found || r.Mark == before.Mark {
			continue
		}
		id, err := p.Register(r.Address, min(r.Lease+n.g.member.Lease(), lb.MaxLease))
		if err == nil && r.Aside {
			// The node where it was drained has judged whether it may be.
			_, err = p.SetAside(lb.Selection{Replica: id}, true)
		}
		if err != nil {
			logger().Warn("registration of another node", zap.String("pool", r.Pool), zap.String("address", r.Address), zap.Error(err))
		}
	}
	n.g.asides.follow(a, found, known.taken)
	known.taken = taken
}

// Dismiss ends a registration that was ended at another node.
func (n fleetNode) Dismiss(pool, address string) {
	if a := live.Load(); a != nil && a.pools[pool] != nil {
		_ = a.pools[pool].Deregister(address) // it may have ended here too
	}
}

// sharing tells the other nodes, when it is called, what is done with a replica
// here. Redis may be away: then they hear of it with the next registration, or let
// the lease end.
func (p *pool) sharing(id string, what func(m *fleet.Member, ctx context.Context, pool, address string) error) func() {
	a := live.Load()
	if a == nil || a.gateway.member == nil {
		return func() {}
	}
	address := id
	for _, r := range p.Status().Replicas {
		if r.ID == id {
			address = r.Address
		}
	}
	return func() {
		if err := what(a.gateway.member, context.Background(), p.name, address); err != nil {
			logger().Warn("registration not shared with the fleet", zap.String("pool", p.name), zap.String("address", address), zap.Error(err))
		}
	}
}

// shareAside does so for replicas that were drained by hand, or taken back, and
// keeps it for the next process.
func (p *pool) shareAside(list []lb.ReplicaStatus, aside bool) {
	a := live.Load()
	if a == nil || len(list) == 0 {
		return
	}
	defer a.gateway.asides.keep(a.pools)
	for _, r := range list {
		a.gateway.asides.knows(p.name, r.Address, aside)
		p.sharing(r.ID, func(m *fleet.Member, ctx context.Context, pool, address string) error {
			return m.SetAside(ctx, pool, address, aside)
		})()
	}
}
