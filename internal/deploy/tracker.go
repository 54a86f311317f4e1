// Package deploy follows which version of the application is the current one
// while replicas of old and new versions come and go.
package deploy

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxSeen bounds the versions of one rollout; the oldest are forgotten.
	// Nothing of theirs was stored, since they never became current.
	maxSeen = 100
)

// Replica is a live replica and the version that it reports; "" is unknown.
type Replica struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
	// Name is what people know it by.
	Name string `json:"name,omitempty"`
	// State is up, sick, draining or joining.
	State string `json:"state,omitempty"`
	// Fresh: it has not passed a check yet, so that nothing is known of it.
	Fresh bool `json:"-"`
	// Requests and Failures are what its process was asked, and what of that
	// failed, since it began.
	Requests int64 `json:"-"`
	Failures int64 `json:"-"`
}

// Kind says what an observation changed.
type Kind string

const (
	// Unchanged: nothing that anybody has to act on.
	Unchanged Kind = ""
	// First: the replicas agree for the first time ever.
	First Kind = "first"
	// Began: a version other than the current one appeared.
	Began Kind = "began"
	// Finished: the replicas agree on another version, which is current now.
	Finished Kind = "finished"
	// Abandoned: a rollout ended with the version current with which it began.
	Abandoned Kind = "abandoned"
)

// Change is what an observation changed.
type Change struct {
	Kind Kind
	// Current is the version that is current from now on; "" when none is.
	Current string
	// Retired are the versions to purge, sorted: the one that was current, and
	// those that came and went on the way to the new one. Empty unless Kind is
	// Finished, or First with several versions at the start.
	Retired []string
}

// Tracker follows the versions of one pool. The zero value is ready, and is
// off: it takes every version for current until replicas report one. It is
// safe for concurrent use.
type Tracker struct {
	mu sync.RWMutex

	// current is the version that all replicas ran when last they agreed; it
	// is remembered while tracking is off.
	current string
	since   time.Time
	off     bool // the replicas last seen report no version
	live    []Replica
	// began and seen are about the rollout that is on: when the first version
	// other than current appeared, and all that did, in that order.
	began time.Time
	seen  []string
	held  string // a version that does not become current yet

	// These are what purges have said: see Word.
	last    Word
	told    time.Time // when the last word was heard; zero if an earlier process did
	heard   []string  // purges, the oldest first
	retired []string  // versions that are not stored, though one may be current
}

// Hold keeps a version from becoming current though all replicas run it: the
// rollout stays on, until Hold is called with another version, or with none. It
// takes effect with the next observation.
func (t *Tracker) Hold(version string) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.held = version
}

// Observe takes in the replicas that are live at a moment, and is to be called
// whenever they or their versions change; calling it more often does no harm.
//
// One version reported by all of them is an agreement and makes that version
// current. Until then, the old one stays current; an unknown version next to
// known ones might be the old one still and prevents agreement. If no replica
// reports a version, tracking is off. No replicas at all is no news.
//
// A caller that persists snapshots does so after it has journaled the purge of
// Change.Retired: a crash in between then leads to the same change again.
func (t *Tracker) Observe(now time.Time, live []Replica) Change {
	t.mu.Lock()
	defer t.mu.Unlock()

	if len(live) == 0 {
		return Change{Current: t.currentLocked()}
	}
	t.live = slices.SortedFunc(slices.Values(live), func(a, b Replica) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Version, b.Version))
	})
	versions, unknown := count(live)
	t.off = len(versions) == 0
	if t.off {
		return Change{}
	}
	began := t.noteLocked(now, slices.Sorted(maps.Keys(versions)))
	switch agreed := len(versions) == 1 && unknown == 0; {
	case agreed && versions[t.current] > 0:
		if change, insists := t.insistLocked(now); insists {
			return change
		}
		return t.settleLocked()
	case agreed && live[0].Version != t.held:
		return t.finishLocked(now, live[0].Version)
	case began:
		return Change{Kind: Began, Current: t.current}
	}
	return Change{Current: t.current}
}

// count counts the replicas of each known version, and those of none.
func count(live []Replica) (versions map[string]int, unknown int) {
	versions = make(map[string]int)
	for _, replica := range live {
		if replica.Version == "" {
			unknown++
			continue
		}
		versions[replica.Version]++
	}
	return versions, unknown
}

// noteLocked remembers the versions other than the current one. It reports
// whether a rollout began with them.
func (t *Tracker) noteLocked(now time.Time, versions []string) (began bool) {
	for _, version := range versions {
		if version == t.current || slices.Contains(t.seen, version) {
			continue
		}
		if len(t.seen) == 0 {
			t.began, began = now, true
		}
		t.seen = append(t.seen, version)
		t.seen = t.seen[max(0, len(t.seen)-maxSeen):]
	}
	return began
}

// settleLocked ends a rollout, if one is on, that changed nothing. Answers of
// its versions were never stored, so none are retired.
func (t *Tracker) settleLocked() Change {
	if len(t.seen) == 0 {
		return Change{Current: t.current}
	}
	t.began, t.seen = time.Time{}, nil
	return Change{Kind: Abandoned, Current: t.current}
}

func (t *Tracker) finishLocked(now time.Time, version string) Change {
	change := Change{Kind: Finished, Current: version}
	retired := slices.Clone(t.seen)
	if t.current == "" {
		change.Kind = First
	} else {
		retired = append(retired, t.current)
	}
	retired = slices.DeleteFunc(retired, func(v string) bool { return v == version })
	slices.Sort(retired)
	change.Retired = slices.Compact(retired)
	t.current, t.since = version, now
	t.began, t.seen = time.Time{}, nil
	return change
}

// Current is the version whose answers may be stored; "" while tracking is off
// or before the replicas first agreed.
func (t *Tracker) Current() string {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return t.currentLocked()
}

func (t *Tracker) currentLocked() string {
	if t.off {
		return ""
	}
	return t.current
}

// Storable reports whether an answer of the version may be stored: it is the
// current one, or tracking is off, and no purge has retired it. While it is on, an
// unknown version may not, and before the first agreement none may.
func (t *Tracker) Storable(version string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()

	if slices.Contains(t.retired, version) {
		return false
	}
	return !t.onLocked() || version != "" && version == t.current
}

// onLocked: versions are known, from replicas or from a restored snapshot.
func (t *Tracker) onLocked() bool {
	return !t.off && (t.current != "" || len(t.seen) > 0)
}
