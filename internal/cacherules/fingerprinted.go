package cacherules

import (
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Kinds.Register("fingerprinted", newFingerprinted, named.Spec{Args: []string{"/assets/*", "/_next/static/*"}})
}

// newFingerprinted is for names that change whenever the content does: browsers
// 1 year (365 days) and immutable, edge 1 year. What is no success, or HTML, is
// no-store for everyone: it is an error page under an asset's name. Stale and
// without_cookie do not apply: such content never goes stale, and is the same
// for everyone.
func newFingerprinted(s named.Spec) (Verdict, error) {
	const year = 365 * 24 * time.Hour
	return Verdict{Mode: Cacheable, Fingerprinted: true, Browser: For(year), Edge: For(year)},
		applies(s, wordName, wordBrowser, wordEdge, wordOverride, wordTag,
			wordStoreSetCookie, wordStoreAuthorized, wordStoreMismatched, wordTrustVary)
}
