package httpcache

import (
	"net/http"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// action is what to do about a request.
type action uint8

const (
	// fetch: ask the origin, or wait for somebody who does.
	fetch action = iota
	// serve the stored answer.
	serve
	// serveAndRefresh: serve the stale answer and refresh it meanwhile.
	serveAndRefresh
	// pass the request to the origin as it is.
	pass
	// unavailable: 504, nothing stored may be served and nothing else is wanted.
	unavailable
)

// decision is what decide says, and why.
type decision struct {
	action action
	reason Reason
	// validate the stored answer rather than fetch anew.
	validate bool
	// alone: the answer is for this request only, so nobody shall wait for it.
	alone bool
}

// decide says what to do about a request, given the stored answer that matches
// it, which may be nil, and where the fence puts that (RFC 9111, 4).
func decide(r *http.Request, e *entry, stands standing, now time.Time) decision {
	if stands == hardPurged {
		e = nil
	}
	authorized := len(r.Header["Authorization"]) > 0
	if e != nil && authorized && !e.authorized {
		if requestControl(r).OnlyIfCached {
			return decision{action: unavailable, reason: ReasonOnlyIfCached}
		}
		// RFC 9111, 3.5, forbids to store such answers; whether anonymous ones
		// may go to authorized requests it leaves open. An API may well answer
		// the two differently without saying so in Vary.
		return decision{action: pass, reason: ReasonAuthorizedRequest}
	}
	d := decideStored(e, stands, now)
	if d.action == serve || d.action == serveAndRefresh {
		return d
	}
	request := requestControl(r)
	switch {
	case request.OnlyIfCached:
		return decision{action: unavailable, reason: ReasonOnlyIfCached}
	case request.NoStore:
		return decision{action: pass, reason: ReasonRequestNoStore}
	case r.Method == http.MethodHead:
		return decision{action: pass, reason: ReasonHead}
	case len(r.Header["Range"]) > 0:
		return decision{action: pass, reason: ReasonRange}
	}
	d.alone = d.alone || authorized
	return d
}

// decideStored is the part about the stored answer.
func decideStored(e *entry, stands standing, now time.Time) decision {
	if e == nil {
		return decision{action: fetch}
	}
	ttl := e.ttl(now)
	validate := e.validates
	switch {
	case stands == distrusted:
		return decision{action: pass, reason: ReasonFleetBehind}
	case stands == softPurged:
		return decision{action: fetch, reason: ReasonSoftPurged, validate: validate}
	case e.mustAsk:
		return decision{action: fetch, reason: ReasonNoCache, validate: validate, alone: true}
	case ttl > 0:
		return decision{action: serve}
	case -ttl < e.whileRevalidate:
		return decision{action: serveAndRefresh, reason: ReasonStaleWhileRevalidate, validate: validate}
	}
	// An answer without any lifetime may be shared with nobody, so requests
	// for it must not wait for each other.
	return decision{action: fetch, reason: ReasonStale, validate: validate, alone: e.lifetime == 0}
}

// standsIn is the reason for which a stored answer may stand in for the origin,
// which answered with a failure (RFC 5861, 4) or, with status zero, not at all
// (RFC 9111, 4.2.4). Empty if it may not.
func standsIn(e *entry, status int, now time.Time) Reason {
	if e == nil {
		return ""
	}
	past := -e.ttl(now)
	if e.mustAsk {
		past = max(past, 0) // being fresh is no excuse: RFC 9111, 5.2.2.4
	}
	switch {
	case past < e.ifError:
		return ReasonStaleIfError
	case status == 0 && past < e.unreachable:
		return ReasonStaleUnreachable
	}
	return ""
}

// isFailure lists the statuses for which stale-if-error speaks: RFC 5861, 4.
func isFailure(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// bypassOf is the reason for which a request has nothing to do with the cache.
func bypassOf(r *http.Request, v *cacherules.Verdict) Reason {
	switch {
	case tunnels(r):
		return ReasonUpgrade
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return ReasonMethod
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return ReasonRequestBody
	case v.Bypasses(r):
		return ReasonRule
	case len(r.Header["If-Match"]) > 0 || len(r.Header["If-Unmodified-Since"]) > 0:
		return ReasonPrecondition
	case overridesMethod(r.Header):
		return ReasonMethodOverride
	case hidesFields(r.Header["Connection"]):
		return ReasonConnection
	}
	return ""
}

// overridesMethod reports fields by which frameworks let a GET stand for
// another method. No key covers them, so their answers must not be shared.
func overridesMethod(h http.Header) bool {
	return len(h["X-Http-Method-Override"]) > 0 || len(h["X-Http-Method"]) > 0 || len(h["X-Method-Override"]) > 0
}

// aboutConnection are the words of Connection that name no field which an
// answer could depend on.
var aboutConnection = map[string]bool{
	"": true, "close": true, "keep-alive": true, "Keep-Alive": true, "upgrade": true, "http2-settings": true, "te": true, "trailer": true,
}

// hidesFields reports a Connection that names fields of its own. They end here
// (RFC 9110, 7.6.1): the origin answers as if they had not been sent, and the
// answer would be stored as one to a request with them.
func hidesFields(connection []string) bool {
	for _, line := range connection {
		for word := range strings.SplitSeq(line, ",") {
			word = strings.Trim(word, " \t")
			if !aboutConnection[word] && !aboutConnection[strings.ToLower(word)] {
				return true
			}
		}
	}
	return false
}

// tunnels reports a request that turns the connection into something else.
func tunnels(r *http.Request) bool {
	return r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0
}

// requestControl reads the request's Cache-Control. Its no-cache, max-age and
// min-fresh are not obeyed: any visitor could make the origin do the work.
func requestControl(r *http.Request) cacherules.Directives {
	if lines := r.Header["Cache-Control"]; len(lines) > 0 {
		return cacherules.ParseDirectives(lines)
	}
	return cacherules.Directives{}
}
