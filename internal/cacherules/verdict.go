// Package cacherules says what the operator's rules make of a request: may its
// answer be stored, for how long, and what are browsers and the CDN told. It is
// pure: it reads requests and header fields and returns values.
package cacherules

import (
	"net/http"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/unit"
)

// Mode is what a rule permits a shared cache to do with an answer.
type Mode uint8

const (
	// Origin leaves the decision to the origin's header fields.
	Origin Mode = iota
	// Cacheable fills in lifetimes that the origin leaves unsaid.
	Cacheable
	// Private forbids every cache to store the answer.
	Private
)

// String is the word for people: origin, cacheable or private.
func (m Mode) String() string {
	return [...]string{"origin", "cacheable", "private"}[min(m, Private)]
}

// Verdict is what the rules say about one request. Verdicts are compiled once
// for each rule and shared by all requests: nobody may change one.
type Verdict struct {
	// Rule names the rule for logs and metrics, such as "page /*". Empty when
	// no rule matched.
	Rule string
	// Kind is the word that the rule began with, such as page.
	Kind string
	// Mode is what a shared cache may do.
	Mode Mode
	// Fingerprinted says that the name changes whenever the content does: a
	// year and immutable, and nothing but a successful non-HTML answer is kept.
	Fingerprinted bool
	// Browser is what browsers are told: max-age, or no-cache when zero.
	Browser Lifetime
	// Edge is how long this gateway and the CDN may serve without asking.
	Edge Lifetime
	// Stale is how long past Edge an answer may be served while it is
	// refreshed, or while the origin fails (RFC 5861).
	Stale unit.Duration
	// Override lets Browser, Edge and Stale win over what the origin says. The
	// origin's no-store, private and Set-Cookie are obeyed all the same.
	Override bool
	// Tags are added to every stored answer.
	Tags []string
	// WithoutCookie names cookies whose presence makes a request private: it
	// is neither answered from the cache nor stored.
	WithoutCookie []string
	// StoreSetCookie (unsafe_store_set_cookie) permits storing answers that
	// set cookies.
	StoreSetCookie bool
	// StoreAuthorized (unsafe_store_authorized) permits storing answers to
	// requests with Authorization.
	StoreAuthorized bool
	// StoreMismatchedType (unsafe_store_mismatched_type) permits storing what
	// Mismatched is about.
	StoreMismatchedType bool
	// TrustVary (unsafe_trust_vary) believes that Vary names all that changes
	// an answer.
	TrustVary bool
	// Guard, if not nil, says who may have the answer. Whoever uses the verdict
	// asks it; to others the answer is 404.
	Guard *Guard
}

// Reasons for which a rule vetoes storing, as Veto returns them.
const (
	// VetoPrivate: the rule is private. Such requests go past a cache, so only
	// one that did not ask Bypasses comes so far.
	VetoPrivate = "rule"
	// VetoFingerprintedError: a fingerprinted name, and no success.
	VetoFingerprintedError = "fingerprinted-error"
	// VetoFingerprintedHTML: a fingerprinted name, but an HTML page.
	VetoFingerprintedHTML = "fingerprinted-html"
	// VetoUnsaid: the rule has lifetimes, but not for an error or a temporary
	// redirect, about which the origin says nothing either.
	VetoUnsaid = "status-unsaid"
	// VetoTags: the answer has more tags than can be kept, so that a purge by
	// one of them could miss it.
	VetoTags = "too-many-tags"
)

// Veto returns why the rule does not let an answer with the origin's header be
// stored, or "". It knows the rules only: what RFC 9111 forbids is not its
// business.
func (v *Verdict) Veto(status int, h http.Header) string {
	switch {
	case v.Mode == Private:
		return VetoPrivate
	case v.Fingerprinted && !succeeded(status):
		return VetoFingerprintedError
	case v.Fingerprinted && isHTML(h):
		return VetoFingerprintedHTML
	case v.Mode == Cacheable && !lasting(status) && Unsaid(h) && !targeted(h):
		return VetoUnsaid
	case v.tooManyTags(h):
		return VetoTags
	}
	return ""
}

// Governs reports whether Edge and Stale are the lifetimes by which this gateway
// keeps an answer with the origin's header: the origin leaves them unsaid, to
// CDNs too (RFC 9213), or the rule overrides them. They never hold for errors
// and temporary redirects. Whether the answer may be stored at all is another
// question.
func (v *Verdict) Governs(status int, h http.Header) bool {
	return v.Edge.Set && v.fills(status, h) && (v.Override || !said(h[cdnField]))
}

// fills reports whether the rule's lifetimes stand in for those of the origin.
func (v *Verdict) fills(status int, h http.Header) bool {
	return v.Mode != Private && lasting(status) && (v.Override || Unsaid(h))
}

// Unsaid reports that the origin leaves lifetimes unsaid: it sends neither
// Cache-Control nor Expires.
func Unsaid(h http.Header) bool {
	return !said(h["Cache-Control"]) && !said(h["Expires"])
}

// targeted reports that the origin speaks to CDNs itself, by RFC 9213 or Surrogate-Control.
func targeted(h http.Header) bool {
	return said(h[cdnField]) || said(h[cloudflareField]) || said(h[surrogateField])
}

func said(lines []string) bool {
	return slices.ContainsFunc(lines, func(line string) bool { return trim(line) != "" })
}

// lasting reports a status that RFC 9110, 15.1, lets caches keep without being
// told, as far as it is no error; and 304, which is about such an answer.
func lasting(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent, http.StatusPartialContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect, http.StatusNotModified:
		return true
	}
	return false
}

// succeeded reports a 2xx, or a 304 that confirms one.
func succeeded(status int) bool {
	return status >= 200 && status < 300 || status == http.StatusNotModified
}

func isHTML(h http.Header) bool {
	media, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	media = trim(media)
	return strings.EqualFold(media, "text/html") || strings.EqualFold(media, "application/xhtml+xml")
}

// Bypasses reports a request that is neither answered from the cache nor
// stored: the rule is private, or a cookie of WithoutCookie is present.
func (v *Verdict) Bypasses(r *http.Request) bool {
	if v.Mode == Private {
		return true
	}
	if len(v.WithoutCookie) == 0 {
		return false
	}
	for _, line := range r.Header["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, _, _ := strings.Cut(pair, "=")
			if v.withoutCookie(trim(name)) {
				return true
			}
		}
	}
	return false
}

func (v *Verdict) withoutCookie(name string) bool {
	for _, unwanted := range v.WithoutCookie {
		beginning, open := strings.CutSuffix(unwanted, "*")
		if name == unwanted || open && strings.HasPrefix(name, beginning) {
			return true
		}
	}
	return false
}
