package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const (
	// firstLook and longestLook bound the time between two looks at who has
	// applied an order.
	firstLook   = 2 * time.Millisecond
	longestLook = 100 * time.Millisecond
)

// Next raises the generation, above the floor and every earlier one. It waits
// until everybody who may have seen a higher one has had the time to say so.
func (m *Member) Next(ctx context.Context, floor uint64) (uint64, error) {
	for {
		generation, settled, err := m.board.next(ctx, floor)
		if err != nil || settled {
			return generation, err
		}
		pause(ctx, longestLook)
		if cause := context.Cause(ctx); cause != nil {
			return 0, fmt.Errorf("the fleet gathers: %w", cause)
		}
	}
}

// Announce hands an order to every other member, and returns how many there are,
// this node included, when all have applied it. It waits for who does not answer
// until that one's lease has ended.
func (m *Member) Announce(ctx context.Context, generation uint64, order []byte) (int, error) {
	for {
		at, err := m.board.announce(ctx, entry{generation: generation, from: m.id, order: order}, max(generation, m.node.Generation()))
		if err != nil {
			return 0, err
		}
		m.mu.Lock()
		m.announced = at
		m.mu.Unlock()
		members, changed, err := m.await(ctx, at)
		if !changed {
			return members, err
		}
		// Redis has lost the order, and who has applied it.
	}
}

// await waits until the order at a place is acknowledged, or lost.
func (m *Member) await(ctx context.Context, at place) (members int, changed bool, err error) {
	wait := firstLook
	for {
		v, err := m.board.look(ctx, m.node.Generation())
		applied, waiting := acknowledged(v, at.Position)
		switch {
		case err == nil && v.Incarnation != at.Incarnation:
			return 0, true, nil
		case err == nil && v.Settled && len(waiting) == 0:
			return applied, false, nil
		case err == nil && len(waiting) > 0:
			err = fmt.Errorf("waiting for %s", strings.Join(waiting, ", "))
		case err == nil:
			err = fmt.Errorf("the fleet gathers: waiting for who may not know of it yet")
		}
		pause(ctx, wait)
		if cause := context.Cause(ctx); cause != nil {
			return 0, false, fmt.Errorf("%w: %w", err, cause)
		}
		wait = min(2*wait, longestLook)
	}
}

// Undrained counts the other members where exchanges may be under way that began
// before the newest order that this process has announced.
func (m *Member) Undrained(ctx context.Context, _ uint64) (int, error) {
	v, err := m.board.look(ctx, m.node.Generation())
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	at := m.announced
	m.mu.Unlock()
	if at.Incarnation != v.Incarnation {
		at.Position = v.Position // of an earlier process, or lost
	}
	return undrained(v, m.id, at.Position), nil
}

// text is how a place is noted.
func (p place) text() []byte {
	text, err := json.Marshal(p)
	if err != nil {
		panic("fleet: " + err.Error()) // a text and a number cannot fail
	}
	return text
}

// readPlace reads a note; one that is not of this format is none.
func readPlace(noted []byte) place {
	var p place
	if json.Unmarshal(noted, &p) != nil {
		return place{}
	}
	return p
}
