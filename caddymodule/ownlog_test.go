package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// A server is copied with what it has been given until it started. What a copy must
// not be made of is one field, which is not set then: see silenced.
func TestAServerMayBeCopied(t *testing.T) {
	for field := range reflect.TypeFor[caddyhttp.Server]().Fields() {
		if bound(field.Type) && field.Name != "shutdownAt" {
			t.Errorf("Caddy's Server has %s of type %s: want no field that must not be copied", field.Name, field.Type)
		}
	}
	if !extraKnown {
		t.Error("Caddy's ExtraLogFields have no fields that are a []zapcore.Field: edge keeps no log of its own")
	}
}

// bound reports whether values of a type must stay where they are.
func bound(of reflect.Type) bool {
	if path := of.PkgPath(); path == "sync" || path == "sync/atomic" {
		return true
	}
	switch of.Kind() {
	case reflect.Struct:
		for field := range of.Fields() {
			if bound(field.Type) {
				return true
			}
		}
	case reflect.Array:
		return bound(of.Elem())
	}
	return false
}

func TestEdgeKeepsNoLogWhereCaddyKnowsMore(t *testing.T) {
	cases := map[string]struct {
		server *caddyhttp.Server
		keeps  bool
	}{
		"a server as it is by default":           {&caddyhttp.Server{}, true},
		"one that ends answers after a time":     {&caddyhttp.Server{WriteTimeout: caddy.Duration(time.Minute)}, false},
		"one that waits for requests as it must": {&caddyhttp.Server{ReadIdleTimeout: -1}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.server.ReadIdleTimeout == 0 {
				c.server.ReadIdleTimeout = caddy.Duration(time.Minute)
			}
			c.server.Logs = new(caddyhttp.ServerLogConfig)
			l := &ownLog{server: c.server}
			l.begin(zap.NewNop())
			if keeps := l.hosts.Load() != nil; keeps != c.keeps {
				t.Errorf("edge keeps its log: %t: want %t", keeps, c.keeps)
			}
		})
	}
	t.Run("one that tells of its end beforehand", func(t *testing.T) {
		address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
		e := newEdge(t)
		e.global = "shutdown_delay 1ms"
		if err := e.load(everyBoring+staticPool(address), pagesSite); err != nil {
			t.Fatal(err)
		}
		if l := live.Load().ownLogs[0]; l.hosts.Load() != nil {
			t.Error("edge keeps the log")
		}
		e.logged(e.get("/page").Header.Get("X-Request-Id"))
	})
}

// Visitors may ask for any host: a bounded number is remembered, and the others are
// known all the same.
func TestHostsOfALogAreBounded(t *testing.T) {
	l := &ownLog{server: &caddyhttp.Server{
		ReadIdleTimeout: caddy.Duration(time.Minute),
		Logs: &caddyhttp.ServerLogConfig{LoggerNames: map[string]caddyhttp.StringArray{
			"one.test": {"one"}, "two.test": {"two", "three"}, "*.wild.test": {"wild"},
		}, SkipHosts: []string{"skipped.test"}},
	}}
	l.begin(zap.NewNop())
	for range 2 {
		for n := range 2 * mostOwnHosts {
			l.site(&http.Request{Host: fmt.Sprint(n, ".test"), Body: http.NoBody})
		}
		for host, want := range map[string]string{
			"one.test": "one", "ONE.test:80": "one", "a.wild.test": "wild", "any.test": "", strings.Repeat("a", 300): "",
			"two.test": "none", "skipped.test": "none",
		} {
			got := "none"
			if site := l.site(&http.Request{Host: host, Body: http.NoBody}); site != nil {
				got = site.name
			}
			if got != want {
				t.Errorf("%s has the logger %q: want %q", host, got, want)
			}
		}
	}
	if n := len(*l.hosts.Load()); n != mostOwnHosts {
		t.Errorf("%d hosts are remembered: want %d", n, mostOwnHosts)
	}
}

// A field that edge_lock hides is hidden from edge's own log as well, whichever of
// edge's handlers comes first.
func TestTheSecretOfALockIsNotInEdgesOwnLog(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	for name, site := range map[string]string{
		"edge_lock first":  "edge_lock X-Origin-Lock a-secret-of-the-cdn\n" + pagesSite,
		"edge_rules first": "route {\nedge_rules {\npage /*\n}\nedge_lock X-Origin-Lock a-secret-of-the-cdn\nedge_proxy app\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, everyBoring+staticPool(address), site)
			got := e.get("/page", "X-Origin-Lock", "a-secret-of-the-cdn")
			if got.StatusCode != http.StatusOK {
				t.Fatalf("%d with the secret", got.StatusCode)
			}
			e.logged(got.Header.Get("X-Request-Id"))
			text, err := os.ReadFile(e.accessLog)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "a-secret") || strings.Contains(string(text), "X-Origin-Lock") {
				t.Errorf("the log shows the field: %s", text)
			}
			if l := live.Load().ownLogs[0]; len(*l.hosts.Load()) == 0 {
				t.Error("it is Caddy's log: that proves little")
			}
		})
	}
}
