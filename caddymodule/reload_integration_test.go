package caddymodule

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
)

func (e *edge) cacheStats() httpcache.Stats {
	e.t.Helper()
	var status struct{ Cache httpcache.Stats }
	if code := e.control(http.MethodGet, "status", nil, &status); code != http.StatusOK {
		e.t.Fatalf("status: %d", code)
	}
	return status.Cache
}

func TestAnOpenBreakerStaysOpenAcrossAReload(t *testing.T) {
	good := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }
	one, _ := counting(t, good)
	two, _ := counting(t, good)
	bad, asked := counting(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	block := strings.Replace(staticPool(one, two, bad), "health", "policy round_robin\n\tbreaker {\n\t\tconsecutive 3\n\t\topen 10m\n\t}\n\thealth", 1)
	e := startEdge(t, block, sampleSite)
	eventually(t, "three replicas up", func() bool { return e.replicasUp() == 3 })
	breaker := func() string {
		for _, r := range e.poolStatus().Replicas {
			if r.Address == bad {
				return r.Breaker
			}
		}
		return "gone"
	}
	eventually(t, "its breaker opens", func() bool {
		e.get("/api/x")
		return breaker() == "open"
	})
	for n := range 3 {
		if err := e.load(strings.Replace(block, "200ms", fmt.Sprintf("%dms", 201+n), 1), sampleSite); err != nil {
			t.Fatal(err)
		}
		before := asked.Load()
		for range 30 {
			if r := e.get("/api/x"); r.StatusCode != http.StatusOK {
				t.Errorf("after reload %d: %d", n, r.StatusCode)
			}
		}
		if state := breaker(); state != "open" || asked.Load() != before {
			t.Errorf("after reload %d: breaker %s, asked %d times: want open, none", n, state, asked.Load()-before)
		}
	}
}

// held is an origin whose answers under /held wait for release.
func held(t *testing.T) (address string, arrived chan struct{}, release func()) {
	t.Helper()
	arrived, released := make(chan struct{}, 10), make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	address, _ = counting(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/held") {
			arrived <- struct{}{}
			<-released
		}
		fmt.Fprint(w, "page")
	})
	t.Cleanup(release) // before the server closes, which waits for its answers
	return address, arrived, release
}

// background runs a function and gives its error later.
func background(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func (e *edge) wants200(path string) func() error {
	return func() error {
		r, err := e.try(http.MethodGet, path, nil)
		if err == nil && (r.StatusCode != http.StatusOK || r.Text != "page") {
			err = fmt.Errorf("%s: %d %q", path, r.StatusCode, r.Text)
		}
		return err
	}
}

func TestRequestsInFlightFinishAcrossAReload(t *testing.T) {
	address, arrived, release := held(t)
	e := startEdge(t, staticPool(address), pagesSite)
	before := live.Load()
	filled, passed := background(e.wants200("/held")), background(e.wants200("/api/held"))
	<-arrived
	<-arrived
	loaded := background(func() error {
		return e.load(strings.Replace(staticPool(address), "200ms", "250ms", 1), pagesSite)
	})
	eventually(t, "the new configuration is in force", func() bool { return live.Load() != before })
	release()
	for what, done := range map[string]chan error{"the fill": filled, "the private answer": passed, "the reload": loaded} {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if r := e.get("/held"); !strings.Contains(r.cacheStatus(), "edge; hit") {
		t.Errorf("Cache-Status %q: want a hit on what was filled across the reload", r.cacheStatus())
	}
}

func TestAPoolThatIsRemovedFinishesAndCloses(t *testing.T) {
	address, arrived, release := held(t)
	e := newEdge(t)
	other := strings.Replace(staticPool(address), "pool app", "pool other", 1)
	site := "handle /other/* {\n\tedge_proxy other\n}\n" + sampleSite
	if err := e.load(staticPool(address)+"\n"+other, site); err != nil {
		t.Fatal(err)
	}
	before := live.Load()
	removed := before.pools["other"]
	answered := background(e.wants200("/other/held"))
	<-arrived
	loaded := background(func() error { return e.load(staticPool(address), sampleSite) })
	eventually(t, "the new configuration is in force", func() bool { return live.Load() != before })
	release()
	if err := <-answered; err != nil {
		t.Errorf("what the pool had begun: %v", err)
	}
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if n, there := shared.References(poolKey("other")); there {
		t.Errorf("the removed pool has %d references", n)
	}
	if _, err := removed.Register("127.0.0.1:1", lb.MinLease); !errors.Is(err, lb.ErrClosed) {
		t.Errorf("the removed pool takes a replica: %v", err)
	}
	if status := e.poolStatus(); status.Name != "app" {
		t.Errorf("pool %s is left: want app", status.Name)
	}
}

func TestAReloadChangesTheCacheBounds(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 100<<10)) })
	e := startEdge(t, staticPool(address), pagesSite)
	for n := range 45 { // more than four megabytes
		e.get(fmt.Sprintf("/page/%d", n))
	}
	if s := e.cacheStats(); s.MaxBytes != 512<<20 || s.MaxObject != 32<<20 || s.Bytes < 4<<20 {
		t.Errorf("%+v: want the default bounds and four megabytes", s)
	}
	if err := e.load(staticPool(address)+"\ncache {\n\tmemory 2MiB\n\tmax_object 64KiB\n}\n", pagesSite); err != nil {
		t.Fatal(err)
	}
	if s := e.cacheStats(); s.MaxBytes != 2<<20 || s.MaxObject != 64<<10 || s.Bytes > 2<<20 || s.Entries == 0 {
		t.Errorf("%+v: want two megabytes at most, and some entries", s)
	}
	for range 2 {
		if r := e.get("/page/too-large-now"); r.StatusCode != http.StatusOK || strings.Contains(r.cacheStatus(), "hit") {
			t.Errorf("%d, Cache-Status %q: larger than max_object", r.StatusCode, r.cacheStatus())
		}
	}
}

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
	loaded := background(func() error { return e.load(staticPool(address), pagesSite) })
	eventually(t, "the edge app is starting", func() bool { return somebodyIs(t, "(*gateway).open") })
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
		if err := e.load(strings.Replace(staticPool(one.address), "200ms", "250ms", 1), sampleSite); err != nil {
			t.Fatal(err)
		}
		testClient.CloseIdleConnections() // the old server closes them: a POST must not meet that
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
	cycle() // Caddy starts some goroutines once and for all
	before := runtime.NumGoroutine()
	for range 5 {
		cycle()
	}
	// Fewer than one for each cycle: what leaks leaks each time.
	eventually(t, "no goroutine is left", func() bool {
		now := runtime.NumGoroutine()
		return now < before+5
	})
	if strings.Contains(stacks(t), "internal/lb.") || strings.Contains(stacks(t), "internal/purge.") {
		t.Errorf("a goroutine of ours is left:\n%s", stacks(t))
	}
}
