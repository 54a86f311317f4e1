package replay

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Verdict is what a configuration makes of a request: the rule, and the class of
// what follows: cached, not stored, or past the cache, and why.
type Verdict struct {
	Rule  string `json:"rule"`
	Class string `json:"class"`
}

// String is for people.
func (v Verdict) String() string {
	if v.Rule == "" {
		return v.Class
	}
	return v.Class + " [" + v.Rule + "]"
}

// VerdictOf is that of a rule, and of what a cache did and why.
func VerdictOf(rule, status, reason string) Verdict { return Verdict{rule, class(status, reason)} }

// class sums up a status of the cache and its reason. Whether an answer that is
// cached was found is a matter of time, not of the verdict.
func class(status, reason string) string {
	switch status {
	case "hit", "stale", "revalidated":
		return "cached"
	case "":
		return "no cache"
	case "miss":
		if reason == "" || passing[reason] {
			return "cached"
		}
		return notStored + reason
	}
	if reason == "" {
		return status
	}
	return status + ": " + reason
}

const (
	notStored = "not stored: "
	// forgotten: why an earlier answer was not stored, the line does not say.
	forgotten = notStored + "known-uncacheable"
)

// passing are reasons of a moment, which say nothing about the answer.
var passing = map[string]bool{
	"head": true, "range": true, "contended": true, "fenced": true, "cut-off": true, "stale": true, "soft-purged": true, "no-room": true, "outdated": true,
	"invalidated": true, "disk": true, "to-disk": true, "no-cache": true, "rollout": true, "fault": true, "client-left": true, "abandoned": true, "origin-failed": true,
}

// Side is what one configuration made of all requests.
type Side struct {
	Requests int64 `json:"requests"`
	Hits     int64 `json:"hits"` // fresh or stale, without waiting for the origin
	Origin   int64 `json:"origin_requests"`
	Bytes    int64 `json:"origin_bytes"` // of bodies
}

// HitRatio is the share of all requests that were hits.
func (s Side) HitRatio() float64 {
	if s.Requests == 0 {
		return 0
	}
	return float64(s.Hits) / float64(s.Requests)
}

// Change is a URL whose verdict is another one.
type Change struct {
	URL      string  `json:"url"` // without its query
	Requests int64   `json:"requests"`
	Before   Verdict `json:"before"`
	After    Verdict `json:"after"`
}

// maxChanges bounds the URLs whose changes are counted one by one.
const maxChanges = 100_000

// tally counts.
type tally struct {
	before, after Side
	first, last   time.Time
	changes       map[changed]int64
	uncounted     int64
}

type changed struct {
	url           string
	before, after Verdict
}

func (t *tally) change(l *Line, before, after Verdict) {
	if before == after || before.Rule == after.Rule && before.Class == forgotten && strings.HasPrefix(after.Class, notStored) {
		return
	}
	path, _, _ := strings.Cut(l.Request.URI, "?")
	key := changed{l.Request.Host + path, before, after}
	if _, known := t.changes[key]; !known && len(t.changes) >= maxChanges {
		t.uncounted++
		return
	}
	t.changes[key]++
}

// sorted are the changes, those of the most requests first.
func (t *tally) sorted() []Change {
	all := make([]Change, 0, len(t.changes))
	for key, n := range maps.All(t.changes) {
		all = append(all, Change{URL: key.url, Requests: n, Before: key.before, After: key.after})
	}
	slices.SortFunc(all, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.URL, b.URL), cmp.Compare(a.Before.String()+a.After.String(), b.Before.String()+b.After.String()))
	})
	return all
}
