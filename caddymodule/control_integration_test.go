package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

func TestEdgeControlRefusesToStartWithoutAToken(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	weak := filepath.Join(t.TempDir(), "weak")
	if err := os.WriteFile(weak, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGE_TEST_EMPTY", "")
	cases := map[string]struct {
		controls string
		says     []string
	}{
		"none":                       {"", []string{"edge_control", "control { token {env.EDGE_TOKEN} }"}},
		"a token of 7 characters":    {"token hunter2", []string{"control token 1", "7 characters", "want 16"}},
		"one from an example":        {"token changeme-changeme-changeme", []string{"control token 1", "placeholder", "openssl rand"}},
		"one key held down":          {"token aaaaaaaaaaaaaaaaaaaaaaaa", []string{"control token 1", "placeholder"}},
		"a variable that is not set": {"token {env.EDGE_TEST_UNSET}", []string{"control token", "{env.EDGE_TEST_UNSET}", "want a placeholder that has a value"}},
		"a variable that is empty":   {"token {env.EDGE_TEST_EMPTY}", []string{"{env.EDGE_TEST_EMPTY}", "want a placeholder that has a value"}},
		"a file that is not there":   {"token {file./nowhere/edge-token}", []string{"{file./nowhere/edge-token}", "want a placeholder that has a value"}},
		"a file that is empty":       {"token {file." + empty + "}", []string{"{file." + empty + "}", "want"}},
		"a file with a weak token":   {"token {file." + weak + "}", []string{"control token 1", "7 characters"}},
		"the second of two is weak":  {"token " + testToken + " short", []string{"control token 2", "5 characters"}},
		"three":                      {"token one-0a1b2c3d4e5f6071\ntoken two-8a1b2c3d4e5f6072 three-9a1b2c3d4e5f6073", []string{"got 3 tokens", "want one, or two"}},
		"two mistakes at once":       {"token {env.EDGE_TEST_UNSET} hunter2", []string{"{env.EDGE_TEST_UNSET}", "7 characters"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			e.controls = c.controls
			err := e.load(staticPool("127.0.0.1:1"), pagesSite)
			if err == nil {
				t.Fatal("it started")
			}
			for _, words := range c.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%v: want words about %q", err, words)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v: shows the token", err)
			}
		})
	}
}

// problem is an answer of RFC 9457.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Mistakes                  []struct{ Field, Value, Want string }
}

func problemIn(t *testing.T, r response) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(r.Text), &p); err != nil || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%q is no problem: %v in %s", r.Header.Get("Content-Type"), err, r.Text)
	}
	if p.Status != r.StatusCode || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v of a %d", p, r.StatusCode)
	}
	return p
}

func TestWhoMayCallTheControlAPI(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	const second = "the-2nd-of-two-8c1f04e7"
	e := newEdge(t)
	e.controls = "token " + testToken + " " + second
	if err := e.load(staticPool(address), pagesSite); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })

	for _, token := range []string{testToken, second} {
		if r := e.get("/.edge/status", "Authorization", "Bearer "+token); r.StatusCode != http.StatusOK {
			t.Errorf("one of two tokens: %d %s", r.StatusCode, r.Text)
		}
	}
	for name, c := range map[string]struct{ authorization, challenge string }{
		"no token":      {"", `Bearer realm="edge"`},
		"a wrong token": {"Bearer " + testToken + "x", `Bearer realm="edge", error="invalid_token"`},
		"basic":         {"Basic " + testToken, `Bearer realm="edge"`},
	} {
		r := e.get("/.edge/status", "Authorization", c.authorization)
		if p := problemIn(t, r); r.StatusCode != http.StatusUnauthorized || p.Code != "unauthorized" || r.Header.Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s: %d, WWW-Authenticate %q, %s", name, r.StatusCode, r.Header.Get("WWW-Authenticate"), r.Text)
		}
	}
	for _, path := range []string{"healthz", "readyz"} {
		if r := e.get("/.edge/" + path); r.StatusCode != http.StatusOK || strings.TrimSpace(r.Text) != `{"status":"ok"}` {
			t.Errorf("%s without a token: %d %s: want the bare verdict", path, r.StatusCode, r.Text)
		}
	}
	var ready struct {
		Status       string
		Dependencies []struct {
			Name, Detail string
			OK           bool
		}
	}
	if code := e.control(http.MethodGet, "readyz", nil, &ready); code != http.StatusOK || ready.Status != "ok" || len(ready.Dependencies) != 5 {
		t.Errorf("readyz with a token: %d %+v: want the pool and what every gateway needs", code, ready)
	}
	for i, want := range []string{"pool app", "purge journal", "disk", "certificates", "clock"} {
		// Whether this machine has its clock from elsewhere is not the gateway's doing.
		if d := ready.Dependencies[i]; d.Name != want || !d.OK && want != "clock" || d.Detail == "" {
			t.Errorf("dependency %+v: want %s, ok, with a detail", d, want)
		}
	}
	got, err := testClient.Get("http://" + e.Admin + "/edge/status")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var status struct {
		Schema int
		Pools  []struct{ Name string }
	}
	if err := json.NewDecoder(got.Body).Decode(&status); err != nil || got.StatusCode != http.StatusOK || status.Schema != 1 || len(status.Pools) != 1 {
		t.Errorf("the admin endpoint without a token: %d, %v, %+v", got.StatusCode, err, status)
	}
}

func TestStatusTellsEdgeFromCaddy(t *testing.T) {
	e := startEdge(t, staticPool("127.0.0.1:1"), pagesSite)
	var status struct{ Version, Caddy string }
	if code := e.control(http.MethodGet, "status", nil, &status); code != http.StatusOK {
		t.Fatalf("status: %d", code)
	}
	// What a test binary is built of has no versions; cmd/edge looks at a real one.
	if edge, caddy := versions(); status.Version != edge || status.Caddy != caddy || edge == "" || caddy == "" {
		t.Errorf("edge %q, Caddy %q: want %q and %q", status.Version, status.Caddy, edge, caddy)
	}
}

// explained is what explain answers, as far as the tests look.
type explained struct {
	Verdict struct {
		Rule, Mode, Edge string
		Bypassed         bool
		Tags             []string
	}
	Cache struct {
		Decision, Reason string
		Variants         int
		Entry            *struct {
			Status        int
			Version, Rule string
			Tags          []string
		}
	}
	Pools []struct{ Name string }
}

func TestExplainOverTheAPI(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), pagesSite)
	e.get("/cached")
	explain := func(path, more string) explained {
		t.Helper()
		var x explained
		if code := e.control(http.MethodGet, "explain?url="+e.URL+path+more, nil, &x); code != http.StatusOK {
			t.Fatalf("explain %s: %d", path, code)
		}
		return x
	}
	if x := explain("/cached", ""); x.Verdict.Rule != "page /*" || x.Verdict.Edge != "1m" || x.Cache.Decision != "serve" || x.Cache.Entry == nil ||
		x.Cache.Entry.Version != "v1" || x.Cache.Entry.Status != 200 || x.Cache.Entry.Rule != "page /*" || len(x.Pools) != 1 {
		t.Errorf("a cached page: %+v, entry %+v", x, x.Cache.Entry)
	}
	if x := explain("/cached", "&header=Cookie:session=abc"); !x.Verdict.Bypassed || x.Cache.Decision != "pass" || x.Cache.Reason != "rule" {
		t.Errorf("a cached page for who is logged in: %+v", x)
	}
	if x := explain("/api/me", ""); x.Verdict.Rule != "private /api/* /account" || x.Cache.Decision != "pass" || x.Cache.Reason != "rule" || x.Cache.Entry != nil {
		t.Errorf("a private path: %+v", x)
	}
	if x := explain("/unknown", ""); x.Cache.Decision != "fetch" || x.Cache.Entry != nil || x.Cache.Variants != 0 {
		t.Errorf("a page that nobody asked for: %+v", x)
	}
	if x := explain("/cached", "&method=POST"); x.Cache.Decision != "pass" || x.Cache.Reason != "method" {
		t.Errorf("a POST: %+v", x)
	}
	if r := e.get("/.edge/explain?url=cached", "Authorization", "Bearer "+testToken); problemIn(t, r).Mistakes[0].Field != "url" {
		t.Errorf("a URL that is none: %d %s", r.StatusCode, r.Text)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: explaining must not fetch", n)
	}
}

func TestReplicasComeAndGoOverTheAPI(t *testing.T) {
	one := startReplica(t, "v1")
	e := startEdge(t, registeredPool, sampleSite)
	register := func(lease string) (id string) {
		t.Helper()
		var answer struct{ ID string }
		if code := e.control(http.MethodPost, "replicas", map[string]string{"pool": "app", "address": one.address, "lease": lease}, &answer); code != http.StatusOK {
			t.Fatalf("register: %d", code)
		}
		return answer.ID
	}
	id := register("30s")
	eventually(t, "it is up", func() bool { return e.replicasUp() == 1 })
	ends := *e.poolStatus().Replicas[0].LeaseEnds
	if again := register("60s"); again != id {
		t.Errorf("renewed as %s: was %s", again, id)
	}
	if later := *e.poolStatus().Replicas[0].LeaseEnds; later.Sub(ends) < 20*time.Second {
		t.Errorf("the lease ended %s, ends %s: want half a minute later", ends, later)
	}
	if code := e.control(http.MethodPost, "replicas/"+id+"/drain", nil, nil); code != http.StatusConflict {
		t.Errorf("drain of the only one: %d: want 409", code)
	}
	if code := e.control(http.MethodPost, "replicas/"+id+"/drain?force=true", nil, nil); code != http.StatusOK {
		t.Errorf("drain: %d", code)
	}
	eventually(t, "it takes nothing new", func() bool { return e.replicasUp() == 0 })
	if code := e.control(http.MethodDelete, "replicas/"+id, nil, nil); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	eventually(t, "it is forgotten", func() bool { return len(e.poolStatus().Replicas) == 0 })
	token := []string{"Authorization", "Bearer " + testToken, "Content-Type", "application/json"}
	for what, c := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a replica that is gone":  {"DELETE", "replicas/" + id, "", 404, id},
		"a drain of nobody":       {"POST", "replicas/nobody/drain", "", 404, "replica"},
		"a pool that is not":      {"POST", "replicas", `{"pool":"ap","address":"127.0.0.1:80"}`, 404, "want one of app"},
		"an address without port": {"POST", "replicas", `{"pool":"app","address":"127.0.0.1"}`, 422, "host:port"},
		"a lease of a week":       {"POST", "replicas", `{"pool":"app","address":"127.0.0.1:80","lease":"168h"}`, 422, "24h"},
		"a misspelt field":        {"POST", "replicas", `{"pool":"app","adress":"127.0.0.1:80"}`, 400, "adress"},
	} {
		r := e.do(c.method, "/.edge/"+c.path, strings.NewReader(c.body), token...)
		if p := problemIn(t, r); r.StatusCode != c.status || !strings.Contains(r.Text, c.says) {
			t.Errorf("%s: %d %+v: want %d and %q", what, r.StatusCode, p, c.status, c.says)
		}
	}
}

func TestAPurgeWithABadSelectorIsAProblem(t *testing.T) {
	e := startEdge(t, staticPool("127.0.0.1:1"), pagesSite)
	before := live.Load().gateway.store.Generation()
	for name, c := range map[string]struct {
		body   string
		status int
		code   string
		says   string
	}{
		"no selector":           {`{}`, 422, "no_selector", "selector"},
		"a URL that is none":    {`{"urls":["contacts"]}`, 422, "invalid", "contacts"},
		"a tag with a space":    {`{"tags":["a b"]}`, 422, "invalid", "a b"},
		"a prefix with scheme":  {`{"prefixes":["https://example.com/a"]}`, 422, "invalid", "https://example.com/a"},
		"a selector that is no": {`{"tag":["a"]}`, 400, "invalid", "tag"},
		"tags that are no list": {`{"tags":"a"}`, 400, "invalid", "tags"},
		"no JSON":               {`everything`, 400, "body", "JSON"},
		"two mistakes":          {`{"urls":["contacts"],"tags":["a b"]}`, 422, "invalid", "contacts"},
	} {
		r := e.do(http.MethodPost, "/.edge/purge", strings.NewReader(c.body), "Authorization", "Bearer "+testToken, "Content-Type", "application/json")
		p := problemIn(t, r)
		if r.StatusCode != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s: %d %+v: want %d, %s and %q", name, r.StatusCode, p, c.status, c.code, c.says)
		}
		if name == "two mistakes" && len(p.Mistakes) != 2 {
			t.Errorf("%d mistakes named: want both", len(p.Mistakes))
		}
	}
	if generation := live.Load().gateway.store.Generation(); generation != before {
		t.Errorf("generation %d, was %d: nothing was to be purged", generation, before)
	}
}

// somebodyIs reports whether a goroutine runs, or waits in, a function.
func somebodyIs(t *testing.T, in string) bool {
	t.Helper()
	return strings.Contains(stacks(t), in)
}

// stacks are those of all goroutines.
func stacks(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// standinBlock points a gateway to a stand-in of Cloudflare.
func standinBlock(t *testing.T) string {
	t.Helper()
	const token, zone = "cf-4f1d7a90b2c34e58a6d1e2f3", "0123456789abcdef0123456789abcdef"
	server, err := standin.New(standin.Options{Token: token, Plan: "business", Zones: []standin.Zone{{ID: zone, Name: "example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	address := startOrigin(t, server.ServeHTTP)
	return fmt.Sprintf("\ncloudflare {\nzone_id %s\napi_token %s\nplan business\napi_url http://%s/client/v4\n}\n", zone, token, address)
}

// Whoever waits for a purge through a site that caches must not keep other
// purges waiting, as a visitor does whose exchange began before them.
func TestTheCacheLeavesTheControlAPIAlone(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := newEdge(t)
	e.purges = "drain_cap 1m\nsettle 10ms\nsettle_everything 10ms"
	if err := e.load(staticPool(address)+standinBlock(t), pagesSite); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	for _, path := range []string{"status", "readyz", "healthz", "deploys"} {
		for range 2 {
			r := e.get("/.edge/"+path, "Authorization", "Bearer "+testToken)
			if r.StatusCode != http.StatusOK || r.Header.Get("Cache-Status") != "" || r.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d, Cache-Status %q, Cache-Control %q: want 200, none, no-store", path, r.StatusCode, r.Header.Get("Cache-Status"), r.Header.Get("Cache-Control"))
			}
		}
	}
	var held struct{ ID, State string }
	if code := e.control(http.MethodPost, "purge", map[string]any{"tags": []string{"a"}, "expect": "v9"}, &held); code != http.StatusAccepted {
		t.Fatalf("purge: %d", code)
	}
	waited := make(chan int, 1)
	go func() {
		r, _ := e.try(http.MethodGet, "/.edge/purge/"+held.ID+"?wait=30s", nil, "Authorization", "Bearer "+testToken)
		if r.Response == nil {
			waited <- 0
			return
		}
		waited <- r.StatusCode
	}()
	eventually(t, "somebody waits for the first purge", func() bool { return somebodyIs(t, "controlled.WaitPurge") })
	if state := e.purge(map[string]any{"tags": []string{"b"}}); state != "done" {
		t.Errorf("the second purge is %s after 20 s: want done at once", state)
	}
	if code := e.control(http.MethodPost, "purge/"+held.ID+"/cancel", nil, nil); code >= 300 {
		t.Errorf("cancel: %d", code)
	}
	if code := <-waited; code != http.StatusOK {
		t.Errorf("who waited got %d", code)
	}
}
