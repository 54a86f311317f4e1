package httpcache

import (
	"net/http"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// cdnField is the targeted field that we obey (RFC 9213, 3.1). Its sibling
// Cloudflare-CDN-Cache-Control is for Cloudflare alone.
const cdnField = "Cdn-Cache-Control"

// control is what the origin tells this cache: the targeted field where it
// sends a valid one, and Cache-Control otherwise (RFC 9213, 2.2).
type control struct {
	cacherules.Directives
	targeted bool
}

func controlOf(h http.Header) control {
	if lines := h[cdnField]; len(lines) > 0 {
		if d, ok := parseTargeted(lines); ok {
			return control{Directives: d, targeted: true}
		}
	}
	return control{Directives: cacherules.ParseDirectives(h["Cache-Control"])}
}

// restricts reports an answer that may not be served stale: RFC 9111, 5.2.2.2,
// 5.2.2.8 and 5.2.2.10 (s-maxage implies proxy-revalidate).
func (c *control) restricts() bool {
	return c.MustRevalidate || c.ProxyRevalidate || c.SMaxAge.Set || c.noCache()
}

// noCache counts the qualified form as the form without: RFC 9111, 5.2.2.4,
// notes that many caches do.
func (c *control) noCache() bool { return c.NoCache || len(c.NoCacheFields) > 0 }

func (c *control) private() bool { return c.Private || len(c.PrivateFields) > 0 }

// LifetimeSource says where a freshness lifetime comes from.
type LifetimeSource string

const (
	// FromRule: the operator's rule.
	FromRule LifetimeSource = "rule"
	// FromTargeted: max-age of CDN-Cache-Control.
	FromTargeted LifetimeSource = "cdn-cache-control"
	// FromSMaxAge: s-maxage of Cache-Control.
	FromSMaxAge LifetimeSource = "s-maxage"
	// FromMaxAge: max-age of Cache-Control.
	FromMaxAge LifetimeSource = "max-age"
	// FromExpires: Expires less Date.
	FromExpires LifetimeSource = "expires"
	// FromHeuristic: a tenth of the time since Last-Modified.
	FromHeuristic LifetimeSource = "heuristic"
	// FromNothing: nobody said anything.
	FromNothing LifetimeSource = ""
)

// freshness is for how long an answer may be served, and how.
type freshness struct {
	source   LifetimeSource
	lifetime time.Duration
	// whileRevalidate and ifError are how long past lifetime it may be served
	// stale (RFC 5861).
	whileRevalidate, ifError time.Duration
	// unreachable is likewise, while the origin gives no answer at all; zero
	// where somebody has said what to do on errors.
	unreachable time.Duration
	// mustAsk: not without asking the origin each time.
	mustAsk bool
}

// answerFacts is what decisions about an answer need to know of it.
type answerFacts struct {
	status  int
	header  http.Header // the origin's
	control control
	verdict *cacherules.Verdict
	policy  *Policy
	path    string    // decoded, by which the visitor asked
	date    time.Time // Date, or the time of receipt
}

// freshnessOf adds up who says what: the rule where it governs, else the
// origin by rank (RFC 9213, 2.2; RFC 9111, 4.2.1), else the heuristic.
func freshnessOf(a answerFacts) freshness {
	c := &a.control
	var f freshness
	if a.verdict.Governs(a.status, a.header) {
		f.source, f.lifetime, f.ifError = FromRule, a.verdict.Edge.D.D(), a.verdict.Stale.D()
		if f.mustAsk = f.lifetime == 0; !f.mustAsk {
			f.whileRevalidate = f.ifError
		}
		return f
	}
	f.lifetime, f.source = a.explicitLifetime()
	if f.source == FromNothing && a.policy.Heuristic {
		f.lifetime, f.source = a.heuristicLifetime()
	}
	f.mustAsk = c.noCache()
	if c.restricts() {
		return f
	}
	f.whileRevalidate = window(c.StaleWhileRevalidate, a.verdict.Stale.D())
	f.ifError = window(c.StaleIfError, max(a.verdict.Stale.D(), a.policy.StaleOnError.D()))
	// RFC 9111, 4.2.4: a cache that is disconnected needs no permission. But a
	// window of zero has been said too, and a lifetime of zero means "ask".
	if f.lifetime > 0 && !c.StaleIfError.Set && !a.verdict.Edge.Set {
		f.unreachable = a.policy.StaleUnreachable.Or(defaultStaleUnreachable)
	}
	return f
}

// window is what the directive says, or the fallback. An invalid one is zero.
func window(s cacherules.Seconds, fallback time.Duration) time.Duration {
	if s.Set {
		return seconds(s.N)
	}
	return fallback
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func (a *answerFacts) explicitLifetime() (time.Duration, LifetimeSource) {
	c := &a.control
	switch {
	case c.targeted && c.SMaxAge.Set:
		return seconds(c.SMaxAge.N), FromTargeted
	case c.targeted && c.MaxAge.Set:
		return seconds(c.MaxAge.N), FromTargeted
	case c.targeted:
		return 0, FromNothing
	case c.SMaxAge.Set:
		return seconds(c.SMaxAge.N), FromSMaxAge
	case c.MaxAge.Set:
		return seconds(c.MaxAge.N), FromMaxAge
	case len(a.header["Expires"]) > 0:
		// RFC 9111, 5.3: an invalid date, "0" above all, lies in the past.
		expires, ok := fieldDate(a.header, "Expires")
		if !ok {
			return 0, FromExpires
		}
		return max(0, expires.Sub(a.date)), FromExpires
	}
	return 0, FromNothing
}

const (
	// heuristicShare and heuristicMax: RFC 9111, 4.2.2, suggests a tenth and
	// asks for a warning past a day, so a day is the most.
	heuristicShare = 10
	heuristicMax   = 24 * time.Hour
)

func (a *answerFacts) heuristicLifetime() (time.Duration, LifetimeSource) {
	modified, ok := fieldDate(a.header, "Last-Modified")
	if !ok || !(heuristicallyCacheable(a.status) || a.control.Public) || a.control.targeted {
		return 0, FromNothing
	}
	return min(max(0, a.date.Sub(modified)/heuristicShare), heuristicMax), FromHeuristic
}

// heuristicallyCacheable: RFC 9110, 15.1, without 206, which is never stored as such.
func heuristicallyCacheable(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone,
		http.StatusRequestURITooLong, http.StatusNotImplemented:
		return true
	}
	return false
}

// parseAge reads the Age field: the first member of the first line counts
// (RFC 9111, 5.1); anything but digits is ignored.
func parseAge(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	first = strings.Trim(first, " \t")
	if first == "" {
		return 0
	}
	var n int64
	for i := range len(first) {
		if !isDigit(first[i]) {
			return 0
		}
		n = min(n*10+int64(first[i]-'0'), maxDelta)
	}
	return seconds(n)
}

// initialAge is the corrected initial age of RFC 9111, 4.2.3.
func initialAge(h http.Header, date, requested, received time.Time) time.Duration {
	apparent := max(0, received.Sub(date))
	corrected := parseAge(h) + received.Sub(requested)
	return max(apparent, corrected)
}
