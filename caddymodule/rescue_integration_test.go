package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edgegw/edge/internal/rawhit"
)

// staged is a gateway in front of replicas of two versions, which the test names
// one by one. Each has the assets of its own version alone.
type staged struct {
	*edge
	list string
	old  [2]replica
	new  [2]replica
	v1   string // path of a script that only v1 has
	v2   string
}

// startStaged runs the gateway with two replicas of v1. Block has further lines
// of the edge block.
func startStaged(t *testing.T, block, site string) *staged {
	t.Helper()
	r := &staged{list: filepath.Join(t.TempDir(), "replicas")}
	for i := range 2 {
		r.old[i], r.new[i] = startReplica(t, "v1"), startReplica(t, "v2")
	}
	r.v1, r.v2 = scriptOf(t, r.old[0]), scriptOf(t, r.new[0])
	if r.v1 == r.v2 {
		t.Fatalf("both versions name %s", r.v1)
	}
	r.names(t, r.old[:]...)
	r.edge = startEdge(t, fmt.Sprintf(`pool app {
	discover file %q
	policy random
	health /healthz {
		interval 100ms
		version_header X-App-Version
	}
	slow_start 1ms
	drain 200ms
}
%s`, r.list, block), site)
	r.awaitUp(r.old[:]...)
	return r
}

// names is what discovery finds from now on.
func (r *staged) names(t *testing.T, replicas ...replica) {
	t.Helper()
	var text strings.Builder
	for _, one := range replicas {
		text.WriteString(one.address + "\n")
	}
	if err := os.WriteFile(r.list, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// goTo has the pool consist of these.
func (r *staged) goTo(replicas ...replica) {
	r.t.Helper()
	r.names(r.t, replicas...)
	r.awaitUp(replicas...)
}

// awaitUp waits until these replicas, and no others, are there and take requests.
func (r *staged) awaitUp(replicas ...replica) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("%d replicas are up, and no others there", len(replicas)), func() bool {
		up := 0
		found := r.poolStatus().Replicas
		for _, one := range replicas {
			for _, f := range found {
				if f.Address == one.address && f.State == "up" && f.Version != "" {
					up++
				}
			}
		}
		return up == len(replicas) && len(found) == up
	})
}

// scriptOf asks a replica which script its pages name.
func scriptOf(t *testing.T, one replica) string {
	t.Helper()
	got, err := testClient.Get("http://" + one.address + "/contacts")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := namedScript.FindStringSubmatch(string(text))
	if found == nil {
		t.Fatalf("no script in the page of %s", one.address)
	}
	return found[1]
}

// tabs are open tabs: visitors who ask, all at once and all the time, for the
// scripts of the pages that they have.
type tabs struct {
	wanted atomic.Pointer[[]string]
	asked  atomic.Int64
	stop   atomic.Bool
	wg     sync.WaitGroup
}

func openTabs(r *staged, fresh bool, wanted ...string) *tabs {
	tabs := new(tabs)
	tabs.wanted.Store(&wanted)
	for worker := range 8 {
		tabs.wg.Go(func() {
			for n := 0; !tabs.stop.Load(); n++ {
				list := *tabs.wanted.Load()
				path, method := list[(worker+n)%len(list)], http.MethodGet
				if fresh { // no answer is there yet
					path += "?n=" + rawhit.NewID()
				}
				if n%5 == 4 {
					method = http.MethodHead
				}
				got, err := r.try(method, path, nil)
				if err != nil || got.StatusCode != http.StatusOK || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/javascript") {
					r.t.Errorf("%s %s: %v, %v: want its script", method, path, err, got.Response)
					return
				}
				tabs.asked.Add(1)
			}
		})
	}
	return tabs
}

// more waits until that many more requests have been answered.
func (o *tabs) more(t *testing.T, n int64) {
	t.Helper()
	from := o.asked.Load()
	eventually(t, fmt.Sprintf("%d more scripts are there", n), func() bool { return t.Failed() || o.asked.Load() >= from+n })
}

func (o *tabs) end() {
	o.stop.Store(true)
	o.wg.Wait()
}

const assetSite = "edge_rules {\n\tfingerprinted /assets/*\n\tprivate /*\n}\n"

// Whatever of a version that is live is asked of the gateway, at any moment of a
// rollout, is there.
func TestEveryScriptIsThereThroughoutARollout(t *testing.T) {
	for name, tt := range map[string]struct {
		site  string
		fresh bool
	}{
		"lean":            {site: assetSite + "edge_proxy app"},
		"Caddy's handler": {site: assetSite + "edge_proxy app {\n\tlean off\n}"},
		"cache":           {site: assetSite + "edge_cache\nedge_proxy app", fresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := startStaged(t, "", tt.site)
			tabs := openTabs(r, tt.fresh, r.v1)
			defer tabs.end()
			tabs.more(t, 50)
			r.goTo(r.old[0], r.old[1], r.new[0])
			tabs.wanted.Store(&[]string{r.v1, r.v2})
			tabs.more(t, 200)
			r.goTo(r.old[1], r.new[0])
			tabs.more(t, 200)
			r.goTo(r.old[1], r.new[0], r.new[1])
			tabs.more(t, 200)
			tabs.wanted.Store(&[]string{r.v2})
			tabs.more(t, 50) // nobody waits for v1's any more
			r.goTo(r.new[:]...)
			tabs.more(t, 50)
			tabs.end()
			if s := r.poolStatus(); s.Rescued == 0 || s.Retries > 0 {
				t.Errorf("%d rescued, %d retried: want some, and no retry", s.Rescued, s.Retries)
			}
			if got := scrape(t, r.metricsURL())[`edge_pool_rescued_total{pool="app"}`]; got == 0 {
				t.Error("edge_pool_rescued_total is 0")
			}
		})
	}
}

// What another version's replica had is stored as what it is, says so in the log,
// and outlives its version.
func TestWhatWasRescuedIsStored(t *testing.T) {
	r := startStaged(t, "", assetSite+"edge_cache\nedge_proxy app")
	r.goTo(r.old[0], r.new[0])
	rescued := ""
	eventually(t, "v2 was asked first for what v1 has", func() bool {
		path, id := r.v1+"?n="+rawhit.NewID(), "rescue-"+rawhit.NewID()
		got := r.get(path, "X-Request-Id", id)
		if got.StatusCode != http.StatusOK || !got.stored() {
			t.Fatalf("%d, %s: want it, and stored", got.StatusCode, got.cacheStatus())
		}
		if line := r.logged(id); line["rescued"] == true {
			if line["attempts"] != 2.0 || line["version"] != "v1" {
				t.Errorf("logged as %v: want two attempts, of v1", line)
			}
			rescued = path
		}
		return rescued != ""
	})
	got := r.get(rescued)
	if !got.hit() || got.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
		t.Errorf("%s, %s: want a hit for a year", got.cacheStatus(), got.Header.Get("Cache-Control"))
	}
	r.goTo(r.new[0])
	eventually(t, "v1 is purged", func() bool { return (controlled{}).Versions()["app"].Current == "v2" })
	if again := r.get(rescued); !again.hit() || again.Text != got.Text {
		t.Errorf("%d, %s: want the same hit after v1", again.StatusCode, again.cacheStatus())
	}
}

// A name that nobody has is a 404 that nobody keeps.
func TestAScriptThatNobodyHasIsKeptNowhere(t *testing.T) {
	r := startStaged(t, "", assetSite+"edge_cache\nedge_proxy app")
	r.goTo(r.old[0], r.new[0])
	for range 10 {
		got := r.get("/assets/app.0123456789abcdef.js")
		if got.StatusCode != http.StatusNotFound || got.stored() || got.hit() {
			t.Fatalf("%d, %s: want a 404 from a replica", got.StatusCode, got.cacheStatus())
		}
		if browser, cdn := got.Header.Get("Cache-Control"), got.Header.Get("Cloudflare-CDN-Cache-Control"); browser != "no-store" || cdn != "no-store" {
			t.Errorf("Cache-Control %q, for the CDN %q: want no-store", browser, cdn)
		}
	}
	var asked int64
	for _, one := range r.poolStatus().Replicas {
		asked += one.Requests
	}
	if asked < 20 {
		t.Errorf("%d requests at replicas: want each version asked each time", asked)
	}
}
