package cacherules

import (
	"errors"

	"github.com/edgegw/edge/internal/named"
)

// Kinds are the kinds of rules, one file each. A constructor gets the rule in
// the shape of a Caddyfile, refuses the words that do not apply, and returns
// the verdict for what the operator left unsaid.
var Kinds named.Registry[Verdict]

// allWords are the words of kinds to which everything applies.
var allWords = []string{
	wordName, wordBrowser, wordEdge, wordStale, wordOverride, wordTag,
	wordWithoutCookie, wordStoreSetCookie, wordStoreAuthorized, wordStoreMismatched, wordTrustVary,
}

// applies refuses the words of a rule that do not apply to its kind.
func applies(s named.Spec, words ...string) error {
	s.Args = nil // The paths would only make the message longer.
	return errors.Join(s.Want(0, 0, "no arguments", words...)...)
}
