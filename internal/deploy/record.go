package deploy

import (
	"errors"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Errors that callers branch on.
var (
	// ErrUnknown: no deploy has this id.
	ErrUnknown = errors.New("no such deploy")
	// ErrFinished: the deploy cannot be cancelled any more.
	ErrFinished = errors.New("deploy is finished")
	// ErrConflict: the idempotency key was used before, for another deploy.
	ErrConflict = errors.New("idempotency key was used for another deploy: want a new key")
	// ErrJournal: the call could not be made durable. It was not taken.
	ErrJournal = errors.New("deploy journal does not accept writes: the call was not taken")
	// ErrBusy: too many calls are open. It was not taken.
	ErrBusy = errors.New("too many deploys are open: the call was not taken")
)

// Stage is how far a deploy has come.
type Stage string

// Stages of a deploy. From Done on it changes no more.
const (
	Waiting  Stage = "waiting"   // called; no replica runs the version
	Rolling  Stage = "rolling"   // replicas of it are live, besides others
	Held     Stage = "held"      // noticed, and the guard found it worse: it does not become current
	Purging  Stage = "purging"   // it is current; what it retired is being purged
	Done     Stage = "done"      // it is current, what it retired is purged
	Partial  Stage = "partial"   // it is current, the purge reached not everything
	Failed   Stage = "failed"    // the replicas did not get there in time: nothing was purged
	Refused  Stage = "refused"   // the guard found it worse: nothing was purged
	Canceled Stage = "canceled"  // by a caller
	Dropped  Stage = "abandoned" // the replicas run something else: nothing was purged
	Planned  Stage = "planned"   // a dry run
)

// Final reports whether a deploy in this stage changes no more.
func (s Stage) Final() bool { return s != Waiting && s != Rolling && s != Held && s != Purging }

// Exit codes of a record; those of a purge that went wrong are the purge's.
const (
	exitDone    = 0
	exitPartial = 4
	exitGate    = 7
)

// Traffic is what replicas of one version were asked.
type Traffic struct {
	Requests int64 `json:"requests"`
	// Failures are requests without an answer, with a cut one, or with a 5xx.
	Failures int64 `json:"failures"`
}

// Record is a deploy and what became of it. Records are values: nobody changes
// one that has been handed out.
type Record struct {
	ID   string `json:"id"`
	Pool string `json:"pool"`
	// Version is what is rolled out; Previous was current before.
	Version  string `json:"version"`
	Previous string `json:"previous,omitempty"`
	Stage    Stage  `json:"state"`
	// Actor is who called; edge, if nobody did and it was noticed.
	Actor  string `json:"actor"`
	Reason string `json:"reason,omitempty"`
	// Created is when the call came, or the version was first seen.
	Created time.Time `json:"created"`
	// Began is when a replica of it was first seen.
	Began time.Time `json:"began,omitzero"`
	// Current is when it became current.
	Current time.Time `json:"current,omitzero"`
	// Finished is when the stage became final; Took is the time since Began,
	// or since Created.
	Finished time.Time     `json:"finished,omitzero"`
	Took     unit.Duration `json:"took,omitempty"`
	// Deadline is until when the replicas have to run the version. Zero: a
	// deploy that was noticed may take any time.
	Deadline time.Time `json:"deadline,omitzero"`
	// Behind are the replicas that do not run it yet, or are not healthy.
	Behind []string `json:"behind,omitempty"`
	// Retire are versions that the caller wants purged besides.
	Retire []string `json:"retire,omitempty"`
	// Warm are URLs to be fetched after the purge.
	Warm []string `json:"warm,omitempty"`
	// Retired are the versions that it put out of use.
	Retired []string `json:"retired,omitempty"`
	// Purge is the id of the order that purges them, which another node of the
	// fleet may have given.
	Purge string `json:"purge,omitempty"`
	// After is the last purge of the pool's versions that was known of before: it
	// tells this rollout from an equal one.
	After string `json:"after,omitempty"`
	// Traffic is what each version was asked from Began to Finished.
	Traffic map[string]Traffic `json:"traffic,omitempty"`
	// Guard are the ways in which the version was found to be worse than
	// Previous; DespiteGuard says that it may become current all the same.
	Guard        []Difference `json:"guard,omitempty"`
	DespiteGuard bool         `json:"despite_guard,omitempty"`
	// Plan is the purge that a dry run would order.
	Plan any `json:"plan,omitempty"`
	// Note says what is worth knowing.
	Note string `json:"note,omitempty"`
	// Error says why it is not done.
	Error string `json:"error,omitempty"`
	// Exit is the exit code of a command that would stop waiting now.
	Exit int `json:"exit"`
	// IdempotencyKey is the caller's.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// noticed is the actor of a deploy for which nobody called.
const noticed = "edge"

// called reports whether somebody waits for it.
func (r Record) called() bool { return r.Actor != noticed }

// open reports whether its version is not current yet, and may become so.
func (r Record) open() bool { return r.Stage == Waiting || r.Stage == Rolling || r.Stage == Held }

func (r Record) exit() int {
	switch {
	case r.Stage == Done, r.Stage == Planned:
		return exitDone
	case r.Purge == "" && r.Stage != Purging:
		return exitGate
	}
	return exitPartial
}

// copied is a record that shares nothing that is changed later.
func (r Record) copied() Record {
	r.Behind, r.Retire, r.Retired = slices.Clone(r.Behind), slices.Clone(r.Retire), slices.Clone(r.Retired)
	r.Warm = slices.Clone(r.Warm)
	traffic := make(map[string]Traffic, len(r.Traffic))
	for version, t := range r.Traffic {
		traffic[version] = t
	}
	if r.Traffic = traffic; len(traffic) == 0 {
		r.Traffic = nil
	}
	return r
}

// EventKind names what happened to a deploy.
type EventKind string

// Kinds of events.
const (
	EventCalled   EventKind = "called"   // somebody waits for the version
	EventBegan    EventKind = "began"    // a replica of it was seen
	EventHeld     EventKind = "held"     // the guard found it worse
	EventCurrent  EventKind = "current"  // it is current
	EventFinished EventKind = "finished" // the stage is final
	EventJournal  EventKind = "journal"  // the journal was not written or read; Err says why
)

// Event is something that a person or a counter may want to know.
type Event struct {
	Kind   EventKind
	Record Record
	Err    error
}
