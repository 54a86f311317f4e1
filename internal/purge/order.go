// Package purge removes copies of responses everywhere that may hold them: this
// node, the fleet, the CDN. An order is journaled before it is accepted, each
// of its steps after that step's effect, so that a crash repeats at most one
// step, and every step may be repeated.
//
// The engine reports through one optional function, Event; it logs nothing.
package purge

import (
	"errors"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Errors that callers branch on.
var (
	// ErrNoSelector: the order names nothing. It never means everything.
	ErrNoSelector = errors.New("no selector: want at least one of url, tag, prefix, host, version, or everything")
	// ErrConflict: the idempotency key was used before, with another body.
	ErrConflict = errors.New("idempotency key was used for another order: want a new key")
	// ErrJournal: the order could not be made durable. Nothing was applied.
	ErrJournal = errors.New("purge journal does not accept writes: nothing was purged")
	// ErrBusy: too many orders are pending. Nothing was applied.
	ErrBusy = errors.New("too many purges pending: nothing was purged")
	// ErrUnknown: no order has this id.
	ErrUnknown = errors.New("no such purge")
	// ErrFinished: the order cannot be cancelled any more.
	ErrFinished = errors.New("purge is finished")
	// ErrClosed: the coordinator was closed.
	ErrClosed = errors.New("purge coordinator is closed")
)

// Order says what to purge and how. Submit fills in ID and Created, and
// Deadline when it is zero.
type Order struct {
	// ID names the order; the coordinator assigns it.
	ID string `json:"id,omitempty"`
	// IdempotencyKey makes a repeated submission give the first one's record
	// for 24 hours. Empty: every submission is a new order. At most 255 bytes.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	Selectors
	// Soft marks copies stale, to be kept as validators and for
	// stale-if-error, where hard purging removes them.
	Soft bool `json:"soft,omitempty"`
	// Expect is the version that every replica must report before anything is
	// purged. Empty: no gate.
	Expect string `json:"expect,omitempty"`
	// Verify lists URLs to be fetched afterwards, until they show the new
	// state. At most 100.
	Verify []string `json:"verify,omitempty"`
	// Warm lists URLs to be fetched when all is purged: through the CDN, and at
	// this node. At most 1000.
	Warm []string `json:"warm,omitempty"`
	// Hottest is how many of the copies that a soft purge has made stale are
	// fetched anew at once, the most wanted first. Submit fills it in.
	Hottest int `json:"hottest,omitempty"`
	// Rollout says which pool has given up the versions, and for which one: from
	// then on no node stores their answers. Nil for an order that no deploy gave.
	Rollout *RolledOut `json:"rollout,omitempty"`
	// Follows is the ID of an order that has purged the same everywhere, or of a deploy
	// with nothing to purge: this one leaves the targets alone, and only warms.
	Follows string `json:"follows,omitempty"`
	// Reason and Actor are for people; they change nothing.
	Reason string `json:"reason,omitempty"`
	Actor  string `json:"actor,omitempty"`
	// Node is the node of a fleet that accepted the order; empty for a node alone.
	Node string `json:"node,omitempty"`
	// Traceparent is the trace of the call that gave the order (W3C Trace
	// Context), below which the purge's spans stand. It changes nothing.
	Traceparent string `json:"traceparent,omitempty"`
	// Created is when the order was accepted.
	Created time.Time `json:"created,omitzero"`
	// Deadline is when retrying ends. Default and bound: see Settings.
	Deadline time.Time `json:"deadline,omitzero"`
	// DryRun plans the order, and neither journals nor applies it.
	DryRun bool `json:"dry_run,omitempty"`
}

// RolledOut is a pool and the version that it runs now.
type RolledOut struct {
	Pool string `json:"pool"`
	To   string `json:"to"`
}

// State is how far an order has come.
type State string

// States of an order and of a target. An order in one of the last four changes
// no more.
const (
	Accepted State = "accepted" // durable, nothing applied yet
	Running  State = "running"  // at least one step was applied
	Planned  State = "planned"  // a dry run
	Done     State = "done"     // every step and target succeeded
	Partial  State = "partial"  // this node is purged, something else is not
	Failed   State = "failed"   // nothing was purged
	Canceled State = "canceled" // by Cancel; what was applied before stays so
)

// Final reports whether an order in this state changes no more.
func (s State) Final() bool {
	return s == Done || s == Partial || s == Failed || s == Canceled || s == Planned
}

// StepName names a step of an order.
type StepName string

// The steps, inner copies before outer ones. Every shorter sequence can leave
// an old copy behind; the second pass at the targets removes what travelled
// from one tier of a CDN to the next while the first pass ran.
const (
	StepGate         StepName = "gate"
	StepGeneration   StepName = "generation"
	StepNode         StepName = "node"
	StepFleet        StepName = "fleet"
	StepDrain        StepName = "drain"
	StepTargets      StepName = "targets"
	StepSettle       StepName = "settle"
	StepTargetsAgain StepName = "targets_again"
	StepVerify       StepName = "verify"
	StepWarm         StepName = "warm"
)

// Step is one applied step.
type Step struct {
	Name     StepName  `json:"name"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Detail says what is worth knowing: how many exchanges were left when
	// draining was capped, how many nodes acknowledged.
	Detail string `json:"detail,omitempty"`
}

// Kind classes a target's error by what the caller can do about it.
type Kind string

// Kinds of target errors.
const (
	RateLimited Kind = "rate_limited" // wait longer
	NotAllowed  Kind = "not_allowed"  // fix the token or its permissions
	Refused     Kind = "refused"      // fix the order or the configuration
	Unreachable Kind = "unreachable"  // network, time-out, 5xx, unreadable answer
	Expired     Kind = "expired"      // the deadline passed first
)

// TargetError is a target's answer to an attempt that did not succeed. It
// never holds a secret.
type TargetError struct {
	Kind Kind `json:"kind"`
	// HTTP is the status, 0 when there was no answer.
	HTTP int `json:"http,omitempty"`
	// Code is the target's own error code, 0 when it gave none.
	Code    int    `json:"code,omitempty"`
	Message string `json:"message"`
}

// TargetState is how far one target has come.
type TargetState struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Batches and Items count what the target accepted, over both passes.
	Batches int `json:"batches"`
	Items   int `json:"items"`
	// Attempts counts calls, the refused ones too.
	Attempts int `json:"attempts"`
	// RateLimited is the time spent waiting for the target's rate limits.
	RateLimited unit.Duration `json:"rate_limited"`
	// Note says what the target did otherwise than ordered, such as purging
	// where it could not invalidate.
	Note string `json:"note,omitempty"`
	// Cost is what a dry run would draw on the target's limits.
	Cost *Cost `json:"cost,omitempty"`
	// Error is the last attempt's, nil after one that succeeded.
	Error *TargetError `json:"error,omitempty"`
}

// Verification is what one URL showed when the order was verified.
type Verification struct {
	URL     string `json:"url"`
	OK      bool   `json:"ok"`
	Status  int    `json:"status,omitempty"`
	Version string `json:"version,omitempty"`
	// Cache is the CDN's cache status, such as HIT or MISS.
	Cache string        `json:"cache,omitempty"`
	Age   unit.Duration `json:"age,omitempty"`
	Error string        `json:"error,omitempty"`
}

// Record is an order and what became of it. Records are values: nobody changes
// one that has been handed out.
type Record struct {
	Order
	// Generation that the purge raised; 0 before that step.
	Generation uint64         `json:"generation,omitempty"`
	State      State          `json:"state"`
	Steps      []Step         `json:"steps"`
	Targets    []TargetState  `json:"targets"`
	Verified   []Verification `json:"verified,omitempty"`
	Warmed     []Warmed       `json:"warmed,omitempty"`
	// Takes is how long a dry run's order would take from its first call of a
	// target to its last, if nothing has to be tried again.
	Takes unit.Duration `json:"takes,omitempty"`
	// Error says why the order failed or is partial, when no target does.
	Error string `json:"error,omitempty"`
	// Exit is ExitCode of the record.
	Exit     int       `json:"exit"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// Did reports whether the step was applied.
func (r Record) Did(name StepName) bool {
	return slices.ContainsFunc(r.Steps, func(s Step) bool { return s.Name == name })
}
