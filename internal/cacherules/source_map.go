package cacherules

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Kinds.Register("source_map", newSourceMap, named.Spec{
		Args:    []string{"*.map"},
		Options: map[string][]string{wordToken: {"0c4f6d1ab7e25d98"}},
	})
}

// newSourceMap is for files that show the application's source: only who sends
// a token gets them, such as an error tracker that wants to name the line, and
// no cache may store them. To everybody else they do not exist. The token stands
// in token_header, by default Authorization (as it is, or after Bearer), which
// access logs leave out.
func newSourceMap(s named.Spec) (Verdict, error) {
	g, err := newGuard(s.Options[wordToken], s.Options[wordTokenHeader])
	return Verdict{Mode: Private, Guard: g}, errors.Join(append(each(applies(s, wordName, wordToken, wordTokenHeader)), each(err)...)...)
}

// Guard lets in only who knows a token.
type Guard struct {
	header string // canonical
	sums   [][sha256.Size]byte
}

// Bounds of a token: out of reach of guessing, and small enough for a header.
const (
	minToken = 16
	maxToken = 512
)

func newGuard(tokens, header []string) (*Guard, error) {
	g := &Guard{header: "Authorization"}
	var errs []error
	if len(header) > 0 {
		g.header = http.CanonicalHeaderKey(header[0])
		if !isToken(header[0]) {
			errs = append(errs, fmt.Errorf("token_header %q: want the name of a request field, such as X-Sentry-Token", header[0]))
		}
	}
	if len(tokens) == 0 {
		errs = append(errs, errors.New("got no token: want one, such as token {env.SOURCE_MAP_TOKEN}"))
	}
	for i, token := range tokens {
		if n := len(token); n < minToken || n > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			errs = append(errs, fmt.Errorf("token %d has %d characters: want %d to %d, printable ASCII without spaces", i+1, n, minToken, maxToken))
		}
		g.sums = append(g.sums, sha256.Sum256([]byte(token)))
	}
	return g, errors.Join(errs...)
}

// Admits reports whether the header holds one of the tokens. How long it takes
// tells nothing about them.
func (g *Guard) Admits(h http.Header) bool {
	lines := h[g.header]
	if len(lines) != 1 || len(lines[0]) > maxToken+len("Bearer ") {
		return false
	}
	given := lines[0]
	if len(given) > 7 && strings.EqualFold(given[:7], "Bearer ") {
		given = given[7:]
	}
	sum, admits := sha256.Sum256([]byte(given)), 0
	for i := range g.sums {
		admits |= subtle.ConstantTimeCompare(sum[:], g.sums[i][:])
	}
	return admits == 1
}

// Header is the field in which the token stands. It is for this gateway alone.
func (g *Guard) Header() string { return g.header }
