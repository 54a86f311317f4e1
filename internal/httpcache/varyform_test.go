package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// RFC 9111, 4.1; RFC 9110, 5.6.1, 12.4.2 and 12.5.
func TestVaryNormalisation(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		a, b  []string // lines of it
		same  bool
	}{
		"blanks around commas":                   {"Accept-Language", []string{"en,de"}, []string{"en ,\tde"}, true},
		"over several lines":                     {"Accept-Language", []string{"en, de"}, []string{"en", "de"}, true},
		"the order within one weight":            {"Accept-Language", []string{"en, de"}, []string{"de, en"}, true},
		"the order across weights":               {"Accept-Language", []string{"en;q=0.5, de"}, []string{"de, en;q=0.5"}, true},
		"case of languages":                      {"Accept-Language", []string{"en-US, de"}, []string{"EN-us, de"}, true},
		"case of the weight's name":              {"Accept-Language", []string{"en;q=0.5"}, []string{"en;Q=0.5"}, true},
		"blanks around the weight":               {"Accept-Language", []string{"en;q=0.5"}, []string{"en ; q=0.5"}, true},
		"a weight of one":                        {"Accept-Language", []string{"en;q=1.000"}, []string{"en"}, true},
		"zeros of a weight":                      {"Accept-Language", []string{"en;q=0.80"}, []string{"en;q=0.8"}, true},
		"empty members":                          {"Accept-Language", []string{"en,,de,"}, []string{"en,de"}, true},
		"a member twice":                         {"Accept-Language", []string{"en, en"}, []string{"en"}, true},
		"other weights":                          {"Accept-Language", []string{"en;q=0.5, de"}, []string{"en, de;q=0.5"}, false},
		"another language":                       {"Accept-Language", []string{"en"}, []string{"de"}, false},
		"one that is refused":                    {"Accept-Language", []string{"en, de;q=0"}, []string{"en"}, false},
		"a weight that is none":                  {"Accept-Language", []string{"en;q=2, de"}, []string{"de, en;q=2"}, false},
		"a weight with four digits":              {"Accept-Language", []string{"en;q=0.5000"}, []string{"en;q=0.5"}, false},
		"something after the weight":             {"Accept-Language", []string{"en;q=0.5;x=1, de"}, []string{"de, en;q=0.5;x=1"}, false},
		"media types":                            {"Accept", []string{"text/html;level=1, */*;q=0.1"}, []string{"*/*;q=0.1,TEXT/html; Level=1"}, true},
		"case of a parameter's value":            {"Accept", []string{"text/html;level=a"}, []string{"text/html;level=A"}, false},
		"a comma in quotes":                      {"Accept", []string{`a/b;x="1,2"`}, []string{`a/b;x="1, 2"`}, false},
		"a quote without an end":                 {"Accept", []string{`a/b;x="1, c/d`}, []string{`a/b;x="1,c/d`}, false},
		"another field's blanks":                 {"X-Features", []string{"a,b"}, []string{" a , b "}, true},
		"another field's case":                   {"X-Features", []string{"a,b"}, []string{"A,b"}, false},
		"another field's order":                  {"X-Features", []string{"a,b"}, []string{"b,a"}, false},
		"another field's weights":                {"X-Features", []string{"a;q=1"}, []string{"a"}, false},
		"cookies are compared as sent":           {"Cookie", []string{"a=1,2"}, []string{"a=1, 2"}, false},
		"one that is there, and one that is not": {"Accept-Language", []string{""}, nil, false},
	} {
		for _, normalize := range [][]string{{c.field}, {allFields}} {
			for _, swap := range []bool{false, true} {
				a, b := http.Header{c.field: c.a}, http.Header{c.field: c.b} // no lines: not there
				if swap {
					a, b = b, a
				}
				if got := matches(variedBy([]string{c.field}, normalize, a), b); got != c.same {
					t.Errorf("%s, by %v, swapped %v: same %v: want %v", name, normalize, swap, got, c.same)
				}
			}
		}
		a, b := http.Header{c.field: c.a}, http.Header{c.field: c.b}
		if joined(c.a) != joined(c.b) && matches(variedBy([]string{c.field}, nil, a), b) {
			t.Errorf("%s: the same without being asked: want it compared as sent", name)
		}
	}
}

// FuzzVaryForm: the form of a form is itself, so that what is stored in it is
// found by it.
func FuzzVaryForm(f *testing.F) {
	for _, seed := range []string{"en, de;q=0.5", "text/html;level=1, */*;q=0.1", `a/b;x="1,2"`, `"`, "a;q=0.1234", ";q=1", ",,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		for _, one := range []form{asSent, asList, asWeighted} {
			text := one.in([]string{field})
			if again := one.in([]string{text}); again != text {
				t.Fatalf("form %d of %q: %q, and of that %q", one, field, text, again)
			}
		}
		if one := joined([]string{field}); !strings.ContainsAny(one, ", \t;=\"") && one == strings.ToLower(one) && asWeighted.in([]string{field}) != one {
			t.Fatalf("%q: a single word is changed to %q", field, asWeighted.in([]string{field}))
		}
	})
}

// FuzzVary: names are canonical, sorted and each once, and a request matches
// what it was stored by.
func FuzzVary(f *testing.F) {
	f.Add("Accept-Language, foo,Foo", "en")
	f.Add("*", "")
	f.Add("a b", `"`)
	f.Fuzz(func(t *testing.T, field, value string) {
		names, ok := varyNames(http.Header{"Vary": {field}})
		if !ok {
			return
		}
		if strings.Contains(field, "*") && slices.Contains(strings.Split(strings.ReplaceAll(field, " ", ""), ","), "*") {
			t.Fatalf("%q: matched by anything", field)
		}
		request := make(http.Header)
		for i, name := range names {
			if name != http.CanonicalHeaderKey(name) || i > 0 && names[i-1] >= name {
				t.Fatalf("%q: %q", field, names)
			}
			request[name] = []string{value}
		}
		for _, normalize := range [][]string{nil, {allFields}} {
			stored := variedBy(names, normalize, request)
			if !matches(stored, request) || !sameVary(stored, variedAs(stored, request)) {
				t.Fatalf("%q: %+v does not match what it was stored by", field, stored)
			}
		}
	})
}

func TestNamesToNormalize(t *testing.T) {
	got, err := ParseNormalizeVary([]string{"accept-language", "*", "x-features"})
	if err != nil || !slices.Equal(got, []string{"Accept-Language", "*", "X-Features"}) {
		t.Errorf("%q %v: want canonical names", got, err)
	}
	for _, name := range []string{"", "a b", "Accept-Encoding", "cookie", "authorization", "ä", "a,b"} {
		if _, err := ParseNormalizeVary([]string{name}); err == nil {
			t.Errorf("%q: no error", name)
		}
		if err := (&Policy{NormalizeVary: []string{name}}).Validate(); err == nil {
			t.Errorf("policy with %q: no error", name)
		}
	}
}

func TestOneAnswerForOneMeaning(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60", "Vary: Accept-Language")
	w.get(site, "Accept-Language: en, de;q=0.5")
	w.get(site, "Accept-Language: de;q=0.5,en").wants(t, StatusMiss, 200, "hello")
	w.h.Policy.NormalizeVary = []string{"Accept-Language"}
	w.get(site, "Accept-Language: fr, de;q=0.5").wants(t, StatusMiss, 200, "hello")
	w.get(site, "Accept-Language: de; q=0.50,FR").wants(t, StatusHit, 200, "hello")
	w.get(site, "Accept-Language: de, FR").wants(t, StatusMiss, 200, "hello")
	// The origin gets the visitor's own order.
	if asked := w.origin.lastAsked().Get("Accept-Language"); asked != "de,fr" {
		t.Errorf("the origin was asked with %q", asked)
	}
}
