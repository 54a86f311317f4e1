package fleet

import (
	"context"
	"time"
)

// One member at a time calls what is outside of the fleet: the caller. It is a
// member like any other, and is the caller for as long as it is a member:
//
//	caller                            another
//	1. asks: is my token the one
//	   that counts? Yes
//	2. is stopped
//	                                  3. takes it off, after its lease
//	                                  4. is the caller, with a higher token
//	5. goes on, and calls: the
//	   purge is made once more
//	6. asks, before the next call
//	   and before it notes what
//	   became of this one: no
//
// So whoever is stopped makes one call too many at most, and what a CDN is told
// twice does no harm. What it would note is refused, since the order is
// another's by then.

// vacant reports that a member should stand as the caller: there is none, and
// nobody can be one any more from before the incarnation.
func vacant(v View) bool { return v.Settled && v.Caller == "" }

// calls reports that a member is the caller, by a view of the fleet.
func calls(v View, id string) bool { return id != "" && v.Caller == id }

// attend does what is everybody's business: it takes off members whose lease has
// ended, settles an incarnation, and sees to it that there is a caller.
func (m *Member) attend(ctx context.Context, t ticket, v View) {
	now := time.Now()
	for _, gone := range m.others.observe(v, m.id, m.lease, now) {
		if off, err := m.board.evict(ctx, v.Incarnation, gone); err == nil && off {
			m.report(Event{Kind: Evicted, Member: gone.Name + " " + gone.ID})
		}
	}
	if !v.Settled && settles(m.since.since, now, m.lease) {
		// What fails is done again with the next renewal.
		_ = m.board.settle(ctx, v.Incarnation)
	}
	if vacant(v) {
		m.stand(ctx, t)
	}
	m.muster(ctx, now)
}

// stand makes this member the caller, if nobody was faster.
func (m *Member) stand(ctx context.Context, t ticket) {
	v, err := m.board.lead(ctx, t, m.node.Generation())
	if err != nil {
		return // the next renewal tells what is wrong
	}
	m.saw(v, time.Now())
	if calls(v, m.id) {
		m.report(Event{Kind: Calling, Member: m.name, Token: v.Token})
	}
}

// Token is this node's as the caller, false while another is. Only Calling
// knows whether it still counts.
func (m *Member) Token() (uint64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.view.Token, calls(m.view, m.id) && m.grant.Load().left(time.Now()) > 0
}

// Calling asks whether this node is the caller, and this token the one that
// counts. What is left of the target's limits goes along, for the next caller.
func (m *Member) Calling(ctx context.Context, token uint64, target string, left []byte) (bool, error) {
	return m.board.calling(ctx, m.id, token, target, left)
}

// Lease is how long the others wait for a member that says nothing.
func (m *Member) Lease() time.Duration { return m.lease }
