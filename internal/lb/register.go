package lb

import (
	"fmt"
	"time"
)

// The bounds of a lease. A shorter one would be lost to a pause of the process
// that renews it, a longer one is a static address.
const (
	MinLease = time.Second
	MaxLease = 24 * time.Hour
)

// Register adds the replica at address, host:port, until the lease ends, and
// returns its id. Registering the address again renews the lease; that is also
// how a replica that was drained by hand, or is draining, comes back.
func (p *Pool) Register(address string, lease time.Duration) (id string, err error) {
	a, err := ParseAddress(address)
	if err != nil {
		return "", err
	}
	if lease < MinLease || lease > MaxLease {
		return "", fmt.Errorf("lease %s: want a duration from %s to %s", lease, MinLease, MaxLease)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", ErrClosed
	}
	p.leases[a] = time.Now().Add(lease)
	delete(p.ahead, a)
	if r := p.members[a]; r != nil {
		r.held = false
	}
	p.mergeLocked()
	return newReplica(p.name, a).id, nil
}

// Deregister ends the registration of a replica. It drains, unless a discovery
// names it too. ErrUnknownReplica when no registration has the id.
func (p *Pool) Deregister(id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.byIDLocked(id)
	if r == nil {
		return fmt.Errorf("%w %q", ErrUnknownReplica, id)
	}
	if _, leased := p.leases[r.address]; !leased {
		return fmt.Errorf("%w %q: it did not register", ErrUnknownReplica, id)
	}
	delete(p.leases, r.address)
	p.mergeLocked()
	return nil
}

// byIDLocked finds a member by its id or, for people, by its address.
func (p *Pool) byIDLocked(id string) *replica {
	for _, r := range p.members {
		if r.id == id || string(r.address) == id {
			return r
		}
	}
	return nil
}
