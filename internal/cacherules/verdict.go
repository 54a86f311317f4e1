// Package cacherules says what the operator's rules make of a request: may its
// answer be stored, for how long, and what are browsers and the CDN told. It is
// pure: it reads requests and header fields and returns values.
package cacherules

import (
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

// Lifetime is a duration that may be unsaid.
type Lifetime struct {
	// Set reports whether the operator wrote a lifetime at all.
	Set bool
	// D is the lifetime; zero with Set means "always revalidate".
	D unit.Duration
}

// Verdict is what the rules say about one request. Verdicts are compiled once
// for each rule and shared by all requests: nobody may change one.
type Verdict struct {
	// Rule names the rule for logs and metrics, such as "page /*". Empty when
	// no rule matched.
	Rule string
	// Kind is the word that the rule began with: page, static, fingerprinted, private.
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
}
