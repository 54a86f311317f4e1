package cacherules

import "github.com/edgegw/edge/internal/named"

func init() {
	Kinds.Register("rule", newFree, named.Spec{
		Args:    []string{"/feeds/*/latest"},
		Options: map[string][]string{wordEdge: {"5m"}},
	})
}

// newFree is the kind without defaults: only what is written applies. Without
// an edge lifetime whether the answer is stored stays the origin's decision.
func newFree(s named.Spec) (Verdict, error) {
	v := Verdict{Mode: Origin}
	if _, written := s.Options[wordEdge]; written {
		v.Mode = Cacheable
	}
	return v, applies(s, allWords...)
}
