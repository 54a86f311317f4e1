package cli

import (
	"fmt"

	"github.com/edgegw/edge/internal/unit"
)

// fleetView is what the table of members shows of a status.
type fleetView struct {
	Trusted  bool          `json:"trusted"`
	Left     unit.Duration `json:"left"`
	Position uint64        `json:"position"`
	Lag      uint64        `json:"lag"`
	Settled  bool          `json:"settled"`
	Caller   string        `json:"caller"`
	Token    uint64        `json:"token"`
	Fault    string        `json:"fault"`
	Members  []struct {
		Node    string `json:"node"`
		ID      string `json:"id"`
		Self    bool   `json:"self"`
		Applied uint64 `json:"applied"`
	} `json:"members"`
}

// printFleet prints nothing for a node alone.
func printFleet(out *console, f *fleetView) {
	if f == nil {
		return
	}
	head := fmt.Sprintf("fleet: %d members, %d purges in the log, lease for %s", len(f.Members), f.Position, f.Left)
	if !f.Trusted {
		head = fmt.Sprintf("fleet: BEHIND by %d purges or more, nothing is served from the cache", f.Lag)
	}
	if !f.Settled {
		head += "; it gathers anew: purges wait for one lease"
	}
	out.say("")
	out.say("%s", head)
	if f.Caller != "" {
		out.say("  CDNs are called by %s, token %d", printable(f.Caller), f.Token)
	}
	if f.Fault != "" {
		out.say("  %s", printable(f.Fault))
	}
	rows := [][]string{{"MEMBER", "APPLIED", "BEHIND", "ID"}}
	for _, m := range f.Members {
		name := m.Node
		if m.Self {
			name += " (this)"
		}
		rows = append(rows, []string{name, fmt.Sprint(m.Applied), fmt.Sprint(f.Position - min(m.Applied, f.Position)), m.ID})
	}
	out.table(rows)
}
