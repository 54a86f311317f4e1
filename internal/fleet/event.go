package fleet

import "time"

// Kind names what happened.
type Kind string

// Kinds of events.
const (
	Joined    Kind = "joined"    // this node is a member and has caught up
	CutOff    Kind = "cut_off"   // this node's lease has ended: it uses nothing that it holds
	Trusted   Kind = "trusted"   // after CutOff: it does again
	Removed   Kind = "removed"   // this node was taken off by the others
	Evicted   Kind = "evicted"   // Member was taken off by this node
	Lost      Kind = "lost"      // Redis has lost what it knew
	Overtaken Kind = "overtaken" // orders were missed: everything here was given up
	Fault     Kind = "fault"     // Redis does not answer, or an order cannot be applied; Err says why
	Recovered Kind = "recovered" // after a Fault
	Calling   Kind = "calling"   // this node calls CDNs for the fleet from now on, with Token
)

// Event is something that a person or a counter may want to know.
type Event struct {
	Kind Kind
	// Member is its name and ID.
	Member string
	// For is how long the state before has lasted.
	For time.Duration
	// Token is what a Calling node has.
	Token uint64
	Err   error
}
