package cdn

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// What Cf-Cache-Status says.
const (
	hit         = "HIT"
	miss        = "MISS"
	expired     = "EXPIRED"
	revalidated = "REVALIDATED"
	updating    = "UPDATING"
	stale       = "STALE"
	bypass      = "BYPASS"
	dynamic     = "DYNAMIC"
)

// request is what a tier is asked for. Its header is the visitor's.
type request struct {
	method string
	host   string
	uri    string
	header http.Header
	body   []byte
	etag   string // of the copy that the tier has
}

func (r request) key() string { return r.host + r.uri }

// answer is an answer on its way, which nobody changes.
type answer struct {
	status int
	header http.Header
	body   []byte
	// cache is what the tier that gave it says of it, and from names where it
	// came from.
	cache, from string
	// left is when the tier gave it.
	left time.Time
}

// fetch gets an answer from the next tier, or from the gateway.
type fetch func(context.Context, request) (*answer, error)

// tier is one cache.
type tier struct {
	cdn  *CDN
	name string
	next fetch

	mu      sync.Mutex
	entries map[string]*entry
	flights map[string]*flight
	purges  []purge // in the order in which they take effect
}

// entry is a copy. The tier's lock guards it.
type entry struct {
	answer *answer
	life   lifetime
	key    string
	tags   []string
	// began is when it had the age 0.
	began time.Time
	// staleSince is when it was invalidated, or zero.
	staleSince time.Time
	// purges counts those of the tier that it need not be held against.
	purges int
}

// flight is one fetch on which everybody waits who asks for the same.
type flight struct {
	done   chan struct{}
	answer *answer
	err    error
	// shared: the answer may be given to everybody who waits.
	shared bool
}

func newTier(c *CDN, name string, next fetch) *tier {
	return &tier{cdn: c, name: name, next: next, entries: make(map[string]*entry), flights: make(map[string]*flight)}
}

// get answers from the cache, or fetches.
func (t *tier) get(ctx context.Context, ask request) (*answer, error) {
	for {
		got, f, leads := t.look(ask)
		if got != nil {
			return got, nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if leads || f.shared {
			return f.answer, f.err
		}
		if f.err == nil {
			// It may not be shared: for each its own.
			got, err := t.next(ctx, ask)
			return passed(got), err
		}
		if ctx.Err() != nil || t.cdn.ctx.Err() != nil {
			return nil, f.err
		}
	}
}

// look finds a copy that may be given, or the fetch to wait for, which it
// begins if there is none.
func (t *tier) look(ask request) (*answer, *flight, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	e := t.entryLocked(ask.key(), now)
	if e != nil {
		switch e.state(now) {
		case fresh:
			return e.given(now, hit, t.name), nil, false
		case whileRevalidating:
			if t.flights[ask.key()] == nil {
				t.flyLocked(ask, e)
			}
			return e.given(now, updating, t.name), nil, false
		}
	}
	if f := t.flights[ask.key()]; f != nil {
		return nil, f, false
	}
	return nil, t.flyLocked(ask, e), true
}

// flyLocked begins a fetch, which goes on though its visitor may leave.
func (t *tier) flyLocked(ask request, old *entry) *flight {
	f := &flight{done: make(chan struct{})}
	t.flights[ask.key()] = f
	if old != nil {
		ask.etag = old.answer.header.Get("Etag")
	}
	t.cdn.work.Go(func() {
		got, err := t.next(t.cdn.ctx, ask)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.landLocked(f, ask, old, got, err)
		delete(t.flights, ask.key())
		close(f.done)
	})
	return f
}

// landLocked stores what was fetched, if it may be, whatever was purged while
// it was on its way.
func (t *tier) landLocked(f *flight, ask request, old *entry, got *answer, err error) {
	now := time.Now()
	if err != nil || got.status >= 500 {
		if f.answer, f.err = got, err; old != nil && old.state(now) != unusable {
			f.answer, f.err, f.shared = old.given(now, stale, t.name), nil, true
		}
		return
	}
	status := miss
	switch {
	case got.cache == hit:
		status = hit // of the next tier, which counts for the visitor
	case got.status == http.StatusNotModified && old != nil:
		got, status = old.renewed(got), revalidated
	case old != nil && got.header.Get("Etag") != "" && got.header.Get("Etag") == old.answer.header.Get("Etag"):
		status = revalidated
	case old != nil:
		status = expired
	}
	life := lifetimeOf(ask, got)
	if !life.stored {
		delete(t.entries, ask.key())
		f.answer = passed(got)
		return
	}
	e := newEntry(ask, got, life, now)
	f.answer = e.given(now, status, got.from)
	// A copy that took longer than copies take is this machine's fault, not
	// the CDN's: it is given to who asked for it first, and to nobody else.
	late := t != t.cdn.upper && now.Sub(got.left) > t.cdn.options.Travel
	// Nor is a stale copy of the next tier fresh here.
	if late || got.cache == updating || got.cache == stale {
		f.answer.cache = got.cache
		return
	}
	f.shared = true
	e.purges = t.effectiveLocked(now)
	if old != nil && status == revalidated {
		e.tags = old.tags
	}
	t.entries[ask.key()] = e
}

// passed is an answer that is not stored here.
func passed(got *answer) *answer {
	if got == nil || got.cache != miss {
		return got
	}
	passed := *got
	passed.cache = bypass
	return &passed
}

// fromUpper is how the lower tier fetches: from the upper one, over some way.
func (c *CDN) fromUpper(ctx context.Context, ask request) (*answer, error) {
	ask.etag = ""
	got, err := c.upper.get(ctx, ask)
	if err != nil || c.options.Travel == 0 {
		return got, err
	}
	timer := time.NewTimer(rand.N(c.options.Travel))
	defer timer.Stop()
	select {
	case <-timer.C:
		return got, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// purge is a call of the API that takes effect here at a time.
type purge struct {
	standin.Call
	at time.Time
}

// keepPurges is how many are remembered.
const keepPurges = 10_000

func (t *tier) purge(call standin.Call, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.purges) >= keepPurges {
		// Too many to be remembered: rather too little is kept than too much.
		t.purges, t.entries = nil, make(map[string]*entry)
	}
	if n := len(t.purges); n > 0 && at.Before(t.purges[n-1].at) {
		at = t.purges[n-1].at
	}
	t.purges = append(t.purges, purge{call, at})
}

// effectiveLocked counts the purges that have taken effect.
func (t *tier) effectiveLocked(now time.Time) int {
	n := len(t.purges)
	for n > 0 && t.purges[n-1].at.After(now) {
		n--
	}
	return n
}

// entryLocked finds a copy that no purge has removed; one that was invalidated
// is stale since.
func (t *tier) entryLocked(key string, now time.Time) *entry {
	e := t.entries[key]
	if e == nil {
		return nil
	}
	until := t.effectiveLocked(now)
	for _, p := range t.purges[min(e.purges, until):until] {
		switch {
		case !p.names(e):
		case p.Operation == "purge_cache":
			delete(t.entries, key)
			return nil
		case e.staleSince.IsZero() && e.state(p.at) == fresh:
			e.staleSince = p.at
		}
	}
	e.purges = until
	return e
}
