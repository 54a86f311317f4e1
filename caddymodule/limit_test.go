package caddymodule

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

const limited = "edge_limit pages 5 1h\n" + pagesSite

// statuses asks so often, as a client says who he is.
func (e *edge) statuses(n int, headers ...string) (ok, refused int, last response) {
	e.t.Helper()
	for range n {
		last = e.get("/page", headers...)
		switch last.StatusCode {
		case http.StatusOK:
			ok++
		case http.StatusTooManyRequests:
			refused++
		}
	}
	return ok, refused, last
}

func TestAClientIsLimitedHoweverHeCallsHimself(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := startEdge(t, staticPool(address), limited)
	if ok, refused, last := e.statuses(8); ok != 5 || refused != 3 {
		t.Fatalf("%d answered, %d refused: want 5 and 3, hits or not", ok, refused)
	} else if after, err := strconv.Atoi(last.Header.Get("Retry-After")); err != nil || after < 1 || after > 3600/5 || last.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Retry-After %q, Cache-Control %q: want when it goes on, and that nobody keeps it", last.Header.Get("Retry-After"), last.Header.Get("Cache-Control"))
	}
	for _, field := range []string{"X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "Forwarded", "X-Client-IP"} {
		if ok, _, _ := e.statuses(1, field, "203.0.113.9"); ok != 0 {
			t.Errorf("%s gives a stranger another name", field)
		}
	}
	if err := e.load(staticPool(address), limited); err != nil {
		t.Fatal(err)
	}
	if ok, _, _ := e.statuses(1); ok != 0 {
		t.Error("a reload has forgotten who asked")
	}
}

// Behind a proxy that is trusted each client counts for himself, by what the proxy
// says: not by what the client wrote before it.
func TestClientsBehindATrustedProxyAreLimitedEach(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := newEdge(t)
	text := strings.Replace(e.caddyfile(staticPool(address), strings.Replace(limited, "pages 5", "proxied 5", 1)), "listener_wrappers", "trusted_proxies static 127.0.0.1/32\n\ttrusted_proxies_strict\n\tlistener_wrappers", 1)
	if err := e.loadText(text); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, forwarded string
		ok              int
	}{
		{"one", "203.0.113.1", 5},
		{"another", "203.0.113.2", 5},
		{"the first, who claims to be a third", "198.51.100.7, 203.0.113.1", 0},
		{"one of an IPv6 network", "2001:db8:1:2::1", 5},
		{"the same with another address of it", "2001:db8:1:2:ffff::9", 0},
		{"another network", "2001:db8:1:3::1", 5},
		{"an IPv4 address in IPv6's clothes", "::ffff:203.0.113.2", 0},
	} {
		if ok, _, _ := e.statuses(6, "X-Forwarded-For", c.forwarded); ok != c.ok {
			t.Errorf("%s: %d answered: want %d", c.name, ok, c.ok)
		}
	}
}

func TestALimitThatIsNone(t *testing.T) {
	e := newEdge(t)
	for line, want := range map[string][]string{
		"edge_limit":                           {"got 0 arguments"},
		"edge_limit login many often":          {`"many"`, `"often"`},
		"edge_limit login 0 1m":                {"0 requests"},
		"edge_limit login 10 48h":              {"window"},
		"edge_limit login 10 1m {\nburst 3\n}": {"edge_limit"},
	} {
		err := e.load("", line)
		if err == nil {
			t.Errorf("%q is taken", line)
			continue
		}
		for _, words := range want {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%q: got %v: want %q", line, err, words)
			}
		}
	}
}
