package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

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

// reload loads a later configuration and waits until it alone is there.
func (e *edge) reload(block, site string) error {
	e.t.Helper()
	if err := e.load(block, site); err != nil {
		return err
	}
	e.settle()
	return nil
}

// settle waits until the sockets of an earlier configuration are closed. Caddy
// opens sockets of its own for each configuration, closes the old ones behind
// load's back, and what the kernel had queued on them is reset.
func (e *edge) settle() {
	e.t.Helper()
	at := strings.LastIndexByte(e.URL, ':')
	port, err := strconv.Atoi(e.URL[at+1:])
	if err != nil {
		e.t.Fatal(err)
	}
	// proc(5): the local port, any remote address, the state LISTEN.
	listening := regexp.MustCompile(fmt.Sprintf(`:%04X 0+:0000 0A `, port))
	eventually(e.t, "the old socket is closed", func() bool {
		four, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return true // elsewhere than on Linux there is nothing to see
		}
		six, _ := os.ReadFile("/proc/net/tcp6") // absent without IPv6
		return len(listening.FindAllIndex(append(four, six...), -1)) == 1
	})
	testClient.CloseIdleConnections()
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
		if err := e.reload(strings.Replace(block, "200ms", fmt.Sprintf("%dms", 201+n), 1), sampleSite); err != nil {
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
	e.settle()
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
	e.settle()
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
	if err := e.reload(staticPool(address)+"\ncache {\n\tmemory 2MiB\n\tmax_object 64KiB\n}\n", pagesSite); err != nil {
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
