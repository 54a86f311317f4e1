package deploy

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxAssets bounds the assets whose version is remembered, maxVisitors the
	// visitors of each version, maxNoted the versions that have visitors. Beyond,
	// nothing is added: what there is will do.
	maxAssets   = 16_384
	maxVisitors = 8192
	maxNoted    = 16
)

// Answer is what a visitor got from a replica.
type Answer struct {
	Version string
	// Path and Client are those of the request.
	Path, Client string
	// Asset says that the path should lead to an asset; Named, that its name
	// changes with its content, so that each version has names of its own.
	Asset, Named bool
	// Missing and HTML say that it did not: a 404, or a page.
	Missing, HTML bool
	// Took is the time to the response header; 0 is not counted.
	Took time.Duration
}

// Answers gathers what visitors get from each version of a pool, for the guard.
// The zero value is ready. It is safe for concurrent use; while no rollout is on,
// and enough visitors are known, what is no asset costs it nothing.
//
// Visitors are counted who were answered anything. How many asked for assets
// cannot be told from here: what is there is a hit, at edge or at a CDN, and what
// is missing is none, and comes through each time. The share of those who miss
// something among those who asked would near one, of any version, with time.
type Answers struct {
	comparing atomic.Bool
	crowded   atomic.Bool // as many visitors of a version are known as it may have
	seed      maphash.Seed

	mu       sync.Mutex
	old, new string
	warm     time.Time // from when on times are counted
	owners   map[uint64]string
	visitors map[string]map[uint64]visit
	times    map[string]*Times
}

// visit is what became of a visitor's requests for assets.
type visit struct{ missing, html bool }

// Wanted reports whether an answer is worth noting.
func (a *Answers) Wanted(asset bool) bool {
	return asset || a.comparing.Load() || !a.crowded.Load()
}

// Note takes in an answer.
//
// An asset whose name changes with its content, and which another version was
// seen to have, says nothing about a version that does not. And while a rollout
// is on, the old version is asked for what only the new one has: it is judged by
// what it was asked before.
func (a *Answers) Note(now time.Time, n Answer) {
	if n.Version == "" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.visitors == nil {
		a.seed = maphash.MakeSeed()
		a.owners, a.visitors, a.times = make(map[uint64]string), make(map[string]map[uint64]visit), make(map[string]*Times)
	}
	if a.comparing.Load() && n.Took > 0 && !now.Before(a.warm) {
		times := a.times[n.Version]
		if times == nil && (n.Version == a.old || n.Version == a.new) {
			times = new(Times)
			a.times[n.Version] = times
		}
		if times != nil {
			times[bucketOf(n.Took)]++
		}
	}
	what := visit{}
	if n.Asset && !a.anothersLocked(n) {
		what = visit{n.Missing, n.HTML}
	}
	if !a.comparing.Load() || n.Version == a.new {
		a.noteVisitorLocked(n, what)
	}
}

// anothersLocked learns which version has an asset, and reports whether one that
// is missing is another version's.
func (a *Answers) anothersLocked(n Answer) bool {
	path := maphash.String(a.seed, n.Path)
	owner, known := a.owners[path]
	bad := n.Missing || n.HTML
	if !bad && (known || len(a.owners) < maxAssets) {
		a.owners[path] = n.Version
	}
	return bad && n.Named && known && owner != n.Version
}

func (a *Answers) noteVisitorLocked(n Answer, what visit) {
	seen := a.visitors[n.Version]
	if seen == nil {
		if len(a.visitors) >= maxNoted {
			return
		}
		seen = make(map[uint64]visit)
		a.visitors[n.Version] = seen
	}
	client := maphash.String(a.seed, n.Client)
	v, again := seen[client]
	if !again && len(seen) >= maxVisitors {
		return
	}
	v.missing, v.html = v.missing || what.missing, v.html || what.html
	seen[client] = v
	a.crowded.Store(len(seen) >= maxVisitors)
}

// begin compares two versions from now on. Times count from warm on.
func (a *Answers) begin(old, fresh string, warm time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.old, a.new, a.warm = old, fresh, warm
	a.times = make(map[string]*Times)
	a.comparing.Store(true)
}

// end compares no more, and forgets all versions but one.
func (a *Answers) end(current string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, known := a.visitors[current]
	if !a.comparing.Load() && (len(a.visitors) == 0 || known && len(a.visitors) == 1) {
		return
	}
	a.comparing.Store(false)
	maps.DeleteFunc(a.owners, func(_ uint64, version string) bool { return version != current })
	a.times = make(map[string]*Times)
	maps.DeleteFunc(a.visitors, func(version string, _ map[uint64]visit) bool { return version != current })
	a.crowded.Store(len(a.visitors[current]) >= maxVisitors)
}

// tally adds what is known of a version's answers to what its replicas were asked.
func (a *Answers) tally(version string, t Traffic) Tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := Tally{Requests: t.Requests, Failures: t.Failures, Visitors: int64(len(a.visitors[version]))}
	if times := a.times[version]; times != nil {
		sum.Times = *times
	}
	for _, v := range a.visitors[version] {
		if v.missing {
			sum.Missing++
		}
		if v.html {
			sum.HTML++
		}
	}
	return sum
}
