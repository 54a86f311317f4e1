package cacherules

import (
	"path"
	"strings"
	"testing"
)

func mustPattern(t testing.TB, written string) pattern {
	t.Helper()
	p, err := parsePattern(written)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPatternMatches(t *testing.T) {
	cases := map[string]struct {
		pattern  string
		yes, no  []string
		wantForm patternForm
	}{
		"exact":                         {"/about", []string{"/about", "/ABOUT"}, []string{"/about/", "/abou", "/aboutx", "/"}, exact},
		"the root":                      {"/", []string{"/"}, []string{"/a"}, exact},
		"prefix":                        {"/assets/*", []string{"/assets/", "/assets/a/b.js", "/Assets/x"}, []string{"/assets", "/assetsx", "/x/assets/"}, prefix},
		"prefix without slash":          {"/foo*", []string{"/foo", "/foobar", "/foo/bar"}, []string{"/fo", "/xfoo"}, prefix},
		"suffix":                        {"*.css", []string{"/a.css", "/b/c.CSS"}, []string{"/a.css/", "/css", "/a.cs"}, suffix},
		"substring":                     {"*/thumbs/*", []string{"/thumbs/", "/a/Thumbs/b"}, []string{"/thumbs", "/thumbsx/"}, substring},
		"star inside a segment":         {"/a*c/d", []string{"/ac/d", "/abbc/d", "/ABC/D", "/acc/d"}, []string{"/a/c/d", "/ab/d", "/abc/dx"}, glob},
		"star for a segment":            {"/users/*/info", []string{"/users/7/info", "/users//info"}, []string{"/users/7/8/info", "/users/info"}, glob},
		"two stars, one at the end":     {"/a/*/b*", []string{"/a/x/b", "/a/x/bcd"}, []string{"/a/x/b/c", "/a/b"}, glob},
		"stars at both ends and inside": {"*/a*b/*", []string{"/ab/", "x/axb/y"}, []string{"/ab", "x/y/ab/z"}, glob},
		"the last star must give way":   {"/*ab*ab", []string{"/abab", "/xababab", "/aabyyab"}, []string{"/ab", "/aba"}, glob},
		"everything":                    {"/*", []string{"/", "/a/b", "*", ""}, nil, everything},
		"everything, shorter":           {"*", []string{"/", "/a/b"}, nil, everything},
		"letters outside ASCII":         {"/ÜBER/*", []string{"/über/x", "/Über/X"}, []string{"/uber/x"}, prefix},
		"brackets are letters here":     {"/blog/[slug]*", []string{"/blog/[slug]-1.js"}, []string{"/blog/s"}, prefix},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := mustPattern(t, c.pattern)
			if p.form != c.wantForm {
				t.Errorf("%q: form %d: want %d", c.pattern, p.form, c.wantForm)
			}
			for _, target := range c.yes {
				if !p.match(foldable(target)) {
					t.Errorf("%q does not match %q", c.pattern, target)
				}
			}
			for _, target := range c.no {
				if p.match(foldable(target)) {
					t.Errorf("%q matches %q", c.pattern, target)
				}
			}
		})
	}
}

func TestPatternMistakes(t *testing.T) {
	cases := map[string]struct{ written, want string }{
		"empty":                  {"", "begins with / or *"},
		"no slash":               {"images/*", "begins with / or *"},
		"two stars together":     {"/a/**", "one star"},
		"a query":                {"/a?b=*", "query"},
		"percent-escaped":        {"/a%20b", "decoded"},
		"a placeholder":          {"/{env.X}/*", "matcher"},
		"an empty segment":       {"/a//b", "//"},
		"a parent segment":       {"/a/../b", "/../"},
		"a dot at the end":       {"/a/.", "/./"},
		"a control character":    {"/a\x01", "control"},
		"broken UTF-8":           {"/a\xff", "control"},
		"a class in an exact":    {"/[ab]", "["},
		"an escape in a pattern": {`/a*\b`, `\`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := parsePattern(c.written)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: %v: want an error that mentions %q", c.written, err, c.want)
			}
		})
	}
	if _, err := parsePattern("a//%?"); len(each(err)) != 4 {
		t.Errorf("four mistakes in one pattern: got %v", err)
	}
}

func TestCleanAgreesWithTheLibrary(t *testing.T) {
	for _, p := range []string{"/", "/a", "/a/", "/.well-known/x", "/a/..b/.c", "/...", "/a.", "/a/.../b"} {
		if !isClean(p) || clean(p) != p {
			t.Errorf("%q is clean", p)
		}
	}
	for dirty, want := range map[string]string{
		"//": "/", "/a//b": "/a/b", "/a/./b": "/a/b", "/a/../b/": "/b/", "/..": "/", "/a/..": "/", "/a/b/.": "/a/b", "/../../x": "/x",
	} {
		if isClean(dirty) || clean(dirty) != want {
			t.Errorf("%q: got %q: want %q", dirty, clean(dirty), want)
		}
	}
}

// path.Match has the meaning that ours documents for patterns with stars.
func FuzzGlobMatch(f *testing.F) {
	f.Add("/a*c/d", "/abc/d")
	f.Add("/*ab*ab", "/abab")
	f.Fuzz(func(t *testing.T, text, target string) {
		if strings.ContainsAny(text, `[?\`) || strings.Contains(text, "**") || text != strings.ToLower(text) || target != strings.ToLower(target) {
			return
		}
		want, err := path.Match(text, target)
		if got := globMatch(text, target); err == nil && got != want {
			t.Fatalf("%q on %q: %t", text, target, got)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("/a/../b//c/.")
	f.Fuzz(func(t *testing.T, p string) {
		if !strings.HasPrefix(p, "/") {
			return
		}
		cleaned := clean(p)
		if !isClean(cleaned) || !strings.HasPrefix(cleaned, "/") || clean(cleaned) != cleaned {
			t.Fatalf("%q: %q is not clean", p, cleaned)
		}
		if strings.TrimSuffix(cleaned, "/") != strings.TrimSuffix(path.Clean(p), "/") {
			t.Fatalf("%q: %q names another file than %q", p, cleaned, path.Clean(p))
		}
	})
}
