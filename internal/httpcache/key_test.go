package httpcache

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

func keyOf(t *testing.T, method, target string, change func(*http.Request)) string {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	if change != nil {
		change(r)
	}
	return string(new(Handler).requestKey(nil, r))
}

func TestKey(t *testing.T) {
	secure := func(r *http.Request) { r.TLS = new(tls.ConnectionState) }
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	base := keyOf(t, "GET", "http://example.com/a?b=1", nil)
	cases := map[string]struct {
		key  string
		same bool
	}{
		"HEAD shares the key of GET":           {keyOf(t, "HEAD", "http://example.com/a?b=1", nil), true},
		"the host's case does not matter":      {keyOf(t, "GET", "http://example.com/a?b=1", host("EXAMPLE.com")), true},
		"the default port does not matter":     {keyOf(t, "GET", "http://example.com/a?b=1", host("example.com:80")), true},
		"another port is another host":         {keyOf(t, "GET", "http://example.com/a?b=1", host("example.com:8080")), false},
		"https is another key":                 {keyOf(t, "GET", "http://example.com/a?b=1", secure), false},
		"the query is not part of the path":    {keyOf(t, "GET", "http://example.com/a%3Fb=1", nil), false},
		"parts do not run into each other":     {keyOf(t, "GET", "http://example.com/ab=1", nil), false},
		"an empty query differs from none":     {keyOf(t, "GET", "http://example.com/a?", nil), false},
		"the order of the query matters":       {keyOf(t, "GET", "http://example.com/a?b=1&c", nil), false},
		"an encoded slash is not a slash":      {keyOf(t, "GET", "http://example.com/%2Fa?b=1", nil), false},
		"the path's case matters":              {keyOf(t, "GET", "http://example.com/A?b=1", nil), false},
		"a default port of the other scheme":   {keyOf(t, "GET", "http://example.com/a?b=1", host("example.com:443")), false},
		"the same request has the same key":    {keyOf(t, "GET", "http://example.com/a?b=1", nil), true},
		"the fragment is nobody's business":    {keyOf(t, "GET", "http://example.com/a?b=1", func(r *http.Request) { r.URL.Fragment = "x" }), true},
		"a host that continues in the path is": {keyOf(t, "GET", "http://example.com/a?b=1", host("example.com/a")), false},
	}
	for name, c := range cases {
		if (c.key == base) != c.same {
			t.Errorf("%s: same %v: want %v", name, c.key == base, c.same)
		}
	}
}

func TestRewrittenTargetsAreKeptApart(t *testing.T) {
	key := func(seen string) string {
		h := Handler{Seen: func(*http.Request) (string, string) { return "https", seen }}
		return string(h.requestKey(nil, httptest.NewRequest("GET", "http://example.com/index.php", nil)))
	}
	if key("/a") == key("/b") || key("/a") == key("") {
		t.Error("two targets of visitors share a key after a rewrite")
	}
}

// FuzzKey: two requests have the same key exactly if they are alike in all that
// the key covers.
func FuzzKey(f *testing.F) {
	f.Add("http", "h", "/a", "b", "", "http", "h", "/ab", "", "")
	f.Add("https", "h:443", "/", "", "/x", "https", "H", "/", "", "/x")
	f.Add("0", "\xc7", "0", "0", "0", "0", "\x86", "0", "0", "0") // bytes, together a letter
	f.Fuzz(func(t *testing.T, s1, h1, p1, q1, v1, s2, h2, p2, q2, v2 string) {
		one := appendKey(nil, s1, h1, p1, q1, v1)
		two := appendKey(nil, s2, h2, p2, q2, v2)
		folded := func(host, scheme string) string {
			b := []byte(stripDefaultPort(host, scheme))
			for i, c := range b {
				if 'A' <= c && c <= 'Z' {
					b[i] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
		alike := s1 == s2 && folded(h1, s1) == folded(h2, s2) && p1 == p2 && q1 == q2 && v1 == v2
		if alike != (string(one) == string(two)) {
			t.Fatalf("keys %q and %q: alike %v", one, two, alike)
		}
	})
}

// FuzzQuery: no two URLs share a key unless path and query are the same.
func FuzzQuery(f *testing.F) {
	f.Add("/a", "", true, "/a", "?", false)
	f.Fuzz(func(t *testing.T, p1, q1 string, f1 bool, p2, q2 string, f2 bool) {
		a, b := &url.URL{Path: p1, RawQuery: q1, ForceQuery: f1}, &url.URL{Path: p2, RawQuery: q2, ForceQuery: f2}
		same := string(urlKey(nil, "http", "h", a, "")) == string(urlKey(nil, "http", "h", b, ""))
		if same != (a.EscapedPath() == b.EscapedPath() && q1 == q2 && (f1 == f2 || q1 != "")) {
			t.Fatalf("%#v and %#v: same key %v", a, b, same)
		}
	})
}

func TestPlacesMatchHoweverTheyAreSpelled(t *testing.T) {
	visited := placeOf("Example.com:8443", "/caf%C3%A9/a%2db?x=%41")
	for name, text := range map[string]string{
		"as it was":            "https://example.com/caf%C3%A9/a%2db?x=%41",
		"lower-case hex":       "https://example.com/caf%c3%a9/a-b?x=A",
		"not encoded at all":   "http://example.com/café/a-b?x=A",
		"upper-case host":      "https://EXAMPLE.COM/café/a-b?x=A",
		"with a fragment":      "https://example.com/café/a-b?x=A#top",
		"without scheme":       "example.com/café/a-b?x=A",
		"with another port":    "https://example.com:444/café/a-b?x=A",
		"broken percent signs": "https://example.com/caf%C3%A9/a%2db?x=%41",
	} {
		if got := placeOfURL(text); got != visited {
			t.Errorf("%s: %+v: want %+v", name, got, visited)
		}
	}
	if p := placeOf("[2001:db8::1]:8080", "/"); p.hostName() != "[2001:db8::1]" {
		t.Errorf("host %q: want the address without its port", p.hostName())
	}
	if p := placeOfURL("https://example.com?x"); p.url != "example.com/?x" {
		t.Errorf("place %q: want an empty path to be the root", p.url)
	}
}
