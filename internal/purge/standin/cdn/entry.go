package cdn

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// lifetime is what the header of an answer allows.
type lifetime struct {
	stored bool
	fresh  time.Duration
	// revalidate and onError are how long it may be given stale.
	revalidate, onError time.Duration
}

// unsaid is how long Cloudflare keeps answers that say nothing of it.
var unsaid = map[int]time.Duration{
	http.StatusOK: 2 * time.Hour, http.StatusMovedPermanently: 2 * time.Hour,
	http.StatusFound: 20 * time.Minute, http.StatusSeeOther: 20 * time.Minute,
	http.StatusNotFound: 3 * time.Minute, http.StatusGone: 3 * time.Minute,
}

// lifetimeOf says whether and how long an answer is kept, by Cloudflare's
// documented rules of Origin Cache Control.
func lifetimeOf(ask request, got *answer) lifetime {
	h := got.header
	if len(h["Set-Cookie"]) > 0 || slices.Contains(h["Vary"], "*") || got.status == http.StatusPartialContent {
		return lifetime{}
	}
	d, said := directivesOf(h)
	if d.NoStore || d.Private || d.NoCache {
		return lifetime{}
	}
	if ask.header.Get("Authorization") != "" && !d.Public && !d.MustRevalidate && !d.SMaxAge.Set {
		return lifetime{}
	}
	life := lifetime{fresh: unsaid[got.status]}
	if expires, ok := expiresIn(h); ok && !said {
		life.fresh = expires
	}
	for _, s := range []cacherules.Seconds{d.MaxAge, d.SMaxAge} { // the last one counts
		if s.Set {
			life.fresh = seconds(s)
		}
	}
	// These forbid to give it stale, and s-maxage implies proxy-revalidate.
	if !d.MustRevalidate && !d.ProxyRevalidate && !d.SMaxAge.Set {
		life.revalidate, life.onError = seconds(d.StaleWhileRevalidate), seconds(d.StaleIfError)
	}
	life.stored = life.fresh > 0
	return life
}

// directivesOf reads the first of the three fields that is there.
func directivesOf(h http.Header) (cacherules.Directives, bool) {
	for _, name := range []string{"Cloudflare-Cdn-Cache-Control", "Cdn-Cache-Control", "Cache-Control"} {
		if values := h[name]; len(values) > 0 {
			return cacherules.ParseDirectives(values), true
		}
	}
	return cacherules.Directives{}, false
}

func seconds(s cacherules.Seconds) time.Duration { return time.Duration(s.N) * time.Second }

// expiresIn reads Expires; a value that is no date has passed (RFC 9111, 5.3).
func expiresIn(h http.Header) (time.Duration, bool) {
	if len(h["Expires"]) == 0 {
		return 0, false
	}
	expires, err := http.ParseTime(h.Get("Expires"))
	date, dateErr := http.ParseTime(h.Get("Date"))
	if err != nil || dateErr != nil {
		return 0, true
	}
	return expires.Sub(date), true
}

// newEntry is a copy as it arrives.
func newEntry(ask request, got *answer, life lifetime, now time.Time) *entry {
	age, err := strconv.ParseInt(got.header.Get("Age"), 10, 32)
	if err != nil {
		age = 0
	}
	return &entry{answer: got, life: life, key: ask.key(), tags: cacherules.ResponseTags(got.header), began: now.Add(-time.Duration(age) * time.Second)}
}

// state is what may be done with a copy.
type state uint8

const (
	unusable state = iota
	ifError
	whileRevalidating
	fresh
)

func (e *entry) state(now time.Time) state {
	since := e.began.Add(e.life.fresh)
	if !e.staleSince.IsZero() && e.staleSince.Before(since) {
		since = e.staleSince
	}
	switch {
	case now.Before(since):
		return fresh
	case now.Before(since.Add(e.life.revalidate)):
		return whileRevalidating
	case now.Before(since.Add(e.life.onError)):
		return ifError
	}
	return unusable
}

// given is the copy as a tier gives it.
func (e *entry) given(now time.Time, cache, from string) *answer {
	given := *e.answer
	given.cache, given.from, given.left = cache, from, now
	given.header = given.header.Clone()
	given.header.Set("Age", strconv.FormatInt(int64(now.Sub(e.began)/time.Second), 10))
	return &given
}

// renewed is the copy with the fields of a 304 (RFC 9111, 3.2).
func (e *entry) renewed(by *answer) *answer {
	renewed := *e.answer
	renewed.header = renewed.header.Clone()
	renewed.header.Del("Age")
	for name, values := range by.header {
		if name != "Content-Length" {
			renewed.header[name] = values
		}
	}
	renewed.cache, renewed.from, renewed.left = by.cache, by.from, by.left
	return &renewed
}

// names reports whether the call is about the copy. Hosts and tags are compared
// without regard to case, as Cloudflare does.
func (p purge) names(e *entry) bool {
	host, rest, _ := strings.Cut(e.key, "/")
	host, _, _ = strings.Cut(host, ":") // hosts and prefixes have no port
	path, _, _ := strings.Cut(host+"/"+rest, "?")
	switch p.Kind {
	case "purge_everything":
		return true
	case "hosts":
		return slices.ContainsFunc(p.Items, func(item string) bool { return strings.EqualFold(item, host) })
	case "prefixes":
		return slices.ContainsFunc(p.Items, func(item string) bool { return strings.HasPrefix(path, lowerHost(item)) })
	case "files":
		return slices.ContainsFunc(p.Items, func(item string) bool {
			_, rest, _ := strings.Cut(item, "://")
			return lowerHost(rest) == e.key
		})
	}
	return slices.ContainsFunc(p.Items, func(item string) bool { return slices.Contains(e.tags, cacherules.CanonicalTag(item)) })
}

// lowerHost is a URL without its scheme as a tier's keys have it.
func lowerHost(text string) string {
	host, path, found := strings.Cut(text, "/")
	if !found {
		return strings.ToLower(host)
	}
	return strings.ToLower(host) + "/" + path
}

// hopByHop are fields that belong to one connection (RFC 9110, 7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// endToEnd is a header without what belongs to one connection, or is named.
func endToEnd(h http.Header, without ...string) http.Header {
	kept := maps.Clone(h)
	for _, name := range append(without, hopByHop...) {
		delete(kept, name)
	}
	return kept
}
