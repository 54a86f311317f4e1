package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestFieldsThatOverrideTheURLAreInTheKey(t *testing.T) {
	plain := string(new(Handler).requestKey(nil, httptest.NewRequest("GET", site, nil)))
	cases := map[string]struct {
		url, field, value string
		keyed             bool
	}{
		"another host":                           {site, "X-Forwarded-Host", "evil.test", true},
		"the same host":                          {site, "X-Forwarded-Host", "example.com", false},
		"the same host, spelled otherwise":       {site, "X-Forwarded-Host", "Example.com:80", true},
		"another port":                           {site, "X-Forwarded-Port", "1", true},
		"the scheme's port":                      {site, "X-Forwarded-Port", "80", false},
		"the host's port":                        {"http://example.com:8080/page", "X-Forwarded-Port", "8080", false},
		"another scheme":                         {site, "X-Forwarded-Proto", "https", true},
		"the same scheme":                        {site, "X-Forwarded-Proto", "http", false},
		"two schemes":                            {site, "X-Forwarded-Proto", "http, https", true},
		"another scheme, by an older name":       {site, "X-Forwarded-Scheme", "https", true},
		"TLS elsewhere":                          {site, "X-Forwarded-Ssl", "on", true},
		"no TLS":                                 {site, "Front-End-Https", "off", false},
		"a prefix":                               {site, "X-Forwarded-Prefix", "/app", true},
		"another URL":                            {site, "X-Original-Url", "/admin", true},
		"another URL, by another name":           {site, "X-Rewrite-Url", "/admin", true},
		"who asked, and through whom":            {site, "Forwarded", `for=192.0.2.1;by=proxy, for="[2001:db8::1]"`, false},
		"who asked, and for which host":          {site, "Forwarded", "for=192.0.2.1;host=evil.test", true},
		"a host hidden in what looks like a for": {site, "Forwarded", "for=192.0.2.1 host=evil.test", true},
		"something else":                         {site, "X-Forwarded-For", "192.0.2.1", false},
	}
	for name, c := range cases {
		r := httptest.NewRequest("GET", c.url, nil)
		without := string(new(Handler).requestKey(nil, r))
		r.Header.Set(c.field, c.value)
		if got := string(new(Handler).requestKey(nil, r)) != without; got != c.keyed {
			t.Errorf("%s (%s: %s): in the key %t: want %t", name, c.field, c.value, got, c.keyed)
		}
	}
	one, two := httptest.NewRequest("GET", site, nil), httptest.NewRequest("GET", site, nil)
	one.Header["Forwarded"] = []string{`host="evil,one"`}
	two.Header["Forwarded"] = []string{`host="evil,two"`}
	if k := new(Handler).requestKey(nil, one); string(k) == plain || string(k) == string(new(Handler).requestKey(nil, two)) {
		t.Error("two quoted hosts share a key")
	}
}

// What such a request brings is nobody else's, here and at the CDN; what an
// unsafe one changes goes for all.
func TestAnOverriddenAnswerIsNotForEveryone(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		return respond(200, "for "+r.Host+r.Header.Get("X-Forwarded-Host"), "Cache-Control: max-age=60")(rw, r)
	}
	evil := w.get(site, "X-Forwarded-Host: evil.test")
	evil.wants(t, StatusMiss, 200, "for example.comevil.test")
	if got := evil.Header().Get(cloudflareField); got != "no-store" {
		t.Errorf("the CDN is told %q: want no-store", got)
	}
	good := w.get(site)
	good.wants(t, StatusMiss, 200, "for example.com")
	if got := good.Header().Get(cloudflareField); got != "" {
		t.Errorf("the CDN is told %q: want nothing", got)
	}
	w.get(site).wants(t, StatusHit, 200, "for example.com")
	w.get(site, "X-Forwarded-Host: evil.test").wants(t, StatusHit, 200, "for example.comevil.test")
	w.do("POST", site, "X-Forwarded-Host: evil.test")
	w.get(site).wants(t, StatusMiss, 200, "for example.com")
	w.get(site, "X-Forwarded-Host: evil.test").wants(t, StatusMiss, 200, "for example.comevil.test")
}

// The origin is told the host as the key has it.
func TestSpellingsOfAHostAreOne(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		return respond(200, r.Host, "Cache-Control: max-age=60")(rw, r)
	}
	w.get("http://EXAMPLE.com:80/page").wants(t, StatusMiss, 200, "example.com")
	w.get(site).wants(t, StatusHit, 200, "example.com")
}
