package cacherules

import (
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

func init() {
	Kinds.Register("static", newStatic, named.Spec{
		Args:    []string{"/images/*", "*.woff2"},
		Options: map[string][]string{wordBrowser: {"2h"}, wordTag: {"images"}},
	})
}

// newStatic is for files that change now and then under the same name:
// browsers 1 hour, edge 1 day, stale 7 days.
func newStatic(s named.Spec) (Verdict, error) {
	return Verdict{
		Mode: Cacheable, Browser: For(time.Hour), Edge: For(24 * time.Hour), Stale: unit.Duration(7 * 24 * time.Hour),
	}, applies(s, allWords...)
}
