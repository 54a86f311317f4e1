package cacherules

import (
	"net/http"
	"strings"
	"testing"
)

func TestAGuardAdmitsWhoKnowsAToken(t *testing.T) {
	const one, two = "0c4f6d1ab7e25d98", "another-token-9f2b71"
	set, err := Compile([]Rule{
		{Kind: "source_map", Paths: []string{"*.map"}, Tokens: []string{one, two}},
		{Kind: "page", Paths: []string{"/*"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	guard := set.Rules()[0].Guard
	cases := map[string]struct {
		lines  []string
		admits bool
	}{
		"the token":                {[]string{one}, true},
		"the token of before":      {[]string{two}, true},
		"as a bearer token":        {[]string{"bearer " + one}, true},
		"none":                     {nil, false},
		"an empty one":             {[]string{""}, false},
		"nothing after Bearer":     {[]string{"Bearer "}, false},
		"its beginning":            {[]string{one[:15]}, false},
		"in capitals":              {[]string{strings.ToUpper(one)}, false},
		"twice":                    {[]string{one, one}, false},
		"a right one among others": {[]string{"x, " + one}, false},
		"a very long one":          {[]string{strings.Repeat(one, 100)}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := guard.Admits(http.Header{"Authorization": c.lines}); got != c.admits {
				t.Errorf("got %t", got)
			}
		})
	}
	for _, path := range []string{"/a.map", "/A.MAP", "/a.map;x", "/a.map?x", "/x;a.map", "/a%2emap", `/x\a.map`, "/a.map\x00.js", "/b/../a.map"} {
		if v := set.Judge(request("GET", path)); v.Guard == nil {
			t.Errorf("%q is judged by %q: want the guard's rule", path, v.Rule)
		}
	}
	if v := set.Judge(request("GET", "/a.js")); v.Guard != nil {
		t.Error("a script has a guard")
	}
}

func request(method, path string) *http.Request {
	r, _ := http.NewRequest(method, "http://example.com/", nil)
	r.URL.Path = path
	return r
}

func TestMistakesInAGuardAreAllTold(t *testing.T) {
	_, err := Compile([]Rule{
		{Kind: "source_map", Paths: []string{"*.map"}},
		{Kind: "source_map", Paths: []string{"*.map"}, Tokens: []string{"short"}, TokenHeader: "no field"},
		{Kind: "page", Paths: []string{"/*"}, Tokens: []string{"0c4f6d1ab7e25d98"}},
	}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"rule 1 (source_map *.map): got no token", "rule 2 (source_map *.map): token 1 has 5 characters",
		`rule 2 (source_map *.map): token_header "no field"`, `rule 3 (page /*): page: unknown word "token"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s in it", err, want)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Errorf("a token is shown: %v", err)
	}
}
