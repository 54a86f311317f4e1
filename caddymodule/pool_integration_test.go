package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/edgegw/edge/internal/lb"
)

// load sends GETs at a steady rate from many goroutines until stop is called,
// which returns how many were sent and what failed.
func (e *edge) underLoad(perSecond int, paths ...string) (stop func() (int64, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var sent atomic.Int64
	var mu sync.Mutex
	var failures []string
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			path := strings.ReplaceAll(paths[n%len(paths)], "N", fmt.Sprint(n))
			all.Go(func() {
				sent.Add(1)
				r, err := e.try(http.MethodGet, path, nil)
				if err == nil && r.StatusCode == 200 {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failures = append(failures, fmt.Sprintf("%s: %v", path, err))
					return
				}
				failures = append(failures, fmt.Sprintf("%s: %d %s", path, r.StatusCode, r.Text))
			})
		}
	})
	return func() (int64, []string) {
		cancel()
		all.Wait()
		return sent.Load(), failures
	}
}

// poolStatus is the pool's, over the control API.
func (e *edge) poolStatus() lb.Status {
	e.t.Helper()
	var status struct{ Pools []lb.Status }
	if code := e.control(http.MethodGet, "status", nil, &status); code != http.StatusOK || len(status.Pools) != 1 {
		e.t.Fatalf("status: %d, %+v", code, status)
	}
	return status.Pools[0]
}

func (e *edge) replicasUp() int {
	up := 0
	for _, r := range e.poolStatus().Replicas {
		if r.State == "up" {
			up++
		}
	}
	return up
}

// sampleSite proxies everything; only /contacts pages are cached.
const sampleSite = `
edge_rules {
	page /contacts* {
		edge 60s
	}
	private /*
}
edge_cache
edge_proxy app
`

func TestAReplicaIsKilledUnderLoad(t *testing.T) {
	replicas := []replica{startReplica(t, "v1"), startReplica(t, "v1"), startReplica(t, "v1")}
	e := startEdge(t, staticPool(replicas[0].address, replicas[1].address, replicas[2].address), sampleSite)
	eventually(t, "three replicas up", func() bool { return e.replicasUp() == 3 })

	stop := e.underLoad(500, "/api/contacts?n=N", "/contacts/1?n=N")
	before := e.poolStatus()
	eventually(t, "the load reaches the replicas", func() bool { return requests(e.poolStatus()) > requests(before)+300 })
	if err := replicas[1].process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the killed replica is noticed", func() bool { return e.replicasUp() == 2 })
	killed := requests(e.poolStatus())
	eventually(t, "the load goes on", func() bool { return requests(e.poolStatus()) > killed+500 })
	sent, failures := stop()
	if len(failures) > 0 {
		t.Errorf("%d of %d GETs failed, such as %s", len(failures), sent, failures[0])
	}
	t.Logf("%d GETs, %d failed, %d retried", sent, len(failures), e.poolStatus().Retries)
}

func requests(s lb.Status) (n int64) {
	for _, r := range s.Replicas {
		n += r.Requests
	}
	return n
}

func TestAReloadUnderLoadLosesNothing(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v1")
	block := staticPool(one.address, two.address)
	e := startEdge(t, block, sampleSite)
	eventually(t, "both replicas up", func() bool { return e.replicasUp() == 2 })
	if r := e.get("/contacts"); !strings.Contains(r.cacheStatus(), "stored") {
		t.Fatalf("Cache-Status %q: want stored", r.cacheStatus())
	}
	before := e.poolStatus()

	stop := e.underLoad(300, "/api/contacts?n=N", "/contacts")
	for n := range 5 {
		changed := strings.Replace(block, "interval 200ms", fmt.Sprintf("interval %dms", 201+n), 1)
		if err := e.load(changed, sampleSite); err != nil {
			t.Fatalf("reload %d: %v", n, err)
		}
		served := requests(e.poolStatus())
		eventually(t, "traffic after the reload", func() bool { return requests(e.poolStatus()) > served+50 })
	}
	sent, failures := stop()
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed, such as %s", len(failures), sent, failures[0])
	}
	if r := e.get("/contacts"); !strings.Contains(r.cacheStatus(), "edge; hit") {
		t.Errorf("Cache-Status %q after the reloads: want a hit", r.cacheStatus())
	}
	after := e.poolStatus()
	for i, r := range after.Replicas {
		if was := before.Replicas[i]; r.ID != was.ID || !r.Since.Equal(was.Since) || r.Requests < was.Requests {
			t.Errorf("replica %+v was %+v: a reload must not reset it", r, was)
		}
	}
}

func TestARejectedReloadChangesNothing(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), pagesSite)
	e.get("/kept")
	for name, block := range map[string]string{
		"a pool that another configuration calls otherwise": strings.Replace(staticPool(address), "pool app", "pool other", 1),
		"a state directory elsewhere":                       staticPool(address) + "\n\t\tcache {\n\t\t\tmemory 1MiB\n\t\t}\n",
	} {
		site := pagesSite
		if strings.Contains(name, "elsewhere") {
			e.stateDir = filepath.Join(e.stateDir, "moved")
		}
		if err := e.load(block, site); err == nil {
			t.Errorf("%s: was accepted", name)
		}
		if r := e.get("/kept"); !strings.Contains(r.cacheStatus(), "edge; hit") || r.Text != "page" {
			t.Errorf("%s: then %q, Cache-Status %q: want the stored page", name, r.Text, r.cacheStatus())
		}
	}
}

const registeredPool = `pool app {
	health /healthz {
		interval 100ms
		version_header X-App-Version
	}
	policy round_robin
	slow_start 1ms
	drain 2s
}`

func TestReplicasRegisterAndDrain(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v2")
	e := startEdge(t, registeredPool, sampleSite)

	var ids []string
	for _, r := range []replica{one, two} {
		var answer struct{ ID string }
		if code := e.control(http.MethodPost, "replicas", map[string]string{"pool": "app", "address": r.address, "lease": "30s"}, &answer); code > 201 {
			t.Fatalf("register: %d", code)
		}
		ids = append(ids, answer.ID)
	}
	eventually(t, "both are up", func() bool { return e.replicasUp() == 2 })
	versions := make(map[string]bool)
	for range 50 {
		versions[e.get("/api/contacts").Header.Get("X-App-Version")] = true
	}
	if !versions["v1"] || !versions["v2"] {
		t.Errorf("answers came from %v: want both", versions)
	}
	stop := e.underLoad(200, "/api/contacts?n=N")
	if code := e.control(http.MethodPost, "replicas/"+ids[0]+"/drain", nil, nil); code >= 300 {
		t.Fatalf("drain: %d", code)
	}
	eventually(t, "the first one is drained", func() bool { return e.replicasUp() == 1 })
	if code := e.control(http.MethodDelete, "replicas/"+ids[0], nil, nil); code >= 300 {
		t.Fatalf("deregister: %d", code)
	}
	eventually(t, "the first one is gone", func() bool { return len(e.poolStatus().Replicas) == 1 })
	if sent, failures := stop(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed, such as %s", len(failures), sent, failures[0])
	}
	if got := e.get("/api/contacts").Header.Get("X-App-Version"); got != "v2" {
		t.Errorf("answer from %s: want v2", got)
	}
}

func TestAFileNamesTheReplicas(t *testing.T) {
	one := startReplica(t, "v1")
	list := filepath.Join(t.TempDir(), "replicas")
	if err := os.WriteFile(list, []byte("# none yet\n"+one.address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startEdge(t, fmt.Sprintf("pool app {\n\tdiscover file %q\n\thealth /healthz {\n\t\tinterval 100ms\n\t}\n\tdrain 1s\n}", list), sampleSite)
	eventually(t, "the first is up", func() bool { return e.replicasUp() == 1 })
	two := startReplica(t, "v2")
	if err := os.WriteFile(list, []byte(two.address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second took over", func() bool {
		replicas := e.poolStatus().Replicas
		return len(replicas) == 1 && replicas[0].Address == two.address && replicas[0].State == "up"
	})
	if got := e.get("/api/contacts").Header.Get("X-App-Version"); got != "v2" {
		t.Errorf("answer from %s: want v2", got)
	}
}

func TestWebSocketsAndStreamsGoThrough(t *testing.T) {
	one := startReplica(t, "v1")
	e := startEdge(t, staticPool(one.address), sampleSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	socket, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(e.URL, "http")+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	echo := func(text string) {
		t.Helper()
		if err := socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := socket.Read(ctx); err != nil || !strings.Contains(string(got), text) {
			t.Fatalf("echo of %q: %q, %v", text, got, err)
		}
	}
	echo("before the reload")

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	events, err := testClient.Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	chunk := make([]byte, 4096)
	if n, err := events.Body.Read(chunk); err != nil || n == 0 {
		t.Fatalf("no event: %d, %v", n, err)
	}

	if err := e.load(strings.Replace(staticPool(one.address), "200ms", "250ms", 1), sampleSite); err != nil {
		t.Fatal(err)
	}
	echo("after the reload")
	if n, err := events.Body.Read(chunk); err != nil || n == 0 {
		t.Errorf("the stream ended with the reload: %d, %v", n, err)
	}
	if s := e.poolStatus().Replicas[0]; s.WebSockets != 1 {
		t.Errorf("%d WebSockets counted: want 1", s.WebSockets)
	}
}

func TestNoReplicaIsA503WithRetryAfter(t *testing.T) {
	e := startEdge(t, "pool app {\n\tqueue {\n\t\twait 100ms\n\t}\n}", sampleSite)
	r := e.do(http.MethodPost, "/api/contacts", io.NopCloser(strings.NewReader("{}")))
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: want 503 with one", r.StatusCode, r.Header.Get("Retry-After"))
	}
	if code := e.do(http.MethodGet, "/.edge/readyz", nil).StatusCode; code != http.StatusServiceUnavailable {
		t.Errorf("readyz %d without a replica: want 503", code)
	}
	if code := e.do(http.MethodGet, "/.edge/healthz", nil).StatusCode; code != http.StatusOK {
		t.Errorf("healthz %d: want 200", code)
	}
}
