package report

import (
	"strings"
	"testing"
)

func TestNothingPersonalIsLeftInATroublesTexts(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"a refused connection keeps its reason": {
			"dial tcp 10.0.3.7:3000: connect: connection refused", "dial tcp [removed]:3000: connect: connection refused"},
		"a visitor's IPv6 address": {
			"write tcp [2001:db8::1]:443->[2001:db8::beef]:51442: broken pipe", "write tcp [[removed]]:443->[[removed]]:51442: broken pipe"},
		"an IPv4 address within IPv6": {"from ::ffff:203.0.113.9 now", "from [removed] now"},
		"values of a query":           {`Get "http://app/x?a=1&name=Ada+L&z": EOF`, `Get "http://app/x?a=[removed]&name=[removed]&z": EOF`},
		"a cookie, to the end":        {"bad header Cookie: a=b; session=5e55\nnext", "bad header Cookie: [removed]\nnext"},
		"a bearer token":              {"got Bearer abc.def-123", "got Bearer [removed]"},
		"Authorization":               {`map[Authorization:[Basic QWRhOnB3]]`, `map[Authorization: [removed]`},
		"a user agent":                {"User-Agent: Mozilla/5.0 (X11)", "User-Agent: [removed]"},
		"a password":                  {"password=hunter2, user", "password=[removed], user"},
		"credentials in a URL":        {"redis://edge:pw@redis:6379", "redis://[removed]@redis:6379"},
		"an e-mail address":           {"no account ada@example.com", "no account [removed]"},
		"a JWT":                       {"eyJhbGciOi.eyJzdWIi.c2ln left", "[removed] left"},
		"a time is no address":        {"at 12:30:45, 1:2", "at 12:30:45, 1:2"},
		"a place in source":           {"proxy.go:12:3: x", "proxy.go:12:3: x"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := scrub(c.text); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	paths := map[string]string{
		"/contacts/42":                       "/contacts/42",
		"/users/ada@example.com/edit?q=1":    "/users/[removed]/edit",
		"/users/ada%40example.com":           "/users/[removed]",
		"/reset/9f8a7b6c5d4e3f2a1b0c9d8e":    "/reset/[removed]",
		"/assets/app-3f2b9c1d8e7a6b5c4d.js":  "/assets/app-3f2b9c1d8e7a6b5c4d.js",
		"/a-long-title-without-digits-in-it": "/a-long-title-without-digits-in-it",
	}
	for path, want := range paths {
		if got := scrubPath(path); got != want {
			t.Errorf("path %q: got %q: want %q", path, got, want)
		}
	}
}

// Whatever stands around it, a planted secret is not left.
func FuzzAPlantedSecretIsTakenOut(f *testing.F) {
	f.Add("before ", " after")
	f.Add("\"", "\"")
	f.Add("x?y=", "&z=1")
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Sup3rS3cr3t"
		if strings.Contains(before+after, secret) {
			return
		}
		for _, planted := range []string{"\nAuthorization: Bearer " + secret, "\nCookie: id=" + secret, "?q=" + secret, " ada." + secret + "@example.com"} {
			trouble := Trouble{Text: before + planted + "\n" + after}
			trouble.clean()
			if strings.Contains(trouble.Text, secret) {
				t.Errorf("%q is left as %q", before+planted+after, trouble.Text)
			}
		}
	})
}
