package cacherules

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

func mustCompile(t testing.TB, rules ...Rule) *Ruleset {
	t.Helper()
	set, err := Compile(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// shop is the example of the design.
func shop(t testing.TB) *Ruleset {
	return mustCompile(t,
		Rule{Kind: "fingerprinted", Paths: []string{"/assets/*", "/_next/static/*"}},
		Rule{Kind: "static", Paths: []string{"/images/*", "/fonts/*"}},
		Rule{Kind: "private", Paths: []string{"/api/*", "/account/*"}},
		Rule{Kind: "page", Name: "pages", Paths: []string{"/*"}, WithoutCookie: []string{"session"}, Tags: []string{"pages"}},
	)
}

func get(path string) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}}
}

func TestJudge(t *testing.T) {
	set := shop(t)
	for name, c := range map[string]struct{ path, want string }{
		"the first rule that matches":              {"/assets/app-1A2B.js", "fingerprinted /assets/* /_next/static/*"},
		"a second path of a rule":                  {"/fonts/a.woff2", "static /images/* /fonts/*"},
		"the last rule takes the rest":             {"/", "pages"},
		"no path at all is the root, 9110 4.2.3":   {"", "pages"},
		"the asterisk form":                        {"*", "pages"},
		"letters in any case":                      {"/API/me", "private /api/* /account/*"},
		"doubled slashes are one":                  {"//api//me", "private /api/* /account/*"},
		"dots that change no rule are resolved":    {"/api/./v1/../me", "private /api/* /account/*"},
		"dots that lead to private are private":    {"/assets/../account/me", "ambiguous path"},
		"dots that lead out of private as well":    {"/account/../assets/app.js", "ambiguous path"},
		"parameters that change no rule":           {"/products;sort=name/1;x=2", "pages"},
		"parameters that hide a private path":      {"/account;x=1/me", "ambiguous path"},
		"parameters that look like a file":         {"/api/me;x.css", "private /api/* /account/*"},
		"dots between public rules are not stored": {"/images/../", "ambiguous path"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := set.Judge(get(c.path)); got.Rule != c.want {
				t.Errorf("%q: got %q: want %q", c.path, got.Rule, c.want)
			}
		})
	}
	if got := (*Ruleset)(nil).Judge(get("/")); got != &Unruled || got.Mode != Origin {
		t.Errorf("no rules: got %+v", got)
	}
	if got := mustCompile(t).Judge(get("/")); got != &Unruled {
		t.Errorf("an empty ruleset: got %+v", got)
	}
	if !set.Judge(get("/assets/../account/me")).Bypasses(get("/")) {
		t.Error("an ambiguous path may be answered from the cache")
	}
}

func TestJudgeAllocatesNothing(t *testing.T) {
	set := shop(t)
	for _, path := range []string{"/assets/App-1A2B.js", "/api/me", "/", "/products/1"} {
		r := get(path)
		r.Header.Set("Cookie", "a=1; b=2; c=3")
		if n := testing.AllocsPerRun(100, func() { set.Judge(r).Bypasses(r) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

type byHost string

func (h byHost) Match(r *http.Request) bool { return r.Host == string(h) }

func TestMatchersNarrowRules(t *testing.T) {
	set, err := Compile([]Rule{
		{Kind: "private", Name: "staging"},
		{Kind: "static", Name: "images", Paths: []string{"/images/*"}},
		{Kind: "page", Name: "pages", Paths: []string{"/*"}},
	}, []Matcher{byHost("staging.example"), byHost("shop.example")})
	if err != nil {
		t.Fatal(err)
	}
	for want, target := range map[string]string{
		"staging": "http://staging.example/images/a.png",
		"images":  "http://shop.example/images/a.png",
		"pages":   "http://other.example/images/a.png",
	} {
		if got := set.Judge(httptest.NewRequest(http.MethodGet, target, nil)).Rule; got != want {
			t.Errorf("%s: got %q: want %q", target, got, want)
		}
	}
	if dead := set.Unreachable(); len(dead) != 0 {
		t.Errorf("rules behind matchers can be reached: %q", dead)
	}
}

func TestKindsHaveTheirDefaults(t *testing.T) {
	const day = 24 * time.Hour
	for kind, want := range map[string]Verdict{
		"fingerprinted": {Mode: Cacheable, Fingerprinted: true, Browser: For(365 * day), Edge: For(365 * day)},
		"static":        {Mode: Cacheable, Browser: For(time.Hour), Edge: For(day), Stale: unit.Duration(7 * day)},
		"page":          {Mode: Cacheable, Browser: For(0), Edge: For(time.Minute), Stale: unit.Duration(10 * time.Minute)},
		"private":       {Mode: Private},
		"rule":          {Mode: Origin},
	} {
		want.Rule, want.Kind = kind+" /*", kind
		if got := mustCompile(t, Rule{Kind: kind, Paths: []string{"/*"}}).Rules()[0]; !reflect.DeepEqual(*got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", kind, *got, want)
		}
	}
}

func TestWhatIsWrittenWins(t *testing.T) {
	rule := Rule{
		Kind: "page", Name: "n", Paths: []string{"/*"}, Browser: For(time.Minute), Edge: For(0), Stale: For(0), Override: true,
		Tags: []string{"t"}, WithoutCookie: []string{"c"}, UnsafeStoreSetCookie: true, UnsafeStoreAuthorized: true,
	}
	want := Verdict{
		Rule: "n", Kind: "page", Mode: Cacheable, Browser: For(time.Minute), Edge: For(0), Override: true,
		Tags: []string{"t"}, WithoutCookie: []string{"c"}, StoreSetCookie: true, StoreAuthorized: true,
	}
	got := mustCompile(t, rule).Rules()[0]
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("\n got %+v\nwant %+v", *got, want)
	}
	rule.Tags[0], rule.WithoutCookie[0] = "changed", "changed"
	if !reflect.DeepEqual(*got, want) {
		t.Error("the verdict shares the slices of the config")
	}
	if v := mustCompile(t, Rule{Kind: "rule", Paths: []string{"/*"}, Edge: For(0)}).Rules()[0]; v.Mode != Cacheable {
		t.Error("a free rule with an edge lifetime, even none, is cacheable")
	}
}

func TestRuleInJSON(t *testing.T) {
	text := `{"kind":"page","paths":["/*"],"browser":"none","edge":"1m","stale":"7d","override":true,"tags":["t"],"without_cookie":["c"]}`
	var rule Rule
	if err := json.Unmarshal([]byte(text), &rule); err != nil {
		t.Fatal(err)
	}
	if rule.Browser != For(0) || rule.Edge != For(time.Minute) || rule.Stale != For(7*24*time.Hour) {
		t.Errorf("got %+v", rule)
	}
	again, err := json.Marshal(rule)
	if err != nil || string(again) != text {
		t.Errorf("got %s, %v: want %s", again, err, text)
	}
	if short, err := json.Marshal(Rule{Kind: "private"}); err != nil || string(short) != `{"kind":"private"}` {
		t.Errorf("unsaid lifetimes are written: %s, %v", short, err)
	}
	for _, wrong := range []string{`"soon"`, `"1.5s"`, `"-1s"`, `60`} {
		if err := json.Unmarshal([]byte(`{"browser":`+wrong+`}`), &rule); err == nil {
			t.Errorf("browser %s is accepted", wrong)
		}
	}
}

func TestCompileReportsEveryMistake(t *testing.T) {
	_, err := Compile([]Rule{
		{Kind: "pages", Paths: []string{"images"}},
		{Kind: "private", Paths: []string{"/api/*"}, Edge: For(time.Hour), Tags: []string{"t"}},
		{Kind: "page"},
		{Kind: "rule", Paths: []string{"/a//?"}, Stale: For(time.Hour), Override: true},
		{Kind: "static", Paths: []string{"/*"}, Browser: For(time.Millisecond), Tags: []string{" ", strings.Repeat("t", 1025)}, WithoutCookie: []string{"a b", "a*b*", "*"}},
		{Kind: "fingerprinted", Paths: []string{"/x"}, Stale: For(time.Hour), WithoutCookie: []string{"c"}},
	}, make([]Matcher, 7))
	wants := []string{
		"7 matchers: want at most one for each of 6 rules",
		`rule 1 (pages images): unknown name "pages": want one of ` + strings.Join(Kinds.Names(), ", "),
		`rule 1 (pages images): path "images": want a pattern that begins`,
		`rule 2 (private /api/*): private: unknown word "edge": want one of name`,
		`rule 2 (private /api/*): private: unknown word "tag"`,
		"rule 3 (page): no paths",
		`rule 4 (rule /a//?): path "/a//?": want the path only`,
		`rule 4 (rule /a//?): path "/a//?": want no //`,
		"rule 4 (rule /a//?): stale 1h: want edge too",
		"rule 4 (rule /a//?): override: want browser or edge too",
		"rule 5 (static /*): browser 1ms: want whole seconds",
		`rule 5 (static /*): tag " ": want 1 to 1024`,
		`rule 5 (static /*): tag "tttt`,
		`rule 5 (static /*): without_cookie "a b"`,
		`rule 5 (static /*): without_cookie "a*b*"`,
		`rule 5 (static /*): without_cookie "*"`,
		`rule 6 (fingerprinted /x): fingerprinted: unknown word "stale"`,
		`rule 6 (fingerprinted /x): fingerprinted: unknown word "without_cookie"`,
	}
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no mention of %s", want)
		}
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(wants) {
		t.Errorf("got %d lines: want %d\n%v", len(lines), len(wants), err)
	}
}

func TestUnreachable(t *testing.T) {
	set := mustCompile(t,
		Rule{Kind: "private", Paths: []string{"/api/*"}},
		Rule{Kind: "static", Paths: []string{"*.css", "*.js"}},
		Rule{Kind: "page", Name: "dead", Paths: []string{"/api/v1/*", "/a/*.css"}},
		Rule{Kind: "page", Name: "half", Paths: []string{"/api/v1/*", "/b"}},
		Rule{Kind: "page", Paths: []string{"/*"}},
		Rule{Kind: "private", Name: "late", Paths: []string{"/account/*"}},
	)
	got := strings.Join(set.Unreachable(), "\n")
	if strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "rule 3 (dead): ") || !strings.Contains(got, "\nrule 6 (late): ") {
		t.Errorf("got %s", got)
	}
	if (*Ruleset)(nil).Unreachable() != nil || (*Ruleset)(nil).Rules() != nil {
		t.Error("no ruleset has rules")
	}
}

func BenchmarkJudge(b *testing.B) {
	set := shop(b)
	r := get("/products/Some-Page.html")
	b.ReportAllocs()
	for b.Loop() {
		set.Judge(r)
	}
}
