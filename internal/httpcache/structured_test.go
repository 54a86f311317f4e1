package httpcache

import (
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/cacherules"
)

func TestTargetedField(t *testing.T) {
	fresh := func(n int64) cacherules.Directives {
		return cacherules.Directives{MaxAge: cacherules.Seconds{Set: true, N: n}}
	}
	for name, c := range map[string]struct {
		lines []string
		valid bool
		want  cacherules.Directives
	}{
		"max-age":                             {[]string{"max-age=60"}, true, fresh(60)},
		"several lines are one field":         {[]string{"max-age=60", "no-store"}, true, cacherules.Directives{NoStore: true, MaxAge: cacherules.Seconds{Set: true, N: 60}}},
		"the last of two counts":              {[]string{"max-age=1, max-age=60"}, true, fresh(60)},
		"more seconds than 2³¹ are 2³¹":       {[]string{"max-age=99999999999"}, true, fresh(1 << 31)},
		"parameters are ignored":              {[]string{`max-age=60;a;b="c";d=:aGk=:`}, true, fresh(60)},
		"unknown directives of any type":      {[]string{`foo, bar=(a "b" 1.5);x, baz=:aGk=:, q=?0, d=@17, s=%"x", max-age=60`}, true, fresh(60)},
		"a false flag is none":                {[]string{"no-store=?0, max-age=60"}, true, fresh(60)},
		"field names count as the whole":      {[]string{`private="set-cookie"`}, true, cacherules.Directives{Private: true}},
		"a known word alone":                  {[]string{"no-cache"}, true, cacherules.Directives{NoCache: true}},
		"empty":                               {[]string{"  "}, false, cacherules.Directives{}},
		"a string where an integer belongs":   {[]string{`max-age="60"`}, false, cacherules.Directives{}},
		"a decimal":                           {[]string{"max-age=1.5"}, false, cacherules.Directives{}},
		"a negative number":                   {[]string{"max-age=-1"}, false, cacherules.Directives{}},
		"max-age without a value":             {[]string{"max-age"}, false, cacherules.Directives{}},
		"garbage after something fine":        {[]string{"max-age=60, &&&&&"}, false, cacherules.Directives{}},
		"a blank before the equals sign":      {[]string{"max-age =60"}, false, cacherules.Directives{}},
		"a blank after the equals sign":       {[]string{"max-age= 60"}, false, cacherules.Directives{}},
		"upper case":                          {[]string{"MaX-aGe=60"}, false, cacherules.Directives{}},
		"a trailing comma":                    {[]string{"max-age=60,"}, false, cacherules.Directives{}},
		"an open string":                      {[]string{`foo="bar`}, false, cacherules.Directives{}},
		"an open list":                        {[]string{`foo=(a b`}, false, cacherules.Directives{}},
		"sixteen digits":                      {[]string{"max-age=1234567890123456"}, false, cacherules.Directives{}},
		"a bad escape":                        {[]string{`foo="\a"`}, false, cacherules.Directives{}},
		"a decimal without digits after it":   {[]string{"foo=1."}, false, cacherules.Directives{}},
		"a boolean that is neither 0 nor 1":   {[]string{"foo=?2"}, false, cacherules.Directives{}},
		"list members that are not separated": {[]string{`foo=("a""b")`}, false, cacherules.Directives{}},
	} {
		got, ok := parseTargeted(c.lines)
		if ok != c.valid {
			t.Errorf("%s: valid %v: want %v", name, ok, c.valid)
			continue
		}
		if ok && (got.MaxAge != c.want.MaxAge || got.NoStore != c.want.NoStore || got.Private != c.want.Private || got.NoCache != c.want.NoCache) {
			t.Errorf("%s: %+v: want %+v", name, got, c.want)
		}
	}
}

// FuzzTargeted: parsing ends, and what is valid stays valid, and the same, with
// a member added that nobody knows.
func FuzzTargeted(f *testing.F) {
	f.Add("max-age=60")
	f.Add(`a=(1 "x");q, private="a"`)
	f.Add("max-age=60, &&&")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Trim(text, " \t") == "" {
			if _, ok := parseTargeted([]string{text}); ok {
				t.Fatalf("%q: an empty field counts as absent", text)
			}
			return
		}
		before, ok := parseTargeted([]string{text})
		after, still := parseTargeted([]string{text, "zz-unknown=?1"})
		if ok != still || ok && before.MaxAge != after.MaxAge {
			t.Fatalf("%q: valid %v and %v", text, ok, still)
		}
	})
}
