// Package deploy follows which version of the application is the current one
// while replicas of old and new versions come and go.
package deploy

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// maxHistory is how many deployments are remembered: as many version tags
	// as fit into one purge request at Cloudflare.
	maxHistory = 100
	// maxSeen bounds the versions of one rollout; the oldest are forgotten.
	// Nothing of theirs was stored, since they never became current.
	maxSeen = 100
)

// Replica is a live replica and the version that it reports; "" is unknown.
type Replica struct {
	ID      string `json:"id"`
	Version string `json:"version,omitempty"`
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
	began   time.Time
	seen    []string
	history []Deployment
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
		return t.settleLocked(now)
	case agreed:
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
func (t *Tracker) settleLocked(now time.Time) Change {
	if len(t.seen) == 0 {
		return Change{Current: t.current}
	}
	t.recordLocked(Deployment{
		Version: t.seen[len(t.seen)-1], Previous: t.current, Began: t.began, Finished: now, Abandoned: true,
	})
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

	deployment := Deployment{Version: version, Previous: t.current, Began: t.began, Finished: now, Retired: change.Retired}
	t.current, t.since = version, now
	t.recordLocked(deployment)
	return Change{Kind: change.Kind, Current: version, Retired: slices.Clone(change.Retired)}
}

// recordLocked writes history and ends the rollout.
func (t *Tracker) recordLocked(d Deployment) {
	t.history = append(t.history, d)
	t.history = slices.Clone(t.history[max(0, len(t.history)-maxHistory):])
	t.began, t.seen = time.Time{}, nil
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
// current one, or tracking is off. While it is on, an unknown version may not,
// and before the first agreement none may.
func (t *Tracker) Storable(version string) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()

	return !t.onLocked() || version != "" && version == t.current
}

// onLocked: versions are known, from replicas or from a restored snapshot.
func (t *Tracker) onLocked() bool {
	return !t.off && (t.current != "" || len(t.seen) > 0)
}

// Gate returns nil if every live replica runs the version, and otherwise an
// error that says what they run instead: the condition for purging after a
// deploy.
func (t *Tracker) Gate(version string) error {
	t.mu.RLock()
	defer t.mu.RUnlock()

	if version == "" {
		return errors.New("no version to wait for")
	}
	if len(t.live) == 0 {
		return fmt.Errorf("version %q: no replica was seen yet", version)
	}
	var errs []error
	for _, replica := range t.live {
		if replica.Version == "" {
			errs = append(errs, fmt.Errorf("replica %s reports no version: want %q", replica.ID, version))
			continue
		}
		if replica.Version != version {
			errs = append(errs, fmt.Errorf("replica %s runs %q: want %q", replica.ID, replica.Version, version))
		}
	}
	return errors.Join(errs...)
}
