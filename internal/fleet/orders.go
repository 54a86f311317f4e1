package fleet

import (
	"context"
	"fmt"
	"time"
)

// keepDone is how many finished orders every member can tell about.
const keepDone = 1000

// Offer shares an order as this node's, and gives its hold on it. The hold is
// empty when the order is another node's, or when an order of the same key is
// known that is not older than since; other is the text of that one.
func (m *Member) Offer(ctx context.Context, id, key, since string, text []byte) (hold string, other []byte, err error) {
	r := newReply(m.shelf.run(ctx, "offer", m.node.Generation(), id, m.id, key, since, text))
	hold, other = r.text(), []byte(r.text())
	return hold, other, r.err
}

// Keep writes a state of an order down, the last one if it is final, unless the
// hold has passed to another node. canceled: somebody wants it to end.
func (m *Member) Keep(ctx context.Context, id, hold, key string, text []byte, final bool) (held, canceled bool, err error) {
	last := 0
	if final {
		last = 1
	}
	r := newReply(m.shelf.run(ctx, "keep", m.node.Generation(), id, hold, key, text, last, keepDone))
	said := r.text()
	return said == "kept" || said == "cancel", said == "cancel", r.err
}

// Hand gives an order to the caller. mine: that is this node, and the hold stays.
// Neither, and held: there is no caller yet.
func (m *Member) Hand(ctx context.Context, id, hold string, text []byte) (held, mine bool, err error) {
	r := newReply(m.shelf.run(ctx, "hand", m.node.Generation(), id, hold, text))
	said := r.text()
	return said == "mine" || said == "nobody", said == "mine", r.err
}

// Find gives the latest state of an order, nil for one that nobody knows, and the
// hold on it, if that is this node's.
func (m *Member) Find(ctx context.Context, id string) (text []byte, hold string, err error) {
	r := newReply(m.shelf.run(ctx, "find", m.node.Generation(), id, m.id))
	if said := r.text(); said != "" {
		text = []byte(said)
	}
	return text, r.text(), r.err
}

// List gives the latest states of the fleet's orders: up to limit of those that
// were finished last, and all that are not.
func (m *Member) List(ctx context.Context, limit int) ([][]byte, error) {
	r := newReply(m.shelf.run(ctx, "list", m.node.Generation(), min(limit, keepDone)))
	var texts [][]byte
	for r.err == nil && r.at < len(r.list) {
		if text := r.text(); text != "" {
			texts = append(texts, []byte(text))
		}
	}
	return texts, r.err
}

// Name is how this node is called in status, logs and records.
func (m *Member) Name() string { return m.name }

// Claim gives the orders that this node has to carry out, each with the hold on
// it: its own, those that were handed to it, and, if it is the caller, those whose
// node is gone.
func (m *Member) Claim(ctx context.Context) (map[string]string, error) {
	r := newReply(m.shelf.run(ctx, "claim", m.node.Generation(), m.id))
	holds := make(map[string]string)
	for r.err == nil && r.at < len(r.list) {
		holds[r.text()] = r.text()
	}
	return holds, r.err
}

// Cancel asks whoever carries an order out to end it; false for one that is
// finished, or unknown.
func (m *Member) Cancel(ctx context.Context, id string) (bool, error) {
	r := newReply(m.shelf.run(ctx, "cancel", m.node.Generation(), id))
	return r.text() == "1", r.err
}

// Withdraw takes back what Offer shared, if the hold still counts.
func (m *Member) Withdraw(ctx context.Context, id, hold, key string) error {
	return m.shelf.run(ctx, "withdraw", m.node.Generation(), id, hold, key).Error()
}

// Budget is what a caller has last left of a target's limits, and how long ago
// at least. It is empty when nobody knows.
func (m *Member) Budget(ctx context.Context, target string) (left []byte, ago time.Duration, err error) {
	r := newReply(m.shelf.run(ctx, "budget", m.node.Generation(), target))
	left = []byte(r.text())
	return left, time.Duration(r.number()) * time.Millisecond, r.err
}

func (b *redisBoard) lead(ctx context.Context, t ticket, floor uint64) (View, error) {
	r := newReply(b.run(ctx, "lead", floor, t.incarnation, t.id, t.term))
	if r.text() == "gone" {
		return View{}, errGone
	}
	return b.view(r), r.err
}

func (b *redisBoard) calling(ctx context.Context, id string, token uint64, target string, left []byte) (bool, error) {
	r := newReply(b.run(ctx, "calling", 0, id, token, target, left))
	said := r.text()
	if r.err != nil {
		return false, fmt.Errorf("who calls: %w", r.err)
	}
	return said == "1", nil
}
