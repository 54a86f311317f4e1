package caddymodule

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/lb"
)

// registrations are the replicas that the fleet knows of, as far as this node has
// taken them over.
type registrations struct {
	mu    sync.Mutex
	taken map[string]fleet.Replica // by pool and address
	// changed are those that somebody registers, drains or deregisters at this node.
	changed map[string]change
}

// change is what is done with a replica here. Until the fleet has noted it, the
// fleet's roster is out of date about the replica.
type change struct {
	underWay int
	ended    time.Time // the last one
	untold   bool      // the fleet does not know of it
}

// outdates reports whether a roster that was asked for then may lack it.
func (c change) outdates(asked time.Time) bool {
	return c.underWay > 0 || !c.ended.Before(asked)
}

// over reports that the fleet knows better by then, or that no lease lasts as long.
func (c change) over(asked time.Time) bool {
	return !c.outdates(asked) && (!c.untold || asked.Sub(c.ended) > lb.MaxLease)
}

// change notes that something is done with replicas of a pool here, and not told
// to the fleet yet. The caller ends it when it is, or cannot be.
func (known *registrations) change(pool string, addresses ...string) (end func(told bool)) {
	note := func(by int, c change) {
		known.mu.Lock()
		defer known.mu.Unlock()
		if known.changed == nil {
			known.changed = make(map[string]change)
		}
		for _, address := range addresses {
			key := pool + " " + address
			c.underWay = known.changed[key].underWay + by
			known.changed[key] = c
		}
	}
	note(1, change{})
	return func(told bool) { note(-1, change{ended: time.Now(), untold: !told}) }
}

// Roster takes over who has registered at other nodes: for the lease, and one of
// the fleet's more, since the next renewal may be heard of late. What was done
// here since the roster was asked for holds:
//
//  1. the roster is read; a replica stands in it;
//  2. somebody deregisters the replica here, and the fleet is told;
//  3. the roster is taken over: the replica must not come back by it.
func (n fleetNode) Roster(found []fleet.Replica, asked time.Time) {
	a := live.Load()
	if a == nil {
		return // told again
	}
	before := n.g.registrations.follow(a, found, asked)
	n.g.asides.follow(a, slices.DeleteFunc(found, func(r fleet.Replica) bool { return r.Gone }), before)
}

// follow does so, and gives what was taken over before.
func (known *registrations) follow(a *App, found []fleet.Replica, asked time.Time) (before map[string]fleet.Replica) {
	known.mu.Lock()
	defer known.mu.Unlock()
	before = known.taken
	known.taken = make(map[string]fleet.Replica, len(found))
	for _, r := range found {
		key := r.Pool + " " + r.Address
		if !r.Found && known.changed[key].outdates(asked) {
			known.taken[key] = before[key]
			continue
		}
		known.taken[key] = r
		p := a.pools[r.Pool]
		if p == nil || r.Mine || r.Found || r.Mark == before[key].Mark {
			continue
		}
		if r.Gone {
			if !known.changed[key].untold { // what the fleet has not heard of came later
				_ = p.Deregister(r.Address) // it may have ended here too
			}
			continue
		}
		delete(known.changed, key) // what the fleet has heard of came later
		id, err := p.Register(r.Address, min(r.Lease+a.gateway.member.Lease(), lb.MaxLease))
		if err == nil && r.Aside {
			// The node where it was drained has judged whether it may be.
			_, err = p.SetAside(lb.Selection{Replica: id}, true)
		}
		if err != nil {
			logger().Warn("registration of another node", zap.String("pool", r.Pool), zap.String("address", r.Address), zap.Error(err))
		}
	}
	maps.DeleteFunc(known.changed, func(_ string, c change) bool { return c.over(asked) })
	return before
}

// Dismiss ends a registration that was ended at another node.
func (n fleetNode) Dismiss(pool, address string) {
	if a := live.Load(); a != nil && a.pools[pool] != nil {
		_ = a.pools[pool].Deregister(address) // it may have ended here too
	}
}

// sharing tells another node what was done with a replica here.
type sharing func(m *fleet.Member, ctx context.Context, pool, address string) error

// share does something with replicas of the pool, among those given, and tells the
// other nodes of each that do names. Redis may be away: then they hear of it with
// the next registration, or let the lease end. A node that is away when a replica is
// deregistered hears of that when it is back.
func (p *pool) share(among []string, do func() (addresses []string, err error), tell sharing) error {
	a := live.Load()
	if a == nil || a.gateway.member == nil {
		_, err := do()
		return err
	}
	told, end := true, a.gateway.registrations.change(p.name, among...)
	defer func() { end(told) }()
	addresses, err := do()
	for _, address := range addresses {
		if err := tell(a.gateway.member, context.Background(), p.name, address); err != nil {
			told = false
			logger().Warn("registration not shared with the fleet", zap.String("pool", p.name), zap.String("address", address), zap.Error(err))
		}
	}
	return err
}

// shareAside does so for replicas that are drained by hand, or taken back, and
// keeps it for the next process.
func (p *pool) shareAside(aside bool, do func() ([]lb.ReplicaStatus, error)) (list []lb.ReplicaStatus, err error) {
	a := live.Load()
	if a == nil {
		return do()
	}
	err = p.share(addressesOf(p.Status().Replicas), func() ([]string, error) {
		list, err = do()
		for _, r := range list {
			a.gateway.asides.knows(p.name, r.Address, aside)
		}
		return addressesOf(list), err
	}, func(m *fleet.Member, ctx context.Context, pool, address string) error {
		return m.SetAside(ctx, pool, address, aside)
	})
	if len(list) > 0 {
		a.gateway.asides.keep(a.pools)
	}
	return list, err
}

func addressesOf(list []lb.ReplicaStatus) []string {
	addresses := make([]string, 0, len(list))
	for _, r := range list {
		addresses = append(addresses, r.Address)
	}
	return addresses
}

// addressOf is the address of a replica, that its id or itself names.
func (p *pool) addressOf(id string) string {
	for _, r := range p.Status().Replicas {
		if r.ID == id {
			return r.Address
		}
	}
	return id
}
