package cacherules

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func seconds(n int64) Seconds { return Seconds{Set: true, N: n} }

var invalid = Seconds{Set: true, Invalid: true}

func TestParseDirectives(t *testing.T) {
	// Sections are of RFC 9111 unless said otherwise.
	cases := map[string]struct {
		lines []string
		want  Directives
	}{
		"no field at all":                            {nil, Directives{}},
		"an empty field":                             {[]string{""}, Directives{}},
		"names in any case, 5.2":                     {[]string{"Max-Age=5, NO-STORE"}, Directives{MaxAge: seconds(5), NoStore: true}},
		"several lines are one list, 9110 5.3":       {[]string{"public", "max-age=1"}, Directives{Public: true, MaxAge: seconds(1)}},
		"empty members, 9110 5.6.1.2":                {[]string{",, ,no-cache,\t,"}, Directives{NoCache: true}},
		"blanks around members":                      {[]string{" \tmax-age=5\t , immutable "}, Directives{MaxAge: seconds(5), Immutable: true}},
		"every flag":                                 {[]string{"no-store,private,no-cache,must-revalidate,proxy-revalidate,public,immutable,must-understand,only-if-cached,no-transform"}, Directives{true, true, true, true, true, true, true, true, true, true, Seconds{}, Seconds{}, Seconds{}, Seconds{}, Seconds{}, Seconds{}, nil, nil}},
		"every number":                               {[]string{"max-age=1,s-maxage=2,stale-while-revalidate=3,stale-if-error=4,min-fresh=5,max-stale=6"}, Directives{MaxAge: seconds(1), SMaxAge: seconds(2), StaleWhileRevalidate: seconds(3), StaleIfError: seconds(4), MinFresh: seconds(5), MaxStale: seconds(6)}},
		"max-stale alone accepts any age, 5.2.1.2":   {[]string{"max-stale"}, Directives{MaxStale: seconds(1 << 31)}},
		"quoted numbers are accepted, 5.2":           {[]string{`max-age="60"`}, Directives{MaxAge: seconds(60)}},
		"leading zeros, 1.2.2":                       {[]string{"max-age=007"}, Directives{MaxAge: seconds(7)}},
		"2^31 is as far as it goes, 1.2.2":           {[]string{"max-age=2147483649"}, Directives{MaxAge: seconds(2147483648)}},
		"a hundred digits do not wrap, 1.2.2":        {[]string{"max-age=" + strings.Repeat("9", 100)}, Directives{MaxAge: seconds(2147483648)}},
		"the first of two counts, 4.2.1":             {[]string{"max-age=1", "max-age=2"}, Directives{MaxAge: seconds(1)}},
		"the first counts even if invalid, 4.2.1":    {[]string{"max-age=x, max-age=2"}, Directives{MaxAge: invalid}},
		"a word for a number":                        {[]string{"max-age=abc"}, Directives{MaxAge: invalid}},
		"a fraction":                                 {[]string{"max-age=1.5"}, Directives{MaxAge: invalid}},
		"letters after the digits":                   {[]string{"max-age=100a"}, Directives{MaxAge: invalid}},
		"letters before the digits":                  {[]string{"max-age=a100"}, Directives{MaxAge: invalid}},
		"a negative number":                          {[]string{"max-age=-1"}, Directives{MaxAge: invalid}},
		"single quotes are no quotes":                {[]string{"max-age='60'"}, Directives{MaxAge: invalid}},
		"no number":                                  {[]string{"max-age"}, Directives{MaxAge: invalid}},
		"an empty number":                            {[]string{"max-age="}, Directives{MaxAge: invalid}},
		"an empty quoted number":                     {[]string{`max-age=""`}, Directives{MaxAge: invalid}},
		"a blank before the equals sign":             {[]string{"max-age =60"}, Directives{MaxAge: invalid}},
		"a blank after the equals sign":              {[]string{"max-age= 60, public"}, Directives{MaxAge: invalid, Public: true}},
		"unknown directives are ignored, 5.2.3":      {[]string{"max-age=1, community=\"UCI\", x"}, Directives{MaxAge: seconds(1)}},
		"a quoted comma separates nothing":           {[]string{`ext="a, no-store, max-age=9", max-age=1`}, Directives{MaxAge: seconds(1)}},
		"an escaped quote does not end the string":   {[]string{`ext="a\", no-store", public`}, Directives{Public: true}},
		"a flag with an argument is still the flag":  {[]string{"no-store=yes, public=1"}, Directives{NoStore: true, Public: true}},
		"a longer name is another name":              {[]string{"no-storex, max-ages=1"}, Directives{}},
		"private for named fields, 5.2.2.7":          {[]string{`private="set-cookie, x-USER"`}, Directives{PrivateFields: []string{"Set-Cookie", "X-User"}}},
		"no-cache for a field as token, 5.2.2.4":     {[]string{"no-cache=x-user"}, Directives{NoCacheFields: []string{"X-User"}}},
		"an escaped field name, 9110 5.6.4":          {[]string{`no-cache="x\-us\er"`}, Directives{NoCacheFields: []string{"X-User"}}},
		"both forms of no-cache":                     {[]string{`no-cache="a", no-cache`}, Directives{NoCache: true, NoCacheFields: []string{"A"}}},
		"no field names: the whole response":         {[]string{`private="", no-cache=" , "`}, Directives{Private: true, NoCache: true}},
		"a field that is no name: the whole":         {[]string{`private="set cookie"`}, Directives{Private: true}},
		"junk after a quoted string grants nothing":  {[]string{`max-age="60"x, private="a"b`}, Directives{MaxAge: invalid, Private: true}},
		"an unclosed quote may forbid, not grant":    {[]string{`x="y, max-age=60, public, no-store, immutable, must-understand`}, Directives{MaxAge: invalid, NoStore: true}},
		"an unclosed quote ends with its line":       {[]string{`x="y`, "max-age=60"}, Directives{MaxAge: seconds(60)}},
		"an unclosed max-stale accepts no staleness": {[]string{`x="y, max-stale`}, Directives{MaxStale: invalid}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ParseDirectives(c.lines); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q:\n got %+v\nwant %+v", c.lines, got, c.want)
			}
		})
	}
}

func FuzzParseDirectives(f *testing.F) {
	f.Add("max-age=60, private=\"a, b\"", "no-store")
	f.Add(`x="\`, `=,="`)
	f.Add("max-age = \"1\"", "s-maxage=99999999999999999999")
	f.Fuzz(func(t *testing.T, first, second string) {
		d := ParseDirectives([]string{first, second})
		for _, s := range []Seconds{d.MaxAge, d.SMaxAge, d.StaleWhileRevalidate, d.StaleIfError, d.MinFresh, d.MaxStale} {
			if s.N < 0 || s.N > 1<<31 || s.N != 0 && (!s.Set || s.Invalid) || s.Invalid && !s.Set {
				t.Fatalf("%q, %q: impossible %+v", first, second, s)
			}
		}
		for _, name := range append(d.NoCacheFields, d.PrivateFields...) {
			if !isToken(name) {
				t.Fatalf("%q, %q: field name %q", first, second, name)
			}
		}
		if forbidden := ParseDirectives([]string{first, second, "no-store, private"}); !forbidden.NoStore || !forbidden.Private {
			t.Fatalf("%q, %q hide a no-store of their own line", first, second)
		}
		if again := ParseDirectives([]string{first, second}); !reflect.DeepEqual(d, again) {
			t.Fatalf("%q, %q: two readings differ", first, second)
		}
	})
}

// Any number that a library can read must read the same here.
func FuzzDeltaSeconds(f *testing.F) {
	f.Add("0")
	f.Add("2147483648")
	f.Add("+1")
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := deltaSeconds(text)
		want, err := strconv.ParseUint(text, 10, 63)
		if err == nil && (!ok || n != int64(min(want, 1<<31))) {
			t.Fatalf("%q: %d, %t: want %d", text, n, ok, want)
		}
		if ok && err != nil && n != 1<<31 {
			t.Fatalf("%q: %d, but %v", text, n, err)
		}
	})
}
