package httpcache

// Reason is a code for why an answer was or was not taken from, or put into,
// the cache. It stands in the detail parameter of Cache-Status, in logs and in
// metrics; every branch of a decision has one of its own. An empty Reason
// means that nothing needs explaining.
type Reason string

// Why a request went past the cache: neither answered from it nor stored.
const (
	// ReasonUpgrade: the connection turns into something else (WebSocket).
	ReasonUpgrade Reason = "upgrade"
	// ReasonMethod: neither GET nor HEAD.
	ReasonMethod Reason = "method"
	// ReasonRule: the rule's verdict says private, or a cookie makes it so.
	ReasonRule Reason = "rule"
	// ReasonRequestBody: a GET with a body, which no key covers.
	ReasonRequestBody Reason = "request-body"
	// ReasonMethodOverride: a field that makes frameworks see another method.
	ReasonMethodOverride Reason = "method-override"
	// ReasonConnection: the request's Connection names fields of its own, which
	// the origin does not get to see (RFC 9110, 7.6.1).
	ReasonConnection Reason = "connection"
	// ReasonPrecondition: If-Match and If-Unmodified-Since are for the origin
	// (RFC 9111, 4.3.2).
	ReasonPrecondition Reason = "precondition"
	// ReasonAuthorizedRequest: the stored answer may not be given to requests
	// with Authorization (RFC 9111, 3.5).
	ReasonAuthorizedRequest Reason = "authorized-request"
	// ReasonRequestNoStore: the request forbids storing (RFC 9111, 5.2.1.5).
	ReasonRequestNoStore Reason = "request-no-store"
	// ReasonRange: a part was asked for, and neither the whole nor that part is
	// stored.
	ReasonRange Reason = "range"
	// ReasonHead: only a GET fills the cache.
	ReasonHead Reason = "head"
	// ReasonRefused: an earlier answer for this key could not be stored, so
	// requests do not queue for the next one.
	ReasonRefused Reason = "known-uncacheable"
	// ReasonContended: the fills it waited for were not meant for it.
	ReasonContended Reason = "contended"
	// ReasonFleetBehind: this node may have missed purges of its fleet, so it
	// uses nothing that it holds.
	ReasonFleetBehind Reason = "fleet-behind"
)

// Why an answer was not stored.
const (
	// ReasonPartial: 206, although the whole was asked for.
	ReasonPartial Reason = "partial"
	// ReasonStatus: a 1xx or 304 that answers no question of ours, or a
	// status that must-understand asks to understand.
	ReasonStatus Reason = "status"
	// ReasonRequestError: the answer says that this request was wrong, not what
	// the resource is.
	ReasonRequestError Reason = "request-error"
	// ReasonNoStore: the origin says no-store.
	ReasonNoStore Reason = "no-store"
	// ReasonPrivate: the origin says private.
	ReasonPrivate Reason = "private"
	// ReasonAuthorization: the request carries Authorization and the answer
	// does not permit sharing (RFC 9111, 3.5).
	ReasonAuthorization Reason = "authorization"
	// ReasonSetCookie: the answer sets a cookie.
	ReasonSetCookie Reason = "set-cookie"
	// ReasonMismatchedType: an asset's name, and something else under it.
	ReasonMismatchedType Reason = "mismatched-type"
	// ReasonVary: it varies on everything, or on what this gateway cannot see.
	ReasonVary Reason = "vary"
	// ReasonNoFreshness: nobody said how long it may be kept.
	ReasonNoFreshness Reason = "no-freshness"
	// ReasonExpired: stale on arrival, and nothing to revalidate it with.
	ReasonExpired Reason = "expired"
	// ReasonStream: an event stream never ends.
	ReasonStream Reason = "event-stream"
	// ReasonRollout: a version that is not the current one produced it.
	ReasonRollout Reason = "rollout"
	// ReasonTooLarge: larger than Options.MaxObject, and than what the disk takes,
	// or the disk did not keep up with it.
	ReasonTooLarge Reason = "too-large"
	// ReasonToDisk: larger than Options.MaxObject; it is being written to disk, and
	// stored when all of it is there.
	ReasonToDisk Reason = "to-disk"
	// ReasonNoRoom: fills in flight hold all the memory there is.
	ReasonNoRoom Reason = "no-room"
	// ReasonFenced: a purge that covers it came after it began.
	ReasonFenced Reason = "fenced"
	// ReasonInvalidated: an unsafe request changed the resource meanwhile.
	ReasonInvalidated Reason = "invalidated"
	// ReasonOutdated: a newer answer is already stored.
	ReasonOutdated Reason = "outdated"
	// ReasonOriginFailed: the origin gave no answer, and nothing stored could
	// stand in.
	ReasonOriginFailed Reason = "origin-failed"
	// ReasonCutOff: the answer ended before its end.
	ReasonCutOff Reason = "cut-off"
	// ReasonAbandoned: everybody who waited for the answer left.
	ReasonAbandoned Reason = "abandoned"
	// ReasonClientLeft: the client left before its answer came.
	ReasonClientLeft Reason = "client-left"
	// ReasonFault: a fault of this engine; the visitor is served all the same.
	ReasonFault Reason = "fault"
)

// Why a stored answer was, or was not, given without asking the origin.
const (
	// ReasonStaleWhileRevalidate: stale, within the window, refreshed meanwhile.
	ReasonStaleWhileRevalidate Reason = "stale-while-revalidate"
	// ReasonStaleIfError: stale, within the window, and the origin fails.
	ReasonStaleIfError Reason = "stale-if-error"
	// ReasonStaleUnreachable: stale, within the window, and no answer came.
	ReasonStaleUnreachable Reason = "stale-unreachable"
	// ReasonSoftPurged: a soft purge left it as a validator only.
	ReasonSoftPurged Reason = "soft-purged"
	// ReasonStale: past its lifetime and its windows.
	ReasonStale Reason = "stale"
	// ReasonNoCache: the origin wants to be asked each time.
	ReasonNoCache Reason = "no-cache"
	// ReasonOnlyIfCached: the request wants no forwarding (RFC 9111, 5.2.1.7).
	ReasonOnlyIfCached Reason = "only-if-cached"
	// ReasonDisk: a hit that had to be read from disk. Memory has it now, unless it
	// is too large.
	ReasonDisk Reason = "disk"
	// ReasonVault: a hit that memory had evicted, and the vault had kept. Memory has
	// it now.
	ReasonVault Reason = "vault"
	// ReasonShared: a hit that came from the cache that the fleet has in common.
	// Memory has it now.
	ReasonShared Reason = "shared"
)

// Status says in one word where an answer came from, for logs and metrics.
type Status string

const (
	// StatusHit: from the cache, fresh.
	StatusHit Status = "hit"
	// StatusStale: from the cache, stale, as a window permits.
	StatusStale Status = "stale"
	// StatusRevalidated: from the cache, after the origin confirmed it.
	StatusRevalidated Status = "revalidated"
	// StatusMiss: from the origin.
	StatusMiss Status = "miss"
	// StatusBypass: from the origin; the cache had no say.
	StatusBypass Status = "bypass"
	// StatusUnavailable: 504, since only a stored answer was wanted.
	StatusUnavailable Status = "unavailable"
	// StatusError: the origin failed and nothing stored could help.
	StatusError Status = "error"
)

// forward is why a request was forwarded, in the words of RFC 9211, 2.2.
type forward string

const (
	fwdBypass   forward = "bypass"
	fwdMethod   forward = "method"
	fwdURIMiss  forward = "uri-miss"
	fwdVaryMiss forward = "vary-miss"
	fwdRequest  forward = "request"
	fwdStale    forward = "stale"
	fwdPartial  forward = "partial"
)

// forwardFor is the RFC 9211 word for a request that passed for a reason.
func forwardFor(reason Reason) forward {
	switch reason {
	case ReasonUpgrade, ReasonRule, ReasonRequestBody, ReasonMethodOverride:
		return fwdBypass
	case ReasonMethod:
		return fwdMethod
	case ReasonRequestNoStore, ReasonAuthorizedRequest, ReasonPrecondition, ReasonConnection:
		return fwdRequest
	case ReasonRange:
		return fwdPartial
	case ReasonFleetBehind:
		return fwdStale
	}
	return fwdURIMiss
}

// statusFor is the status of such a request.
func statusFor(reason Reason) Status {
	switch forwardFor(reason) {
	case fwdBypass, fwdMethod, fwdRequest:
		return StatusBypass
	}
	return StatusMiss
}
