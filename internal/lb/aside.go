package lb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrLastReplica is returned when nobody would be left to take requests.
var ErrLastReplica = errors.New("no replica would be left to take requests")

// Selection names replicas of a pool.
type Selection struct {
	Replica string // one, by its id or its address
	Version string // or all that run this version now
}

// SetAside has replicas finish what they have and take nothing new, though
// discoveries go on naming them: until they are taken back, register again, or
// no source has named them for a moment. Unless it is forced it does nothing and
// returns ErrLastReplica when no healthy replica would be left.
// ErrUnknownReplica when nobody is meant.
func (p *Pool) SetAside(which Selection, force bool) ([]ReplicaStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	chosen, err := p.chosenLocked(which)
	if err != nil {
		return nil, err
	}
	if !force && p.emptiesLocked(chosen) {
		return nil, fmt.Errorf("pool %s: %w: %s", p.name, ErrLastReplica, addressesOf(chosen))
	}
	for _, r := range chosen {
		p.holdLocked(r)
	}
	return p.statusesLocked(chosen), nil
}

// TakeBack undoes SetAside. It returns those that had been set aside and are
// still there; one that has finished passes its checks first.
func (p *Pool) TakeBack(which Selection) ([]ReplicaStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ahead, Address(which.Replica))
	chosen, err := p.chosenLocked(which)
	if err != nil {
		return nil, err
	}
	chosen = slices.DeleteFunc(chosen, func(r *replica) bool { return !r.held })
	for _, r := range chosen {
		r.held = false
	}
	p.mergeLocked()
	return p.statusesLocked(chosen), nil
}

// aheadFor is how long a replica that was set aside elsewhere, or before a restart,
// may take to be found here.
const aheadFor = time.Minute

// KeepAside sets replicas aside, by address, whether they are there already or are
// found within a minute: what an earlier process, or another node, has done to
// them. It never asks whether anybody would be left.
func (p *Pool) KeepAside(addresses []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ahead == nil {
		p.ahead = make(map[Address]time.Time)
	}
	for _, text := range addresses {
		address, err := ParseAddress(text)
		if err != nil {
			continue // of another version, or none of ours
		}
		p.ahead[address] = time.Now().Add(aheadFor)
		if r := p.members[address]; r != nil && !r.held {
			p.holdLocked(r)
		}
	}
}

// Aside are the addresses of the replicas that are set aside, found or not yet.
func (p *Pool) Aside() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for address, until := range p.ahead {
		if p.members[address] == nil && time.Now().Before(until) {
			list = append(list, string(address))
		}
	}
	for address, r := range p.members {
		if r.held {
			list = append(list, string(address))
		}
	}
	slices.Sort(list)
	return list
}

// metLocked sets a replica aside that was to be when it is found.
func (p *Pool) metLocked(r *replica) {
	until, ahead := p.ahead[r.address]
	delete(p.ahead, r.address)
	if ahead && time.Now().Before(until) {
		p.holdLocked(r)
	}
}

func (p *Pool) holdLocked(r *replica) {
	r.held = true
	if !r.is().leaving() {
		p.drainLocked(r, "drained by an operator")
	}
}

// chosenLocked are the replicas that are meant, by address.
func (p *Pool) chosenLocked(which Selection) ([]*replica, error) {
	if p.closed {
		return nil, ErrClosed
	}
	if which.Replica != "" {
		r := p.byIDLocked(which.Replica)
		if r == nil {
			return nil, fmt.Errorf("%w %q", ErrUnknownReplica, which.Replica)
		}
		return []*replica{r}, nil
	}
	var chosen []*replica
	versions := []string{}
	for _, r := range sorted(p.members) {
		switch version := r.identity.Load().version; {
		case version == "":
		case version == which.Version:
			chosen = append(chosen, r)
		case !slices.Contains(versions, version):
			versions = append(versions, version)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w that runs version %q: pool %s has %s", ErrUnknownReplica, which.Version, p.name, orNone(versions))
	}
	return chosen, nil
}

func orNone(versions []string) string {
	if len(versions) == 0 {
		return "none whose version is known"
	}
	slices.Sort(versions)
	return strings.Join(versions, ", ")
}

// emptiesLocked reports whether without these, and because of that, the pool has
// no replica in rotation: no healthy one, or, where none is healthy, none at all.
func (p *Pool) emptiesLocked(without []*replica) bool {
	healthy, others := false, false
	for _, r := range without {
		healthy = healthy || r.is() == up
		others = others || !r.is().leaving()
	}
	left := false
	for _, r := range p.members {
		if slices.Contains(without, r) {
			continue
		}
		if r.is() == up {
			return false
		}
		left = left || !r.is().leaving()
	}
	return healthy || (others && !left)
}

func addressesOf(replicas []*replica) string {
	var list []string
	for _, r := range replicas {
		list = append(list, string(r.address))
	}
	return strings.Join(list, ", ")
}

func (p *Pool) statusesLocked(replicas []*replica) []ReplicaStatus {
	list := make([]ReplicaStatus, 0, len(replicas))
	for _, r := range replicas {
		list = append(list, p.replicaStatusLocked(r))
	}
	return list
}
