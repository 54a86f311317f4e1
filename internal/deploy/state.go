package deploy

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is how far a rollout is.
type State struct {
	// On says that a version other than the current one is live, or was since
	// the replicas last agreed.
	On bool `json:"on"`
	// From is the current version.
	From string `json:"from,omitempty"`
	// To is the other version that appeared last.
	To string `json:"to,omitempty"`
	// Since is when the first other version appeared.
	Since time.Time `json:"since,omitzero"`
	// Replicas counts the live replicas of each known version.
	Replicas map[string]int `json:"replicas,omitempty"`
	// Unknown counts those that report none.
	Unknown int `json:"unknown,omitempty"`
}

// Status is all that a person may want to see.
type Status struct {
	// Tracking is false when no replica reports a version.
	Tracking bool `json:"tracking"`
	// Current is the version whose answers may be stored.
	Current string `json:"current,omitempty"`
	// Since is when it became current.
	Since   time.Time `json:"since,omitzero"`
	Rollout State     `json:"rollout"`
	// Replicas are those last seen, by ID.
	Replicas []Replica `json:"replicas"`
}

// Rollout says how far a rollout is. The counts are of the replicas last seen,
// whether a rollout is on or not.
func (t *Tracker) Rollout() State {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return t.rolloutLocked()
}

func (t *Tracker) rolloutLocked() State {
	state := State{From: t.currentLocked()}
	state.Replicas, state.Unknown = count(t.live)
	if t.onLocked() && len(t.seen) > 0 {
		state.On, state.To, state.Since = true, t.seen[len(t.seen)-1], t.began
	}
	return state
}

// Status is a copy that the caller may keep.
func (t *Tracker) Status() Status {
	t.mu.RLock()
	defer t.mu.RUnlock()

	status := Status{
		Tracking: t.onLocked(), Current: t.currentLocked(), Rollout: t.rolloutLocked(),
		Replicas: append([]Replica{}, t.live...),
	}
	if status.Current != "" {
		status.Since = t.since
	}
	return status
}

// Snapshot is what a restart must not forget.
type Snapshot struct {
	Current string    `json:"current,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Began   time.Time `json:"began,omitzero"`
	Seen    []string  `json:"seen,omitempty"`
	// Word is what a purge has said last, Heard are the purges that were heard
	// of, and NotStored the versions that they have retired.
	Word      Word     `json:"word,omitzero"`
	Heard     []string `json:"heard,omitempty"`
	NotStored []string `json:"not_stored,omitempty"`
}

// Snapshot is a copy that the caller may keep. Replicas are not part of it:
// the next observation says what they run.
func (t *Tracker) Snapshot() Snapshot {
	t.mu.RLock()
	defer t.mu.RUnlock()

	word := t.last
	word.Retired = slices.Clone(word.Retired)
	return Snapshot{
		Current: t.current, Since: t.since, Began: t.began, Seen: slices.Clone(t.seen),
		Word: word, Heard: slices.Clone(t.heard), NotStored: slices.Clone(t.retired),
	}
}

// Restore puts a tracker into the state of a snapshot. It is for a tracker that
// has observed nothing yet; a snapshot that contradicts itself is refused and
// changes nothing.
func (t *Tracker) Restore(s Snapshot) error {
	var errs []error
	if slices.Contains(s.Seen, "") || s.Current != "" && slices.Contains(s.Seen, s.Current) {
		errs = append(errs, fmt.Errorf("seen %q: want versions other than none and than the current one, %q", s.Seen, s.Current))
	}
	if (len(s.Seen) > 0) == s.Began.IsZero() {
		errs = append(errs, fmt.Errorf("began %s with seen %q: want both or neither", s.Began, s.Seen))
	}
	if len(errs) > 0 {
		return fmt.Errorf("restore versions: %w", errors.Join(errs...))
	}
	t.mu.Lock()
	defer t.mu.Unlock()

	t.current, t.since, t.began = s.Current, s.Since, s.Began
	t.seen = slices.Clone(s.Seen[max(0, len(s.Seen)-maxSeen):])
	t.off, t.live = false, nil
	t.last, t.told = s.Word, time.Time{}
	t.last.Retired = slices.Clone(s.Word.Retired)
	t.heard = slices.Clone(s.Heard[max(0, len(s.Heard)-maxHeard):])
	t.retired = slices.Clone(s.NotStored[max(0, len(s.NotStored)-maxSeen):])
	return nil
}
