package deploy

import (
	"slices"
	"time"
)

const (
	// maxHeard is how many purges of a pool are remembered as heard of.
	maxHeard = 32
	// doubtFor is how long all replicas have to run a version that a purge has
	// retired before it is believed to be back.
	doubtFor = time.Minute
)

// Word is what a purge says of the versions of a pool: the node that ordered it
// has seen the last replica of the retired ones go.
//
// The nodes of a fleet notice that one after the other, and one purge has to do
// for all. What makes it safe is that a node which hears the word stores no more
// answers of the retired versions, though it may still see their replicas:
//
//	node A                            node B
//	1. notices, orders the purge
//	                                  2. asks an old replica, at the old
//	                                     generation: kept from being stored by
//	                                     the fence
//	                                  3. hears the word, and then applies the
//	                                     purge
//	                                  4. asks an old replica, at the new
//	                                     generation: not storable
//	                                  5. notices: there is nothing to purge
type Word struct {
	// ID is the purge's.
	ID string `json:"id"`
	// Generation is the one that the purge raised. The word with the highest is
	// the last one.
	Generation uint64 `json:"generation"`
	// To is the version that is current for the node that ordered the purge.
	To string `json:"to"`
	// Retired are the versions that the purge removes.
	Retired []string `json:"retired"`
}

// Hear takes in the word of a purge, before what it names is purged. It reports
// whether that was new.
func (t *Tracker) Hear(now time.Time, w Word) bool {
	t.mu.Lock()
	defer t.mu.Unlock()

	if slices.Contains(t.heard, w.ID) {
		return false
	}
	t.heard = append(t.heard, w.ID)
	t.heard = t.heard[max(0, len(t.heard)-maxHeard):]
	if w.Generation >= t.last.Generation {
		w.Retired = slices.Clone(w.Retired)
		t.last, t.told = w, now
	}
	t.retired = with(t.retired, w.Retired)
	t.retired = slices.DeleteFunc(t.retired, func(v string) bool { return v == t.last.To })
	t.retired = t.retired[max(0, len(t.retired)-maxSeen):]
	return true
}

// Heard reports whether the word of a purge was heard.
func (t *Tracker) Heard(id string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return slices.Contains(t.heard, id)
}

// word is the last one, the zero value when there was none.
func (t *Tracker) word() Word {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return t.last
}

// doubts reports that the current version is one that a purge has retired.
func (t *Tracker) doubts() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return t.doubtsLocked()
}

func (t *Tracker) doubtsLocked() bool { return slices.Contains(t.retired, t.current) }

// insistLocked is for replicas that all run the current version, which a purge has
// retired. The node that ordered the purge saw others, and may be gone: in time,
// what is seen here counts, and the word of that is told to the fleet in turn.
func (t *Tracker) insistLocked(now time.Time) (Change, bool) {
	if !t.doubtsLocked() || t.last.To == "" || t.last.To == t.current {
		return Change{}, false
	}
	if t.told.IsZero() {
		t.told = now // heard by an earlier process
	}
	if now.Sub(t.told) < doubtFor {
		return Change{}, false
	}
	t.told = now
	t.began, t.seen = time.Time{}, nil
	return Change{Kind: Finished, Current: t.current, Retired: []string{t.last.To}}, true
}

// Hear takes in the word of a purge about a pool, which need not be adopted yet,
// and makes it durable; see Tracker.Hear.
func (b *Book) Hear(now time.Time, pool string, w Word) {
	b.mu.Lock()
	fresh := false
	if known := b.pools[pool]; known != nil {
		fresh = known.tracker.Hear(now, w)
	} else {
		t := new(Tracker)
		// Only what was restored before is there, and nil is as good as none.
		_ = t.Restore(b.restored[pool])
		if fresh = t.Hear(now, w); fresh {
			b.restored[pool] = t.Snapshot()
		}
	}
	b.mu.Unlock()
	if !fresh {
		return
	}
	// What cannot be saved is known to this process; the next one purges anew what
	// it has not heard of.
	if err := b.persist(); err != nil {
		b.event(Event{Kind: EventJournal, Err: err})
	}
}

// shares gives the purge that another node has ordered for what a deploy retires,
// "" when this node has to order one. It was heard of: nothing that it names was
// stored here since.
func (l *look) shares(e *entry) string {
	word := l.pool.tracker.word()
	if word.To != e.Version {
		return ""
	}
	for _, version := range e.Retired {
		if !slices.Contains(word.Retired, version) {
			return ""
		}
	}
	for _, other := range l.mine() {
		// A purge of this node that is on its way may say something else.
		if other != e && other.Stage == Purging && !l.pool.tracker.Heard(other.Purge) {
			return ""
		}
	}
	return word.ID
}
