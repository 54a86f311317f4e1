package cacherules

import "github.com/edgegw/edge/internal/named"

// Rule is one rule as the operator wrote it. What is left unsaid gets the
// defaults of its kind.
type Rule struct {
	// Kind is the word that the rule begins with, one of Kinds.
	Kind string `json:"kind"`
	// Name stands for the rule in logs and metrics. Default: the kind and its
	// paths, such as "page /*".
	Name string `json:"name,omitempty"`
	// Paths are the patterns that the rule is about; one that matches is
	// enough. They have Caddy's meaning: letters match without regard to case,
	// a star at one end or at both ends stands for anything, and in a pattern
	// with other stars each one stands for anything but a slash. "/*" is
	// everything. They are compared with the decoded path after //, /./ and
	// /../ are resolved. Needed, unless a matcher is given.
	Paths []string `json:"paths,omitempty"`
	// Browser is how long browsers may keep the answer: whole seconds, or
	// "none", which lets them keep it but ask each time (no-cache).
	Browser Lifetime `json:"browser,omitzero"`
	// Edge is how long this gateway and the CDN may serve without asking:
	// whole seconds, or "none".
	Edge Lifetime `json:"edge,omitzero"`
	// Stale is how long past Edge the answer may be served while it is
	// refreshed or while the origin fails: whole seconds, or "none".
	Stale Lifetime `json:"stale,omitzero"`
	// Override lets the lifetimes win over those that the origin sends. Its
	// no-store, private and Set-Cookie are obeyed all the same. Default: off.
	Override bool `json:"override,omitempty"`
	// Tags are added to each answer that may be stored, for purges by tag.
	// Other characters than printable ASCII are percent-escaped.
	Tags []string `json:"tags,omitempty"`
	// WithoutCookie names cookies that make a request private: it is neither
	// answered from the cache nor stored. A star at the end stands for
	// anything: wordpress_logged_in_*.
	WithoutCookie []string `json:"without_cookie,omitempty"`
	// Tokens let in who may fetch what a rule of kind source_map is about: one,
	// or two while one is replaced by the other. At least 16 characters.
	Tokens []string `json:"tokens,omitempty"`
	// TokenHeader is the request field in which the token stands. Default:
	// Authorization, as it is or after "Bearer".
	TokenHeader string `json:"token_header,omitempty"`
	// UnsafeStoreSetCookie stores answers that set cookies, for every visitor
	// to get. Default: off.
	UnsafeStoreSetCookie bool `json:"unsafe_store_set_cookie,omitempty"`
	// UnsafeStoreAuthorized stores answers to requests with Authorization,
	// for every visitor to get. Default: off.
	UnsafeStoreAuthorized bool `json:"unsafe_store_authorized,omitempty"`
	// UnsafeStoreMismatchedType stores what its name says to be an asset and
	// its Content-Type to be something else, such as HTML under /x.css.
	// Default: off; only the origin's public, s-maxage, or a lifetime for CDNs
	// permits it.
	UnsafeStoreMismatchedType bool `json:"unsafe_store_mismatched_type,omitempty"`
	// UnsafeTrustVary believes that the origin's Vary names every request field
	// that changes its answers: what Vary leaves out is one answer for all,
	// here and at the CDN, even where the field asks frameworks for another
	// form of the page. Default: off.
	UnsafeTrustVary bool `json:"unsafe_trust_vary,omitempty"`
}

// The words of a rule's block.
const (
	wordName            = "name"
	wordBrowser         = "browser"
	wordEdge            = "edge"
	wordStale           = "stale"
	wordOverride        = "override"
	wordTag             = "tag"
	wordWithoutCookie   = "without_cookie"
	wordToken           = "token"
	wordTokenHeader     = "token_header"
	wordStoreSetCookie  = "unsafe_store_set_cookie"
	wordStoreAuthorized = "unsafe_store_authorized"
	wordStoreMismatched = "unsafe_store_mismatched_type"
	wordTrustVary       = "unsafe_trust_vary"
)

// spec is the rule in the shape of a Caddyfile: what kinds are built from.
func (r Rule) spec() named.Spec {
	s := named.Spec{Name: r.Kind, Args: r.Paths, Options: map[string][]string{}}
	if r.Name != "" {
		s.Options[wordName] = []string{r.Name}
	}
	for word, l := range map[string]Lifetime{wordBrowser: r.Browser, wordEdge: r.Edge, wordStale: r.Stale} {
		if l.Set {
			s.Options[word] = []string{l.String()}
		}
	}
	for word, on := range map[string]bool{
		wordOverride: r.Override, wordStoreSetCookie: r.UnsafeStoreSetCookie, wordStoreAuthorized: r.UnsafeStoreAuthorized,
		wordStoreMismatched: r.UnsafeStoreMismatchedType, wordTrustVary: r.UnsafeTrustVary,
	} {
		if on {
			s.Options[word] = nil
		}
	}
	if r.TokenHeader != "" {
		s.Options[wordTokenHeader] = []string{r.TokenHeader}
	}
	for word, list := range map[string][]string{wordTag: r.Tags, wordWithoutCookie: r.WithoutCookie, wordToken: r.Tokens} {
		if len(list) > 0 {
			s.Options[word] = list
		}
	}
	return s
}

// label names the rule in logs, metrics and errors.
func (r Rule) label() string {
	if r.Name != "" {
		return r.Name
	}
	return named.Spec{Name: r.Kind, Args: r.Paths}.String()
}
