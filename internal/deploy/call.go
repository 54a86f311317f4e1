package deploy

import (
	"fmt"
	"slices"
	"time"
)

// Call is what somebody says who waits for a version.
type Call struct {
	Pool    string
	Version string
	// Retire are versions to be purged besides those that edge has seen.
	Retire []string
	// Timeout is how long the replicas may take to run the version.
	Timeout time.Duration
	// Warm are URLs to be fetched when what the version retires is purged.
	Warm   []string
	Reason string
	Actor  string
	// IdempotencyKey makes a repeated call give the same deploy for 24 hours.
	IdempotencyKey string
	// DespiteGuard lets the version become current though the guard found it
	// worse, or finds it so later.
	DespiteGuard bool
	// DryRun says what would be purged, and does nothing.
	DryRun bool
}

// Call takes a call for a pool that was adopted; a look at the pool has to
// follow. It joins the deploy of the version that is under way, and is answered
// with the one that is done already, without another purge. When it returns
// without an error, it is durable. Errors: ErrConflict, ErrJournal, ErrBusy.
func (b *Book) Call(now time.Time, c Call) (Record, error) {
	b.mu.Lock()
	if c.DryRun {
		defer b.mu.Unlock()
		return b.planLocked(now, c), nil
	}
	e, fresh, err := b.callLocked(now, c)
	if err != nil {
		b.mu.Unlock()
		return Record{}, err
	}
	news := b.news
	b.news = nil
	r := e.copied()
	b.mu.Unlock()
	if err := b.persist(); err != nil {
		if fresh {
			b.remove(e)
		}
		b.event(Event{Kind: EventJournal, Err: err})
		return Record{}, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	for _, e := range news {
		b.event(e)
	}
	return r, nil
}

// remove forgets a call that could not be made durable.
func (b *Book) remove(e *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entries = slices.DeleteFunc(b.entries, func(other *entry) bool { return other == e })
}

func (b *Book) callLocked(now time.Time, c Call) (e *entry, fresh bool, err error) {
	open := 0
	for _, e := range b.entries {
		if c.IdempotencyKey != "" && e.IdempotencyKey == c.IdempotencyKey && now.Sub(e.Created) < keyLifetime {
			if e.Pool != c.Pool || e.Version != c.Version {
				return nil, false, ErrConflict
			}
			return e, false, nil
		}
		if e.open() && e.called() {
			open++
		}
	}
	if e := b.underWayLocked(c); e != nil {
		if e.Stage == Held && !c.DespiteGuard {
			return b.refuseLocked(e, now, c), true, nil
		}
		if e.open() || !e.called() {
			b.joinLocked(e, now, c)
		}
		return e, false, nil
	}
	if open >= maxOpen {
		return nil, false, fmt.Errorf("%w: %d", ErrBusy, open)
	}
	record := Record{
		ID: newID(now), Pool: c.Pool, Version: c.Version, Previous: b.currentLocked(c.Pool), Stage: Waiting,
		Created: now, Deadline: now.Add(c.Timeout), Actor: c.Actor, Reason: c.Reason, Retire: c.Retire, IdempotencyKey: c.IdempotencyKey,
		DespiteGuard: c.DespiteGuard, Warm: c.Warm,
	}
	if last := b.lastLocked(c); last != nil {
		record.Previous = last.Previous
		record.Retire = slices.Concat(record.Retire, last.Retired) // not purged whole, or not all of it
	}
	if record.Previous == c.Version {
		record.Previous = ""
	}
	e = b.insertLocked(record)
	b.moveLocked(e, Waiting, EventCalled)
	return e, true, nil
}

// refuseLocked answers a call for a version that is held back.
func (b *Book) refuseLocked(held *entry, now time.Time, c Call) *entry {
	e := b.insertLocked(Record{
		ID: newID(now), Pool: c.Pool, Version: c.Version, Previous: held.Previous, Stage: Waiting, Created: now, Guard: held.Guard,
		Actor: c.Actor, Reason: c.Reason, IdempotencyKey: c.IdempotencyKey,
	})
	b.finishLocked(e, now, Refused, held.Error)
	return e
}

// underWayLocked is the deploy that the call is about, if there is one: it is
// not done yet, or has purged all that the call wants purged.
func (b *Book) underWayLocked(c Call) *entry {
	for _, e := range slices.Backward(b.entries) {
		if e.Pool == c.Pool && e.Version == c.Version && e.open() {
			return e
		}
	}
	e := b.lastLocked(c)
	if e == nil || e.Stage != Purging && e.Stage != Done {
		return nil
	}
	for _, version := range c.Retire {
		if version != c.Version && !slices.Contains(e.Retired, version) {
			return nil
		}
	}
	return e
}

// lastLocked is the deploy that made the call's version current, if it still is
// and no rollout is on.
func (b *Book) lastLocked(c Call) *entry {
	pool := b.pools[c.Pool]
	if pool == nil || pool.tracker.Current() != c.Version || pool.tracker.Rollout().On {
		return nil
	}
	for _, e := range slices.Backward(b.entries) {
		if e.Pool == c.Pool && !e.Current.IsZero() {
			if e.Version == c.Version {
				return e
			}
			return nil
		}
	}
	return nil
}

// joinLocked makes a deploy that is under way the caller's too.
func (b *Book) joinLocked(e *entry, now time.Time, c Call) {
	if !e.called() {
		e.Actor = c.Actor
	}
	if e.Reason == "" {
		e.Reason = c.Reason
	}
	if e.IdempotencyKey == "" {
		e.IdempotencyKey = c.IdempotencyKey
	}
	if e.open() {
		if e.DespiteGuard = e.DespiteGuard || c.DespiteGuard; e.Stage == Held {
			e.Stage, e.Error = Rolling, ""
		}
		if until := now.Add(c.Timeout); until.After(e.Deadline) {
			e.Deadline = until
		}
		e.Retire = with(e.Retire, c.Retire)
		e.Warm = with(e.Warm, c.Warm)
	}
	b.moveLocked(e, e.Stage, EventCalled)
}

// with is a list with what it lacks of another.
func with(list, more []string) []string {
	for _, one := range more {
		if !slices.Contains(list, one) {
			list = append(list, one)
		}
	}
	return list
}

func (b *Book) currentLocked(pool string) string {
	if known := b.pools[pool]; known != nil {
		return known.tracker.Current()
	}
	return ""
}

// planLocked says what a call would purge, were the rollout over now.
func (b *Book) planLocked(now time.Time, c Call) Record {
	r := Record{
		Pool: c.Pool, Version: c.Version, Stage: Planned, Actor: c.Actor, Reason: c.Reason, Created: now, Retire: c.Retire,
		Previous: b.currentLocked(c.Pool),
	}
	retired := slices.Clone(c.Retire)
	pool := b.pools[c.Pool]
	if pool == nil {
		return r
	}
	r.Behind = Behind(pool.replicas, c.Version)
	if e := b.underWayLocked(c); e != nil && e.Stage == Done {
		r.Retired, r.Purge = slices.Clone(e.Retired), e.Purge
		r.Note = fmt.Sprintf("%s is current since %s and what it retired is purged: nothing would be done", c.Version, e.Current.UTC().Format(time.RFC3339))
		return r
	}
	snapshot := pool.tracker.Snapshot()
	retired = append(append(retired, snapshot.Seen...), snapshot.Current, r.Previous)
	slices.Sort(retired)
	r.Retired = slices.DeleteFunc(slices.Compact(retired), func(v string) bool { return v == c.Version || v == "" })
	return r
}

// Cancel withdraws a call. Nothing is purged for it then; if the replicas go
// over to the version all the same, edge notices, and purges what that retires.
// Once the purge is ordered, it is the purge that has to be cancelled: its id is
// returned. Errors: ErrUnknown, ErrFinished.
func (b *Book) Cancel(now time.Time, id string) (purge string, err error) {
	b.mu.Lock()
	e := b.findLocked(id)
	switch {
	case e == nil:
		err = ErrUnknown
	case e.Stage == Purging && e.Purge != "":
		purge = e.Purge
	case !e.open() || !e.called():
		err = ErrFinished
	default:
		b.finishLocked(e, now, Canceled, "by a caller: nothing was purged")
	}
	b.mu.Unlock()
	b.settle()
	return purge, err
}
