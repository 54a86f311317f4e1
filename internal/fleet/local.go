// Package fleet is how edge nodes act as one: they share generations, and hear
// of each other's purges. Local is the fleet of one node, the default.
package fleet

import (
	"context"
	"sync"
)

// Local is a fleet whose only member is this process. It is safe for concurrent
// use.
type Local struct {
	mu         sync.Mutex
	generation uint64
}

// NewLocal makes a fleet whose generations start above the floor: the highest
// that this node has ever seen, in its journal or its store.
func NewLocal(floor uint64) *Local {
	return &Local{generation: floor}
}

// Next raises the generation: above the floor, and above every one before.
func (l *Local) Next(_ context.Context, floor uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.generation = max(l.generation, floor) + 1
	return l.generation, nil
}

// Generation is the highest so far.
func (l *Local) Generation() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

// Announce tells every other live member of an order and gives the number of
// members that have acknowledged it, this node among them: there is no other,
// so it is 1, at once.
func (l *Local) Announce(context.Context, uint64, []byte) (int, error) {
	return 1, nil
}

// Undrained counts the other members that are still draining: none.
func (l *Local) Undrained(context.Context, uint64) (int, error) { return 0, nil }
