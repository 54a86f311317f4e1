package fleet

import (
	"context"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Status is the fleet as this node sees it.
type Status struct {
	// Node is this node's name, ID the one of this process.
	Node string `json:"node"`
	ID   string `json:"id"`
	// Trusted: this node uses what it holds.
	Trusted bool `json:"trusted"`
	// Left is how much of the lease is left, less what is kept for clocks that
	// run unequally.
	Left unit.Duration `json:"left"`
	// Position is that of the newest order, as far as this node knows; Lag is
	// how many of them it has not applied yet.
	Position uint64 `json:"position"`
	Lag      uint64 `json:"lag"`
	// Acknowledged is the position up to which every member has applied all.
	Acknowledged uint64 `json:"acknowledged"`
	Settled      bool   `json:"settled"`
	Generation   uint64 `json:"generation"`
	// Caller is the name of the node that calls CDNs for the fleet, "" while none
	// does; Token is the highest that was given to one.
	Caller string `json:"caller,omitempty"`
	Token  uint64 `json:"token,omitempty"`
	// Calls: this node does.
	Calls bool `json:"calls,omitempty"`
	// Seen is when the others were last heard of.
	Seen    time.Time      `json:"seen,omitzero"`
	Members []MemberStatus `json:"members"`
	// Fault says what does not work, "" for nothing.
	Fault string `json:"fault,omitempty"`
}

// MemberStatus is one member.
type MemberStatus struct {
	Node    string `json:"node"`
	ID      string `json:"id"`
	Self    bool   `json:"self,omitempty"`
	Caller  bool   `json:"caller,omitempty"`
	Applied uint64 `json:"applied"`
	Drained uint64 `json:"drained"`
}

// Time asks Redis what its clock says, which also tells how it answers.
func (m *Member) Time(ctx context.Context) (time.Time, error) { return m.clock(ctx) }

// Status is what is known now; it waits for nobody.
func (m *Member) Status() Status {
	left := max(0, m.grant.Load().left(time.Now()))
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Status{
		Node: m.name, ID: m.id, Trusted: left > 0, Left: unit.Duration(left.Round(time.Millisecond)),
		Position: max(m.view.Position, m.applied), Settled: m.view.Settled, Generation: m.view.Generation,
		Token: m.view.Token, Calls: calls(m.view, m.id) && left > 0, Seen: m.viewed, Members: []MemberStatus{},
	}
	s.Lag, s.Acknowledged = s.Position-m.applied, s.Position
	for _, one := range m.view.Members {
		s.Members = append(s.Members, MemberStatus{
			Node: one.Name, ID: one.ID, Self: one.ID == m.id, Caller: calls(m.view, one.ID), Applied: one.Applied, Drained: one.Drained,
		})
		s.Acknowledged = min(s.Acknowledged, one.Applied)
		if calls(m.view, one.ID) {
			s.Caller = one.Name
		}
	}
	if m.fault != nil {
		s.Fault = m.fault.Error()
	}
	return s
}
