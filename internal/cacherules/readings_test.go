package cacherules

import "testing"

// However a server behind us reads a path, what is private to it is private.
func TestAPathMeansTheSameByEveryReading(t *testing.T) {
	set := mustCompile(t,
		Rule{Kind: "static", Name: "static", Paths: []string{"/assets/*", "*.css", "/robots.txt"}},
		Rule{Kind: "private", Name: "private", Paths: []string{"/account", "/account/*"}},
		Rule{Kind: "page", Name: "pages", Paths: []string{"/*"}},
	)
	for name, c := range map[string]struct{ path, want string }{ // paths are decoded once
		"dots after an encoded slash":               {"/assets/../account/me", "ambiguous path"},
		"dots that are encoded twice":               {"/assets/%2e%2e/account", "ambiguous path"},
		"a slash that is encoded twice":             {"/assets/..%2faccount", "ambiguous path"},
		"a backslash for a slash":                   {`/assets\..\..\account`, "ambiguous path"},
		"a backslash that hides nothing":            {`/products\1`, "pages"},
		"a NUL that ends the path":                  {"/account\x00", "ambiguous path"},
		"a NUL before an extension":                 {"/account\x00.css", "ambiguous path"},
		"a line end":                                {"/account\n", "ambiguous path"},
		"a question mark":                           {"/account?x.css", "ambiguous path"},
		"a hash, then dots to a public file":        {"/account#/../robots.txt", "ambiguous path"},
		"a question mark, then dots":                {"/account?/../../assets/x", "ambiguous path"},
		"parameters before dots":                    {"/account;/../assets/x", "ambiguous path"},
		"several at once":                           {`/products;x\%2e%2e\account`, "ambiguous path"},
		"what was encoded twice and is harmless":    {"/products/100%25", "pages"},
		"a per cent sign":                           {"/products/100%", "pages"},
		"a question that is part of a page's name":  {"/products/what?", "pages"},
		"a hash that is part of a page's name":      {"/products/c#", "pages"},
		"an asset in a folder, whatever its name":   {"/assets/what?.png", "static"},
		"a file by its extension, cut before it":    {"/products/c#.css", "ambiguous path"}, // better not stored than wrong
		"parameters of a file in a private folder":  {"/account/x;y.css", "ambiguous path"},
		"nothing special, the first rule decides":   {"/account/x.css", "static"},
		"a hash and nothing before it":              {"/#", "pages"},
		"letters outside ASCII, encoded once more":  {"/%C3%84", "pages"},
		"private in capitals, encoded once more":    {"/%41CCOUNT/me", "ambiguous path"},
		"private as sent, and by every reading too": {"/account/a;b?c#d%20", "private"},
	} {
		if got := set.Judge(get(c.path)); got.Rule != c.want {
			t.Errorf("%s: %q: got %q: want %q", name, c.path, got.Rule, c.want)
		}
	}
}

// A path with nothing special in it has one reading.
func FuzzReadings(f *testing.F) {
	for _, seed := range []string{"/a;b/c", "/a%2fb", `/a\b`, "/a?b", "/a/../b", "/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		p = "/" + p // as all paths do that a server takes
		for one := range readings(p) {
			if isPlain(p) && one != p && one != clean(p) {
				t.Errorf("%q is plain, and read as %q", p, one)
			}
			if one == "" {
				t.Errorf("%q is read as nothing", p)
			}
		}
	})
}
