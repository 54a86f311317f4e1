package cacherules

import "github.com/edgegw/edge/internal/named"

func init() {
	Kinds.Register("private", newPrivate, named.Spec{Args: []string{"/api/*", "/account/*"}})
}

// newPrivate is for what belongs to one visitor: no cache may store it.
func newPrivate(s named.Spec) (Verdict, error) {
	return Verdict{Mode: Private}, applies(s, wordName)
}
