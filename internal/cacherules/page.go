package cacherules

import (
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

func init() {
	Kinds.Register("page", newPage, named.Spec{
		Args:    []string{"/*"},
		Options: map[string][]string{wordWithoutCookie: {"session"}, wordStale: {"none"}},
	})
}

// newPage is for pages that are the same for every visitor: browsers ask each
// time (no-cache), edge 60 seconds, stale 10 minutes.
func newPage(s named.Spec) (Verdict, error) {
	return Verdict{
		Mode: Cacheable, Browser: For(0), Edge: For(time.Minute), Stale: unit.Duration(10 * time.Minute),
	}, applies(s, allWords...)
}
