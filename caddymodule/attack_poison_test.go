package caddymodule

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gullible answers as applications and frameworks do that believe what they are
// sent: all of a request stands in what it answers, fields give the page other
// forms, and errors may be kept. It says nothing about caching but at errors.
// Fields that no cache can know stand in fieldsOfEverybody.
func gullible(conn net.Conn, r *http.Request) {
	page := told(r)
	status, kind, more := "200 OK", "text/html", ""
	sent := r.Header
	largest := 0
	for _, values := range sent {
		largest = max(largest, len(strings.Join(values, "")))
	}
	const kept = "Cache-Control: public, max-age=600\n"
	switch {
	case largest > 8<<10:
		status, more = "431 Request Header Fields Too Large", kept
	case strings.ContainsFunc(sent.Get("X-Odd"), func(c rune) bool { return c > '~' }), sent.Get("Content-Type") != "":
		status, more = "400 Bad Request", kept
	case sent.Get("X-Http-Method-Override")+sent.Get("X-Http-Method")+sent.Get("X-Method-Override") != "":
		status, more = "405 Method Not Allowed", kept
	case sent.Get("If-Match")+sent.Get("If-Unmodified-Since") != "":
		status, more = "412 Precondition Failed", kept
	case sent.Get("Range") != "":
		status, more = "416 Range Not Satisfiable", kept
	case sent.Get("X-Nextjs-Data") != "":
		status, more = "308 Permanent Redirect", "X-Nextjs-Redirect: /evil\n"
	case sent.Get("X-Forwarded-Scheme") == "nothttps":
		status, more = "301 Moved Permanently", "Location: https://"+sent.Get("X-Forwarded-Host")+"/\n"
	case sent.Get("Rsc") != "":
		kind = "text/x-component"
	case strings.HasPrefix(sent.Get("Accept"), "application/json"), strings.EqualFold(sent.Get("X-Requested-With"), "xmlhttprequest"):
		kind = "application/json"
	}
	if origin := sent.Get("Origin"); origin != "" {
		more += "Access-Control-Allow-Origin: " + origin + "\n"
	}
	if r.Method == http.MethodHead {
		page = ""
	}
	raw(conn, fmt.Sprintf("HTTP/1.1 %s\nContent-Type: %s\n%sContent-Length: %d\n\n", status, kind, more, len(page)))
	_, _ = io.WriteString(conn, page) // a reader that left is what the test sees
}

// told is all that a request says, in some order that is always the same.
func told(r *http.Request) string {
	var lines []string
	for name, values := range r.Header {
		lines = append(lines, name+": "+strings.Join(values, ", "))
	}
	slices.Sort(lines)
	body, _ := io.ReadAll(r.Body) // one that is cut off is told as far as it goes
	return fmt.Sprintf("%s %s of %s\n%s\n%s", r.Method, r.RequestURI, r.Host, strings.Join(lines, "\n"), body)
}

// poisonings are the known ways to have something stored for others. PATH is a
// page of the case's own; the victim asks for it plainly, or as the case says.
// What the attacker wants others to get has the word evil in it. docs/security.md
// lists the classes, with what is known about them.
var poisonings = map[string][]struct{ name, attack, victim string }{
	"fields that override the URL": {
		{"the host of links", "GET PATH HTTP/1.1\nHost: a.test\nX-Forwarded-Host: evil.test\n\n", ""},
		{"the host of links, twice", "GET PATH HTTP/1.1\nHost: a.test\nX-Forwarded-Host: a.test\nX-Forwarded-Host: evil.test\n\n", ""},
		{"by another name", "GET PATH HTTP/1.1\nHost: a.test\nX-Host: evil.test\n\n", ""},
		{"by the standard's name", "GET PATH HTTP/1.1\nHost: a.test\nForwarded: for=1.2.3.4;host=evil.test\n\n", ""},
		{"a redirect to another host by two fields", "GET PATH HTTP/1.1\nHost: a.test\nX-Forwarded-Scheme: nothttps\nX-Forwarded-Host: evil.test\n\n", ""},
		{"another port", "GET PATH HTTP/1.1\nHost: a.test\nX-Forwarded-Port: 1evil\n\n", ""},
		{"a prefix of links", "GET PATH HTTP/1.1\nHost: a.test\nX-Forwarded-Prefix: /evil\n\n", ""},
		{"another URL", "GET PATH HTTP/1.1\nHost: a.test\nX-Original-URL: /evil\n\n", ""},
		{"another URL, by IIS", "GET PATH HTTP/1.1\nHost: a.test\nX-Rewrite-URL: /evil\n\n", ""},
		{"another path, by Envoy", "GET PATH HTTP/1.1\nHost: a.test\nX-Envoy-Original-Path: /evil\n\n", ""},
		{"another root, by WSGI", "GET PATH HTTP/1.1\nHost: a.test\nX-Script-Name: /evil\n\n", ""},
	},
	"fields that ask for another form of the page": {
		{"a component payload of Next.js (CVE-2026-44576)", "GET PATH HTTP/1.1\nHost: a.test\nRSC: 1\nX-Requested-With: evil\n\n", ""},
		{"its router's fields", "GET PATH HTTP/1.1\nHost: a.test\nNext-Router-State-Tree: evil\nNext-Router-Prefetch: evil\nNext-Url: /evil\n\n", ""},
		{"a redirect that is none (CVE-2026-44572)", "GET PATH HTTP/1.1\nHost: a.test\nX-Nextjs-Data: evil\n\n", ""},
		{"its middleware left out (CVE-2025-29927)", "GET PATH HTTP/1.1\nHost: a.test\nX-Middleware-Subrequest: evil\n\n", ""},
		{"its internal routing", "GET PATH HTTP/1.1\nHost: a.test\nX-Invoke-Path: /evil\nX-Invoke-Status: 500\n\n", ""},
		{"its matches of a route", "GET PATH HTTP/1.1\nHost: a.test\nX-Now-Route-Matches: 1=evil\n\n", ""},
		{"a fragment for htmx", "GET PATH HTTP/1.1\nHost: a.test\nHX-Request: evil\n\n", ""},
		{"a frame for Turbo", "GET PATH HTTP/1.1\nHost: a.test\nTurbo-Frame: evil\n\n", ""},
		{"data for Inertia", "GET PATH HTTP/1.1\nHost: a.test\nX-Inertia: evil\n\n", ""},
		{"data for a script", "GET PATH?evil HTTP/1.1\nHost: a.test\nX-Requested-With: XMLHttpRequest\n\n", "GET PATH?evil HTTP/1.1\nHost: a.test\n\n"},
		{"data, by Accept", "GET PATH HTTP/1.1\nHost: a.test\nAccept: application/json, text/evil\n\n", ""},
		{"an origin of CORS", "GET PATH HTTP/1.1\nHost: a.test\nOrigin: https://evil.test\n\n", "GET PATH HTTP/1.1\nHost: a.test\nOrigin: https://a.test\n\n"},
		{"an API key", "GET PATH HTTP/1.1\nHost: a.test\nX-Api-Key: evil\n\n", ""},
	},
	"parts of a request that no key covers": {
		{"a fat GET", "GET PATH HTTP/1.1\nHost: a.test\nContent-Length: 6\n\nq=evil", ""},
		{"a fat GET in chunks", "GET PATH HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n6\nq=evil\n0\n\n", ""},
		{"a method override", "GET PATH HTTP/1.1\nHost: a.test\nX-HTTP-Method-Override: evil\n\n", ""},
		{"a method override, by Microsoft", "GET PATH HTTP/1.1\nHost: a.test\nX-HTTP-Method: evil\n\n", ""},
		{"a method override, by IBM", "GET PATH HTTP/1.1\nHost: a.test\nX-Method-Override: evil\n\n", ""},
		{"a method override in the query", "GET PATH?_method=evil HTTP/1.1\nHost: a.test\n\n", ""},
		{"a method override in a body", "POST PATH HTTP/1.1\nHost: a.test\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 12\n\n_method=evil", ""},
		{"fields hidden from the origin", "GET PATH HTTP/1.1\nHost: a.test\nX-Odd: evil\nConnection: Accept-Language, X-Forwarded-For\n\n", ""},
		{"credentials", "GET PATH HTTP/1.1\nHost: a.test\nAuthorization: Bearer evil\n\n", ""},
		{"a HEAD", "HEAD PATH HTTP/1.1\nHost: a.test\nX-Odd: evil\n\n", ""},
		{"no-store, from who does not want to be stored", "GET PATH HTTP/1.1\nHost: a.test\nCache-Control: no-store\nX-Odd: evil\n\n", ""},
	},
	"parameters that parsers take apart in different ways": {
		{"a semicolon", "GET PATH?utm_content=1;q=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?utm_content=1 HTTP/1.1\nHost: a.test\n\n"},
		{"given twice, the last wins", "GET PATH?q=1&q=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?q=1 HTTP/1.1\nHost: a.test\n\n"},
		{"given twice, the first wins", "GET PATH?q=evil&q=1 HTTP/1.1\nHost: a.test\n\n", "GET PATH?q=1 HTTP/1.1\nHost: a.test\n\n"},
		{"of no interest to caches", "GET PATH?utm_source=evil HTTP/1.1\nHost: a.test\n\n", ""},
		{"a second question mark", "GET PATH?q=1?q=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?q=1 HTTP/1.1\nHost: a.test\n\n"},
		{"an encoded ampersand", "GET PATH?q=1%26q=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?q=1 HTTP/1.1\nHost: a.test\n\n"},
		{"a bracket", "GET PATH?q[]=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?q= HTTP/1.1\nHost: a.test\n\n"},
		{"a fragment", "GET PATH#evil HTTP/1.1\nHost: a.test\n\n", ""},
		{"of the path", "GET PATH;evil HTTP/1.1\nHost: a.test\n\n", ""},
		{"an encoded question mark", "GET PATH%3Fq=evil HTTP/1.1\nHost: a.test\n\n", "GET PATH?q= HTTP/1.1\nHost: a.test\n\n"},
		{"line ends for the header (response splitting)", "GET PATH%0d%0aX-Injected:%20evil HTTP/1.1\nHost: a.test\n\n", ""},
	},
	"hosts": {
		{"another port", "GET PATH HTTP/1.1\nHost: a.test:6666\nX-Odd: evil\n\n", ""},
		{"another name", "GET PATH HTTP/1.1\nHost: evil.test\n\n", ""},
		{"a dot at the end", "GET PATH HTTP/1.1\nHost: a.test.\nX-Odd: evil\n\n", ""},
		{"a whole URL as target", "GET http://evil.test/PATH HTTP/1.1\nHost: a.test\n\n", ""},
		{"the whole URL, and another Host", "GET http://a.test/PATH?1 HTTP/1.1\nHost: evil.test\n\n", "GET PATH?1 HTTP/1.1\nHost: a.test\n\n"},
		{"two hosts", "GET PATH HTTP/1.1\nHost: a.test\nHost: evil.test\n\n", ""},
	},
	"errors that somebody provokes (CPDoS)": {
		{"a field that is too large for the origin", "GET PATH HTTP/1.1\nHost: a.test\nX-Large: evil" + strings.Repeat("x", 9<<10) + "\n\n", ""},
		{"a character that the origin refuses", "GET PATH HTTP/1.1\nHost: a.test\nX-Odd: evil\xc3\xa4\n\n", ""},
		{"a content type without content", "GET PATH HTTP/1.1\nHost: a.test\nContent-Type: evil\n\n", ""},
		{"a method that the origin refuses", "GET PATH HTTP/1.1\nHost: a.test\nX-HTTP-Method-Override: evil\n\n", ""},
		{"a precondition", "GET PATH HTTP/1.1\nHost: a.test\nIf-Match: \"evil\"\n\n", ""},
		{"a precondition by date", "GET PATH HTTP/1.1\nHost: a.test\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\nX-Odd: evil\n\n", ""},
		{"a range", "GET PATH HTTP/1.1\nHost: a.test\nRange: bytes=evil\n\n", ""},
		{"an expectation", "GET PATH HTTP/1.1\nHost: a.test\nExpect: evil\n\n", ""},
	},
	"words of responses in a request": {
		{"tags, age and what a cache did", "GET PATH HTTP/1.1\nHost: a.test\nCache-Tag: evil\nSurrogate-Key: evil\nAge: 99999999\nCache-Status: evil; hit\nX-HTTP-Method: evil\n\n", ""},
	},
}

// An attacker comes first, a victim second: the victim must see nothing of the
// attacker, and what the victim was given must be what is stored.
func TestPoisoning(t *testing.T) {
	for name, servers := range map[string]string{"strangers": "", "through a trusted proxy": "trusted_proxies static 127.0.0.0/8\n"} {
		t.Run(name, func(t *testing.T) {
			address, _ := rawOrigin(t, gullible)
			s := startSites(t, servers, staticPool(address), "http://:PORT "+indented(wholeSite))
			n := 0
			for class, cases := range poisonings {
				for _, c := range cases {
					n++
					path := fmt.Sprintf("/page-%d", n)
					t.Run(class+"/"+c.name, func(t *testing.T) { s.poison(t, path, c.attack, c.victim) })
				}
			}
		})
	}
}

func (s *sites) poison(t *testing.T, path, attack, victim string) {
	if victim == "" {
		victim = "GET PATH HTTP/1.1\nHost: a.test\n\n"
	}
	attack, victim = strings.ReplaceAll(attack, "/PATH", path), strings.ReplaceAll(victim, "/PATH", path)
	attack, victim = strings.ReplaceAll(attack, "PATH", path), strings.ReplaceAll(victim, "PATH", path)
	s.raw(t, attack)
	first, second := s.raw(t, victim), s.raw(t, victim)
	for round, got := range []response{first, second} {
		harmless := strings.Contains(victim, "?evil")
		if got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/html" || !harmless && tells(got, "evil") {
			t.Errorf("round %d: the victim gets %d %v %q", round, got.StatusCode, got.Header, got.Text)
		}
	}
	if !second.hit() {
		t.Errorf("Cache-Status %q: want a hit, or the victim's page was never stored and nothing was tried", second.cacheStatus())
	}
	// The attacker may come as often as he likes, beside the victims.
	var together sync.WaitGroup
	fresh := strings.ReplaceAll(attack, path, path+"-at-once")
	for range 4 {
		together.Go(func() { s.raw(t, fresh) })
		together.Go(func() {
			if got := s.raw(t, strings.ReplaceAll(victim, path, path+"-at-once")); tells(got, "evil") && !strings.Contains(victim, "?evil") {
				t.Errorf("at once: the victim gets %d %v %q", got.StatusCode, got.Header, got.Text)
			}
		})
	}
	together.Wait()
}

// tells reports a word anywhere in a response.
func tells(r response, word string) bool {
	return strings.Contains(r.Text, word) || strings.Contains(fmt.Sprint(r.Header), word)
}

// raw sends a request as it stands, on a connection of its own, and reads what
// comes. A refusal by the server is an answer too.
func (s *sites) raw(t *testing.T, text string) response {
	t.Helper()
	c := rawTo(t, s.address)
	c.send("%s", text)
	method, _, _ := strings.Cut(text, " ")
	return c.answer(method)
}
