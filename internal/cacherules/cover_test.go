package cacherules

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCovered(t *testing.T) {
	cases := map[string]struct {
		one  string
		by   string
		want bool
	}{
		"nothing covers nothing":                       {"/a", "", false},
		"everything covers all":                        {"*.css", "/*", true},
		"only everything covers everything":            {"/*", "/a* *b", false},
		"the same":                                     {"/a*", "/a*", true},
		"the same in other letters":                    {"/A/*", "/a/*", true},
		"exact under a prefix":                         {"/api/users", "/api/*", true},
		"exact beside a prefix":                        {"/api", "/api/*", false},
		"exact under a suffix":                         {"/a.css", "*.css", true},
		"a longer prefix":                              {"/api/v1/*", "/api/*", true},
		"a shorter prefix":                             {"/api/*", "/api/v1/*", false},
		"a longer suffix":                              {"*.min.js", "*.js", true},
		"a prefix under a substring":                   {"/a/thumbs/x*", "*/thumbs/*", true},
		"a suffix under a substring":                   {"*/thumbs/x", "*/thumbs/*", true},
		"a substring under a substring":                {"*xthumbsx*", "*thumbs*", true},
		"a glob under a prefix":                        {"/u/*/info", "/u/*", true},
		"a prefix is more than a glob":                 {"/u/*", "/u/*/info", false},
		"stars of globs stop at slashes":               {"/a/*/c", "/a/*b/c /a/*", true},
		"a glob under a wider glob":                    {"/a/x*y/c", "/a/*/c", true},
		"a suffix is more than a glob":                 {"*.js", "/*.j*s", false},
		"a slash begins every path":                    {"*", "/*", true},
		"a substring of one slash is everything":       {"/a*", "*/*", true},
		"two together":                                 {"/[x*", "/[x /[x*", true},
		"a union covers what neither does":             {"/a*", "/a /ab* /a*", true},
		"all continuations are there but one":          {"/a*", "/a/* /ab* /a", false},
		"exact or longer":                              {"/a*", "/a *a*", true},
		"a glob is its beginning with and without":     {"/a*/b", "/a/b /a*/b", true},
		"a suffix that needs two letters, one missing": {"*b", "*ab", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var by []pattern
			for _, written := range strings.Fields(c.by) {
				if p, err := parsePattern(written); err == nil {
					by = append(by, p)
				}
			}
			if got := covered(mustPattern(t, c.one), by); got != c.want {
				t.Errorf("%q by %q: got %t", c.one, c.by, got)
			}
		})
	}
}

// Short patterns over two letters are judged by every path of up to six
// characters over three, which is enough to tell them apart.
func TestCoveredAgreesWithTryingEveryPath(t *testing.T) {
	paths := []string{"/"}
	for from := 0; len(paths[from]) < 6; from++ {
		for _, letter := range []string{"a", "b", "/", "z"} {
			paths = append(paths, paths[from]+letter)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	tried := 0
	for tried < 400 {
		one, err := parsePattern(randomPattern(random))
		other, otherErr := parsePattern(randomPattern(random))
		third, thirdErr := parsePattern(randomPattern(random))
		if err != nil || otherErr != nil || thirdErr != nil {
			continue
		}
		tried++
		want := true
		for _, p := range paths {
			if one.match(p) && !other.match(p) && !third.match(p) {
				want = false
				break
			}
		}
		if got := covered(one, []pattern{other, third}); got != want {
			t.Errorf("%+v by %+v and %+v: got %t", one, other, third, got)
		}
	}
}

func randomPattern(random *rand.Rand) string {
	var text strings.Builder
	for range 1 + random.IntN(4) {
		text.WriteByte("ab/*"[random.IntN(4)])
	}
	return text.String()
}
