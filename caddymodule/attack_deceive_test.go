package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
)

// forgiving reads paths in every way that servers are known to, and takes what
// any of them makes of /account for the account page: it ignores what follows,
// decodes twice, takes a backslash for a slash, ends a path at a delimiter,
// drops extensions and letters' case, and resolves dots before or after.
func forgiving(target string) (account bool) {
	target, _, _ = strings.Cut(target, "?")
	for range 3 {
		target = strings.ToLower(strings.ReplaceAll(target, `\`, "/"))
		for _, end := range []string{"never", ";", "?", "#", "\x00", "\r", "\n", "."} {
			cut, _, _ := strings.Cut(target, end)
			for _, one := range []string{cut, path.Clean("/" + cut)} {
				if one == "/account" || strings.HasPrefix(one, "/account/") {
					return true
				}
			}
		}
		if again, err := url.PathUnescape(target); err == nil {
			target = again
		}
	}
	return false
}

// deceptions are targets that look public and lead a forgiving origin to
// somebody's account.
var deceptions = []string{
	"/account/x.css", "/account/x.js", "/account/x.png", "/account/x.woff2", "/account/x.CSS", "/account/x.css?v=1", "/account.css", "/account.ico",
	"/account;x.css", "/account%3bx.css", "/account/;x.css", "/account/x.css;y=1", "/account;/x.css", "/account;",
	"/account%2fx.css", "/account%2Fx.css", "/account%3fx.css", "/account%3F.css", "/account%23x.css", "/account%23",
	"/account%00.css", "/account%00", "/account%0ax.css", "/account%0a", "/account%0d%0a.css",
	"/assets/../account", "/assets/..%2faccount", "/assets/%2e%2e/account", "/assets%2f..%2faccount", "/assets/..%2Faccount/x.css",
	"/assets/%252e%252e/account", "/assets/..%252faccount", "/assets/..%252faccount%252fx.css", "/assets%5c..%5caccount", `/assets\..\account`,
	"/account/../assets/x", "/account%2f..%2fassets%2fx", "/account;/../assets/x.css", "/account%3b%2f..%2fassets/x", "/account%23/../robots.txt",
	"/account%3f/../robots.txt", "/account%00/../robots.txt", "/account%5c..%5cassets%5cx", "/%61ccount/x.css", "/%2561ccount/x", "/ACCOUNT/x.css",
	"//account/x.css", "/./account/x.css", "/x/../account/x.css", "/account//x.css", "/account/x.css%2f", "/account/x.css/", "/account%252fx.css",
	"/account%3b/x.css", "/account/%3bx.css", "/account%2523.css", "/account%2500.css", "/account/robots.txt", "/account/favicon.ico",
}

// The rules are as careless as they may be: files by extension stand before
// what is private, and a visitor is known by a cookie of which they know nothing.
const carelessSite = `
edge_rules {
	static *.css *.js *.png *.ico *.woff2 /assets/* /robots.txt /favicon.ico
	private /account /account/*
	page /*
}
edge_cache
edge_proxy app
`

// A victim, signed in, follows a link that the attacker made; then the attacker
// fetches it. Nothing of the account may be in what he gets.
func TestDeception(t *testing.T) {
	for name, says := range map[string]string{
		"an origin that says nothing":           "Content-Type: text/html\n",
		"an origin that gives all a lifetime":   "Content-Type: text/html; charset=utf-8\nCache-Control: max-age=600\n",
		"an origin that sets a cookie":          "Content-Type: text/css\nSet-Cookie: seen=1\n",
		"an origin that answers with data":      "Content-Type: application/json\n",
		"an origin that says private":           "Content-Type: text/css\nCache-Control: private, max-age=600\n",
		"an origin that errs, and says nothing": "Status: 404\nContent-Type: text/css\n",
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := rawOrigin(t, func(conn net.Conn, r *http.Request) {
				text := "please sign in"
				if forgiving(r.RequestURI) && r.Header.Get("Cookie") == "id=alice" {
					text = "the secret of alice"
				}
				status := "200 OK"
				if strings.Contains(says, "404") {
					status = "404 Not Found"
				}
				raw(conn, fmt.Sprintf("HTTP/1.1 %s\n%sContent-Length: %d\n\n%s", status, says, len(text), text))
			})
			s := startSites(t, "", staticPool(address), "http://:PORT "+indented(carelessSite))
			for _, target := range deceptions {
				s.deceive(t, target)
			}
		})
	}
}

func (s *sites) deceive(t *testing.T, target string) {
	t.Helper()
	const asAlice = "Cookie: id=alice\n"
	request := "GET " + target + " HTTP/1.1\nHost: a.test\n"
	victim := s.raw(t, request+asAlice+"\n")
	if !strings.Contains(victim.Text, "secret") {
		t.Errorf("%s: the origin does not fall for it: %q", target, victim.Text)
	}
	if cdn := victim.Header.Get("Cloudflare-Cdn-Cache-Control"); cdn != "no-store" {
		t.Errorf("%s: the CDN is told %q: want no-store", target, cdn)
	}
	if attacker := s.raw(t, request+"\n"); strings.Contains(attacker.Text, "secret") {
		t.Errorf("%s: the attacker gets %q, Cache-Status %q", target, attacker.Text, attacker.cacheStatus())
	}
}

// The words by which an operator, or an origin, says that it is right.
func TestWhatIsAllowedUnderAnAssetsName(t *testing.T) {
	address, _ := rawOrigin(t, func(conn net.Conn, r *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nContent-Type: text/html\nCache-Control: "+r.URL.Query().Get("says")+"\nContent-Length: 4\n\npage")
	})
	s := startSites(t, "", staticPool(address), "http://:PORT "+indented(`
edge_rules {
	static /allowed/* {
		override
		unsafe_store_mismatched_type
	}
	static /* {
		override
	}
}
edge_cache
edge_proxy app
`))
	for target, stored := range map[string]bool{
		"/x.css?says=max-age=60":              false,
		"/x.css?says=public,%20max-age=60":    true,
		"/x.css?says=s-maxage=60":             true,
		"/x.css?says=":                        false,
		"/allowed/x.css?says=":                true,
		"/page?says=max-age=60":               true,
		"/page.html?says=max-age=60":          true,
		"/x.css?says=public,%20no-store":      false,
		"/allowed/x.css?says=private":         false,
		"/allowed/x.css;a=1?says=max-age=600": true,
	} {
		first := s.raw(t, "GET "+target+" HTTP/1.1\nHost: a.test\n\n")
		if first.stored() != stored {
			t.Errorf("%s: Cache-Status %q: want stored %t", target, first.cacheStatus(), stored)
		}
	}
}
