package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// trio is three origins that answer with their names.
func trio(t *testing.T) (addresses []string) {
	t.Helper()
	for _, name := range []string{"a", "b", "c"} {
		addresses = append(addresses, startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/account" {
				w.Header().Set("Cache-Control", "private, max-age=5")
			}
			fmt.Fprint(w, name)
		}))
	}
	return addresses
}

func policyPool(policy string, addresses []string) string {
	return fmt.Sprintf("pool app {\n\tdiscover static %s\n\tpolicy %s\n}", strings.Join(addresses, " "), policy)
}

func pinOf(r response) string {
	for _, c := range r.Cookies() {
		if c.Name == "edge_replica" {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

func TestStickyKeepsVisitorsThroughReloadAndRestart(t *testing.T) {
	block := policyPool("sticky", trio(t))
	e := startEdge(t, block, pagesSite)
	eventually(t, "three are up", func() bool { return e.replicasUp() == 3 })
	first := e.get("/api/me")
	pin := pinOf(first)
	if pin == "" {
		t.Fatalf("no pin with %v", first.Header)
	}
	stays := func(when string) {
		t.Helper()
		for range 5 {
			if r := e.get("/api/me", "Cookie", pin); r.Text != first.Text || pinOf(r) != "" {
				t.Errorf("%s: at %s with %q: want %s and no new pin", when, r.Text, pinOf(r), first.Text)
			}
		}
	}
	stays("at once")
	if err := e.load(block+"\n\tcache {\n\t\tmemory 64MiB\n\t}", pagesSite); err != nil {
		t.Fatal(err)
	}
	stays("after a reload")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := e.load(block, pagesSite); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three are up again", func() bool { return e.replicasUp() == 3 })
	stays("after a restart")
	info, err := os.Stat(filepath.Join(e.stateDir, stickyKeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v: want mode 0600", info, err)
	}
}

func TestNoPinIsHandedToOthers(t *testing.T) {
	e := startEdge(t, policyPool("sticky", trio(t)), pagesSite)
	eventually(t, "three are up", func() bool { return e.replicasUp() == 3 })
	for _, path := range []string{"/pricing", "/pricing", "/assets/app.0a1b2c3d.js"} {
		if r := e.get(path); pinOf(r) != "" {
			t.Errorf("%s is for all, and has the pin %s", path, pinOf(r))
		}
	}
	if r := e.get("/pricing"); !strings.Contains(r.cacheStatus(), "hit") {
		t.Errorf("%s: want a hit: a pin must not cost the cache its page", r.cacheStatus())
	}
	one, two := pinOf(e.get("/account")), pinOf(e.get("/account"))
	if one == "" || two == "" || one == two {
		t.Errorf("two visitors have the pins %q and %q: want one each", one, two)
	}
}

func TestHashGoesByTheClientThatATrustedProxyNames(t *testing.T) {
	e := newEdge(t)
	if err := e.loadText(strings.Replace(e.caddyfile(policyPool("hash client_ip", trio(t)), pagesSite),
		"servers {\n\t\tlistener_wrappers", "servers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\tlistener_wrappers", 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three are up", func() bool { return e.replicasUp() == 3 })
	seen := make(map[string]bool)
	for client := range 40 {
		from := fmt.Sprintf("192.0.2.%d", client)
		first := e.get("/api/me", "X-Forwarded-For", from)
		seen[first.Text] = true
		if again := e.get("/api/me", "X-Forwarded-For", from); again.Text != first.Text {
			t.Errorf("%s went to %s, then to %s", from, first.Text, again.Text)
		}
	}
	// All 40 at one of three: once in 3^39.
	if len(seen) < 2 {
		t.Errorf("all clients went to %v: want them told apart", seen)
	}
}
