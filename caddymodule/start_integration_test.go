package caddymodule

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Caddy starts apps in no certain order: several tries see several orders.
func TestAConfigurationThatCannotListenChangesNothing(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), pagesSite)
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	e.get("/kept")
	before, policy := live.Load(), e.poolStatus().Policy
	for range 6 {
		text := e.caddyfile(strings.Replace(staticPool(address), "health", "policy random\n\thealth", 1)+
			"\npool more {\n}\ncache {\n\tmemory 2MiB\n}\n", pagesSite)
		text = strings.Replace(text, e.URL+" {", e.URL+", http://"+occupied.Addr().String()+" {", 1)
		if err := e.loadText(text); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("%v: want a port that is in use", err)
		}
		if live.Load() != before {
			t.Error("another configuration is in force")
		}
		if now := live.Load().pools["app"].Status().Policy; now != policy {
			t.Errorf("policy %s: was %s", now, policy)
		}
		if s := live.Load().gateway.store.Stats(); s.MaxBytes != 512<<20 {
			t.Errorf("the cache has %d bytes: want 512 MiB, as before", s.MaxBytes)
		}
		if _, there := shared.References(poolKey("more")); there {
			t.Error("the refused configuration's pool lives on")
		}
		if r := e.get("/kept"); r.Text != "page" || !strings.Contains(r.cacheStatus(), "edge; hit") {
			t.Errorf("%q, Cache-Status %q: want the stored page", r.Text, r.cacheStatus())
		}
	}
}

// provisioned is an edge app that was not started, with an edge block alone.
func (e *edge) provisioned(config string) *App {
	e.t.Helper()
	var parsed caddy.Config
	text := fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"edge":{"state_dir":%q,%s}}}`, e.stateDir, config)
	if err := caddy.StrictUnmarshalJSON([]byte(text), &parsed); err != nil {
		e.t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&parsed)
	if err != nil {
		e.t.Fatal(err)
	}
	app, err := ctx.App("edge")
	if err != nil {
		e.t.Fatal(err)
	}
	return app.(*App)
}

// selfSigned is a certificate in PEM, taken from a server of tests.
func selfSigned(t *testing.T) []byte {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// Caddy cleans up without stopping when what follows the start of apps fails,
// and does not stop an app whose own start failed.
func TestAFailedStartGivesTheStateBack(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := startEdge(t, staticPool(address), pagesSite)
	before := live.Load()
	unchanged := func(when string) {
		t.Helper()
		if live.Load() != before {
			t.Errorf("%s: another configuration is in force", when)
		}
		if s := before.gateway.store.Stats(); s.MaxBytes != 512<<20 {
			t.Errorf("%s: the cache has %d bytes: want 512 MiB, as before", when, s.MaxBytes)
		}
		if policy := before.pools["app"].Status().Policy; policy != "least_time" {
			t.Errorf("%s: policy %s: want least_time, as before", when, policy)
		}
	}
	const changed = `"cache":{"memory":"2MiB"},"pools":{"app":{"policy":{"name":"random"}}%s}`
	app := e.provisioned(fmt.Sprintf(changed, ""))
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	if err := app.Cleanup(); err != nil {
		t.Fatal(err)
	}
	unchanged("cleaned up without a stop")

	bundle := e.stateDir + "/ca.pem"
	if err := os.WriteFile(bundle, selfSigned(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 4 { // pools are configured in no certain order
		app := e.provisioned(fmt.Sprintf(changed, fmt.Sprintf(`,"tls":{"transport":{"tls":true,"ca_file":%q}}`, bundle)))
		if err := os.Rename(bundle, bundle+".away"); err != nil {
			t.Fatal(err)
		}
		if err := app.Start(); err == nil || !strings.Contains(err.Error(), "ca.pem") {
			t.Errorf("%v: want a start that misses its file", err)
		}
		unchanged("a start that failed")
		if err := errors.Join(app.Cleanup(), os.Rename(bundle+".away", bundle)); err != nil {
			t.Fatal(err)
		}
		unchanged("its cleanup")
	}
}

func TestRequestsBeforeTheStartAreHeld(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	for range 30 {
		if coldStart(t, address) {
			return
		}
	}
	t.Error("in thirty starts the listener never opened before the edge app started")
}

// coldStart holds the edge app's start up. It reports whether the listener had
// opened before, which is up to Caddy.
func coldStart(t *testing.T, address string) (listened bool) {
	e := newEdge(t)
	g, err := acquireGateway()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(caddy.Stop(), releaseGateway()); err != nil {
			t.Error(err)
		}
	}()
	g.mu.Lock()
	unlock := sync.OnceFunc(g.mu.Unlock)
	defer unlock()
	// The listener wrapper edge would have them wait at the socket.
	text := strings.Replace(e.caddyfile(staticPool(address), pagesSite), "listener_wrappers {\n\t\t\tedge\n\t\t\ttls\n\t\t}\n", "", 1)
	loaded := background(func() error { return e.loadText(text) })
	eventually(t, "the edge app is starting", func() bool {
		select {
		case err := <-loaded:
			t.Fatalf("loaded: %v", err)
		default:
		}
		return somebodyIs(t, "(*gateway).open")
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		unlock()
		if err := <-loaded; err != nil {
			t.Fatal(err)
		}
		return false
	}
	conn.Close()
	page, private := background(e.wants200("/page")), background(e.wants200("/api/me"))
	control := background(func() error {
		r, err := e.try(http.MethodGet, "/.edge/healthz", nil)
		if err == nil && r.StatusCode != http.StatusOK {
			err = fmt.Errorf("healthz: %d %s", r.StatusCode, r.Text)
		}
		return err
	})
	eventually(t, "requests wait", func() bool { return strings.Count(stacks(t), "(*App).awaitStart(") >= 3 })
	unlock()
	for what, done := range map[string]chan error{"start": loaded, "a page": page, "a private page": private, "a control call": control} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	return true
}

func TestNothingOutlivesStop(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v1")
	cycle := func() {
		e := startEdge(t, staticPool(one.address, two.address), sampleSite)
		eventually(t, "both are up", func() bool { return e.replicasUp() == 2 })
		for n := range 20 {
			e.get(fmt.Sprintf("/contacts?n=%d", n))
			e.get("/api/contacts")
		}
		if err := e.reload(strings.Replace(staticPool(one.address), "200ms", "250ms", 1), sampleSite); err != nil {
			t.Fatal(err)
		}
		e.purge(map[string]any{"everything": true})
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		testClient.CloseIdleConnections()
		for name, key := range map[string]any{"the gateway": gatewayKey{}, "the pool": poolKey("app")} {
			if n, there := shared.References(key); there {
				t.Errorf("%s has %d references after the stop", name, n)
			}
		}
		if live.Load() != nil {
			t.Error("a configuration is in force after the stop")
		}
	}
	for range 5 {
		cycle()
	}
	// Caddy and its log files keep goroutines of their own; none may be in our
	// engines.
	eventually(t, "no goroutine of ours is left", func() bool {
		left := stacks(t)
		return !strings.Contains(left, "internal/lb.") && !strings.Contains(left, "internal/purge.") && !strings.Contains(left, "internal/httpcache.")
	})
}
