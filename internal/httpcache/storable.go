package httpcache

import (
	"net/http"
	"strings"

	"github.com/edgegw/edge/internal/cacherules"
)

// storability is what storable decides.
type storability struct {
	// reason is empty for an answer that may be stored.
	reason Reason
	// freshness is of use when it may.
	freshness freshness
	// names are the fields of Vary.
	names []string
	// normalize is Policy.NormalizeVary.
	normalize []string
	// authorized: it may be given to requests with Authorization too.
	authorized bool
}

// storable decides whether the answer to a GET may be stored (RFC 9111, 3),
// given the request's fields. The caller adds what only it knows: size,
// completeness, the fence.
func storable(request http.Header, a answerFacts, source Source) storability {
	s := storability{authorized: sharesAuthorized(a.verdict, &a.control), normalize: a.policy.NormalizeVary}
	s.reason = forbidden(request, a, source, s.authorized)
	if s.reason != "" {
		return s
	}
	var ok bool
	if s.names, ok = varyNames(a.header); !ok {
		s.reason = ReasonVary
		return s
	}
	s.names = alsoBy(s.names, implied(request, a.header, s.names, a.verdict))
	s.freshness = freshnessOf(a)
	s.reason = worthKeeping(a, s.freshness)
	return s
}

// forbidden is the first reason that forbids storing.
func forbidden(request http.Header, a answerFacts, source Source, authorized bool) Reason {
	c := &a.control
	switch {
	case a.status == http.StatusPartialContent: // RFC 9110, 14.4: Content-Range means nothing elsewhere
		return ReasonPartial
	case a.status < 200, a.status == http.StatusNotModified:
		return ReasonStatus
	case c.MustUnderstand && !understood(a.status):
		return ReasonStatus
	case aboutRequest(a.status, request):
		return ReasonRequestError
	case c.NoStore && !c.MustUnderstand: // RFC 9111, 5.2.2.3 lifts it
		return ReasonNoStore
	case c.private():
		return ReasonPrivate
	case !source.Current && !a.verdict.Fingerprinted:
		return ReasonRollout
	case len(a.header["Set-Cookie"]) > 0 && !a.verdict.StoreSetCookie && !a.policy.StoreSetCookie:
		return ReasonSetCookie
	case a.verdict.Mismatched(a.path, a.status, a.header):
		return ReasonMismatchedType
	case len(request["Authorization"]) > 0 && !authorized:
		return ReasonAuthorization
	case cacherules.ParseDirectives(request["Cache-Control"]).NoStore:
		return ReasonRequestNoStore
	case isEventStream(a.header):
		return ReasonStream
	}
	return Reason(a.verdict.Veto(a.status, a.header))
}

// sharesAuthorized: RFC 9111, 3.5. A directive that is broken permits nothing.
func sharesAuthorized(v *cacherules.Verdict, c *control) bool {
	return v.StoreAuthorized || c.Public || c.SMaxAge.Set && !c.SMaxAge.Invalid || c.MustRevalidate
}

// worthKeeping is the reason not to keep an answer that may be kept: nobody
// said for how long, or it would never be served.
func worthKeeping(a answerFacts, f freshness) Reason {
	c := &a.control
	said := f.source != FromNothing || c.noCache() || c.Public || c.MustRevalidate || c.ProxyRevalidate
	switch {
	case !said:
		return ReasonNoFreshness
	case f.lifetime > 0 && !f.mustAsk, f.whileRevalidate > 0, f.ifError > 0:
		return ""
	case !hasValidator(a.header):
		return ReasonExpired
	}
	return ""
}

// understood lists the statuses whose caching rules this cache implements: all
// that RFC 9110 defines as final.
func understood(status int) bool {
	switch {
	case status >= 200 && status <= 206, status >= 300 && status <= 305, status == 307, status == 308:
		return true
	case status >= 400 && status <= 417, status == 421, status == 422, status == 426:
		return true
	}
	return status >= 500 && status <= 505
}

func hasValidator(h http.Header) bool {
	return len(h["Etag"]) > 0 || len(h["Last-Modified"]) > 0
}

func isEventStream(h http.Header) bool {
	lines := h["Content-Type"]
	if len(lines) == 0 {
		return false
	}
	media, _, _ := strings.Cut(lines[0], ";")
	return strings.EqualFold(strings.Trim(media, " \t"), "text/event-stream")
}
