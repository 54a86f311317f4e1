package deploy

import "time"

// Outcome is what became of a purge, so far.
type Outcome struct {
	// Lost says that nobody knows of it any more: it has to be ordered anew.
	Lost bool
	// Final says that it changes no more.
	Final bool
	// State is done, partial, failed or canceled.
	State string
	Exit  int
	Error string
}

// Ordered says which order purges what a deploy has retired.
func (b *Book) Ordered(deploy, purge string) {
	b.mu.Lock()
	if e := b.findLocked(deploy); e != nil && e.Stage == Purging {
		e.Purge = purge
		b.moveLocked(e, Purging, EventCurrent)
	}
	b.mu.Unlock()
	b.settle()
}

// Purged says what has become of a deploy's purge.
func (b *Book) Purged(now time.Time, deploy string, o Outcome) {
	b.mu.Lock()
	if e := b.findLocked(deploy); e != nil && e.Stage == Purging {
		switch e.Exit = o.Exit; {
		case o.Lost:
			e.Purge, e.After, e.Exit = "", "lost "+e.Purge, exitPartial
			b.moveLocked(e, Purging, EventCurrent)
		case o.Final:
			b.finishLocked(e, now, stageOf(o), o.Error)
		}
	}
	b.mu.Unlock()
	b.settle()
}

func stageOf(o Outcome) Stage {
	switch o.State {
	case "done":
		return Done
	case "canceled":
		return Canceled
	}
	return Partial
}
