package lb

import (
	"maps"
	"slices"
)

// rank is how a source wants an address used. Who gives none wants weight 1
// and priority 0.
type rank struct {
	weight   float64 // above 0, at most 1: 1 is the heaviest of its priority
	priority uint16  // the lowest that has a healthy replica gets the requests
}

// leastWeight is what weight 0 is taken for: RFC 2782 wants "a very small
// chance" for it, and policies divide by weights.
const leastWeight = 0.01

// announced is an address with the weight and priority that somebody gave it,
// in the giver's own measure.
type announced struct {
	address  Address
	weight   float64
	priority uint16
}

// ranking scales weights to the heaviest of each priority. An address that is
// named several times has the sum, and the lowest of its priorities. If all
// weights are 0, all are equal.
func ranking(list []announced) ([]Address, map[Address]rank) {
	ranks := make(map[Address]rank)
	for _, a := range list {
		k, again := ranks[a.address]
		k.weight += max(0, a.weight)
		if !again || a.priority < k.priority {
			k.priority = a.priority
		}
		ranks[a.address] = k
	}
	heaviest := make(map[uint16]float64)
	for _, k := range ranks {
		heaviest[k.priority] = max(heaviest[k.priority], k.weight)
	}
	for address, k := range ranks {
		if most := heaviest[k.priority]; most > 0 {
			k.weight = max(leastWeight, k.weight/most)
		} else {
			k.weight = 1
		}
		ranks[address] = k
	}
	return slices.Sorted(maps.Keys(ranks)), ranks
}

// report hands over a whole set with its ranks, and what is wrong with the rest.
func (f Feed) report(list []announced, problem error) {
	set, ranks := ranking(list)
	if f.ranks != nil {
		f.ranks(ranks)
	}
	if problem == nil {
		f.Found(set)
		return
	}
	if f.found != nil {
		f.found(set, problem)
	} else {
		f.Found(set)
	}
	f.Failed(problem)
}

// rank takes note of the ranks that go with the next set of f.
func (p *Pool) rank(f *feed, ranks map[Address]rank) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.orphaned || p.closed || maps.Equal(f.ranks, ranks) {
		return
	}
	f.ranks = ranks
	p.publishLocked()
}

// rankLocked gives members the ranks that their sources want. Of several the
// better counts; a replica that registered itself is as good as any.
func (p *Pool) rankLocked() {
	ranks := make(map[Address]rank)
	for _, f := range p.feeds {
		for _, address := range f.set {
			k, given := f.ranks[address]
			if !given {
				k = rank{weight: 1}
			}
			if other, also := ranks[address]; also {
				k.weight, k.priority = max(k.weight, other.weight), min(k.priority, other.priority)
			}
			ranks[address] = k
		}
	}
	for address := range p.leases {
		ranks[address] = rank{weight: 1}
	}
	p.ranked = false
	for address, r := range p.members {
		if k, wanted := ranks[address]; wanted { // One that leaves keeps what it had.
			store(&r.share, k.weight)
			r.priority = k.priority
		}
		p.ranked = p.ranked || r.priority > 0
	}
}

// firstLocked is who may take requests: the members of the lowest priority that
// has a healthy one. While there is none at all, everybody may.
func (p *Pool) firstLocked() []*replica {
	var all []*replica
	first, found := uint16(0), false
	for _, r := range sorted(p.members) {
		if r.is().leaving() {
			continue
		}
		all = append(all, r)
		if r.is() == up && (!found || r.priority < first) {
			first, found = r.priority, true
		}
	}
	if !found || !p.ranked {
		return all
	}
	return slices.DeleteFunc(all, func(r *replica) bool { return r.priority != first })
}

// reassessLocked follows a change of health: it may be another priority's turn.
func (p *Pool) reassessLocked() {
	if p.ranked {
		p.publishLocked() // This assesses too.
		return
	}
	p.assess()
}
