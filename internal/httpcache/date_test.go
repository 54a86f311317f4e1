package httpcache

import (
	"testing"
	"time"
)

func TestDates(t *testing.T) {
	want := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	// The first three are the examples of RFC 9110, 5.6.7.
	for name, c := range map[string]struct {
		text  string
		valid bool
	}{
		"IMF-fixdate":             {"Sun, 06 Nov 1994 08:49:37 GMT", true},
		"RFC 850":                 {"Sunday, 06-Nov-94 08:49:37 GMT", true},
		"asctime":                 {"Sun Nov  6 08:49:37 1994", true},
		"other letter case":       {"sun, 06 NOV 1994 08:49:37 gmt", true},
		"a wrong day of the week": {"Mon, 06 Nov 1994 08:49:37 GMT", true},
		"UTC":                     {"Sun, 06 Nov 1994 08:49:37 UTC", false},
		"another zone":            {"Sunday, 06-Nov-94 08:49:37 AEST", false},
		"a numeric zone":          {"Sun, 06 Nov 1994 08:49:37 +0000", false},
		"no comma":                {"Sun 06 Nov 1994 08:49:37 GMT", false},
		"dashes":                  {"Sun, 06-Nov-1994 08:49:37 GMT", false},
		"two digits for the year": {"Sun, 06 Nov 94 08:49:37 GMT", false},
		"one digit for the hour":  {"Sun, 06 Nov 1994 8:49:37 GMT", false},
		"doubled blanks":          {"Sun, 06  Nov 1994 08:49:37 GMT", false},
		"zero":                    {"0", false},
		"nothing":                 {"", false},
	} {
		got, ok := parseDate(c.text)
		if ok != c.valid || ok && !got.Equal(want) {
			t.Errorf("%s: %v %v: want valid %v, %v", name, got, ok, c.valid, want)
		}
	}
}
