package purge

import "time"

// EventKind names what happened.
type EventKind string

// Kinds of events.
const (
	OrderAccepted EventKind = "accepted"
	OrderRefused  EventKind = "refused"  // Err says why; nothing was applied
	OrderResumed  EventKind = "resumed"  // after a restart
	OrderTaken    EventKind = "taken"    // over from another node
	OrderLanded   EventKind = "landed"   // accepted here, finished by another node
	OrderStep     EventKind = "step"     // Step was applied, in Took
	OrderFinished EventKind = "finished" // Took since it was accepted
	TargetRetry   EventKind = "retry"    // Target failed with Err, next attempt after Wait
	StepRetry     EventKind = "step_retry"
	JournalFault  EventKind = "journal_fault" // a write failed with Err
	JournalTorn   EventKind = "journal_torn"  // Detail says what was dropped
)

// Event is something that a person or a counter may want to know. Only the
// fields that its kind names are set, and Record where there is an order.
type Event struct {
	Kind   EventKind
	Record Record
	Step   StepName
	Target string
	Took   time.Duration
	Wait   time.Duration
	Detail string
	Err    error
}

// reporter is the optional function that takes events. It is called from the
// goroutine where they happen, without a lock held, and must not block.
type reporter func(Event)

func (report reporter) send(e Event) {
	if report != nil {
		report(e)
	}
}
