package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// counted is an origin that counts what it is asked for, path by path.
type counted struct {
	address string
	version atomic.Pointer[string]
	// sick: health checks fail.
	sick atomic.Bool

	mu    sync.Mutex
	asked map[string]int
}

func newCounted(t *testing.T, version string) *counted {
	t.Helper()
	o := &counted{asked: make(map[string]int)}
	o.version.Store(&version)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", *o.version.Load())
		if r.URL.Path == "/healthz" {
			if o.sick.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			return
		}
		o.mu.Lock()
		o.asked[r.URL.Path]++
		n := o.asked[r.URL.Path]
		o.mu.Unlock()
		w.Header().Set("Cache-Tag", "tag-"+strings.Trim(r.URL.Path, "/"))
		fmt.Fprintf(w, "%s %d %s", r.URL.Path, n, strings.Repeat("x", 20_000))
	}))
	t.Cleanup(server.Close)
	o.address = strings.TrimPrefix(server.URL, "http://")
	return o
}

func (o *counted) fetches(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[path]
}

// diskView is what edge status says of the disk.
type diskView struct {
	Serving, Failing         bool
	Writes, Blobs, Recovered int64
	Fault                    string
	OpenedIn                 string `json:"opened_in"`
}

// disk is nil when the gateway has none.
func (g *gateway) disk() *diskView {
	g.t.Helper()
	r := g.edge("status", "--json")
	var s struct{ Cache struct{ Disk *diskView } }
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		g.t.Fatalf("status: %v\n%s\n%s", err, r.stdout, r.stderr)
	}
	return s.Cache.Disk
}

// warm asks for pages until they are hits, and waits until they are on disk.
func (g *gateway) warm(pages []string) {
	g.t.Helper()
	for _, page := range pages {
		g.page(page)
		if text, status := g.page(page); !strings.Contains(status, "; hit") {
			g.t.Fatalf("%s: %.20q, %q: want a hit", page, text, status)
		}
	}
	g.eventually("everything is on disk", func() bool { return g.disk().Blobs >= int64(len(pages)) })
}

// firstHit starts the gateway again and gives the time until a page is a hit. It
// asks with only-if-cached, so that the origin is not asked in its place.
func (g *gateway) firstHit(page string) time.Duration {
	g.t.Helper()
	begun := time.Now()
	g.launch()
	g.eventually(page+" is a hit", func() bool { return g.cached(page) == http.StatusOK })
	took := time.Since(begun)
	g.ready()
	return took
}

// cached is the status code of a page that must not come from the origin: 504 if
// it is not stored, 0 while nobody answers.
func (g *gateway) cached(page string) int {
	g.t.Helper()
	request, err := http.NewRequest(http.MethodGet, g.url+page, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	request.Header.Set("Cache-Control", "only-if-cached")
	got, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer got.Body.Close()
	return got.StatusCode
}

func pagesNamed(n int) []string {
	pages := make([]string, n)
	for i := range pages {
		pages[i] = fmt.Sprint("/page", i)
	}
	return pages
}

const diskLines = "cache {\ndisk 64MiB\n}"

// Killed, a gateway is back with what it had, less what was purged: before it
// was killed, and while it was.
func TestAKilledGatewayComesBackWarm(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v2")
	server, lines := cloudflare(t)
	g := configure(t, o.address, lines, diskLines)
	g.start()
	pages := pagesNamed(50)
	g.warm(pages)
	purged := map[string]bool{"/page1": true, "/page2": true, "/page3": true, "/page40": true}
	for _, args := range [][]string{
		{"--url", g.url + "/page1"}, {"--tag", "tag-page2"}, {"--prefix", "127.0.0.1/page3/", "--url", g.url + "/page3"},
	} {
		if r := g.edge(append([]string{"purge", "--wait", "1m"}, args...)...); r.code != 0 {
			t.Fatalf("purge %v: exit %d\n%s", args, r.code, r.stderr)
		}
	}
	server.Fail(10_000, standin.Hang)
	if r := g.edge("purge", "--wait", "1s", "--tag", "tag-page40"); r.code != 4 {
		t.Fatalf("exit %d: want 4, on its way to Cloudflare", r.code)
	}
	g.kill()
	server.Recover()
	took := g.firstHit("/page0")
	for _, page := range pages {
		before := o.fetches(page)
		text, status := g.page(page)
		asked := o.fetches(page) - before
		if !purged[page] && (asked != 0 || !strings.Contains(status, "; hit") || !strings.HasPrefix(text, page+" 1 ")) {
			t.Errorf("%s after the restart: %d fetches, %.20q, %q: want a hit", page, asked, text, status)
		}
		if purged[page] && (asked != 1 || !strings.HasPrefix(text, page+" 2 ")) {
			t.Errorf("%s was purged: %d fetches, %.20q, %q", page, asked, text, status)
		}
	}
	d := g.disk()
	t.Logf("first hit %s after the start; %d answers found on disk in %s", took.Round(time.Millisecond), d.Recovered, d.OpenedIn)

	if r := g.edge("purge", "--wait", "1m", "--everything", "--yes"); r.code != 0 {
		t.Fatalf("purge everything: exit %d\n%s", r.code, r.stderr)
	}
	g.kill()
	g.start()
	for _, page := range pages[:5] {
		before := o.fetches(page)
		if _, status := g.page(page); o.fetches(page) == before {
			t.Errorf("%s after everything was purged: %q, and no fetch", page, status)
		}
	}
}

// An order that was accepted and no more is carried out before anything from
// before it is served.
func TestAnAcceptedPurgeHoldsThoughTheGatewayIsKilled(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v2")
	g := configure(t, o.address, diskLines)
	g.start()
	for round := range 5 {
		page := fmt.Sprint("/round", round)
		g.warm([]string{page})
		request, err := http.NewRequest(http.MethodPost, g.url+"/.edge/purge", strings.NewReader(`{"urls":["`+g.url+page+`"]}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+controlToken)
		request.Header.Set("Content-Type", "application/json")
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		g.kill()
		if got.StatusCode != http.StatusAccepted {
			t.Fatalf("purge: %d", got.StatusCode)
		}
		g.start()
		if text, status := g.page(page); !strings.HasPrefix(text, page+" 2 ") {
			t.Errorf("%s: %.20q, %q: purged before the kill", page, text, status)
		}
	}
}

// A version that was retired while the gateway was down is not served again; one
// that still runs is.
func TestADeployWhileTheGatewayIsDown(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v2")
	g := configure(t, o.address, diskLines)
	g.start()
	g.warm([]string{"/a", "/b"})
	g.kill()
	g.firstHit("/a")
	if n := o.fetches("/a"); n != 1 {
		t.Fatalf("%d fetches: want the page of the version that still runs", n)
	}
	g.kill()
	v3 := "v3"
	o.version.Store(&v3)
	o.sick.Store(true) // what runs is not known yet
	g.launch()
	refused := 0
	g.eventually("fifty requests have come too early", func() bool {
		switch code := g.cached("/a"); code {
		case http.StatusGatewayTimeout:
			refused++
		case 0:
		default:
			t.Fatalf("a page of the retired version, before any replica was seen: %d", code)
		}
		return refused >= 50
	})
	o.sick.Store(false)
	g.ready()
	for _, page := range []string{"/a", "/b"} {
		if text, status := g.page(page); !strings.HasPrefix(text, page+" 2 ") {
			t.Errorf("%s of a retired version: %.20q, %q", page, text, status)
		}
	}
	g.eventually("pages of the new version are stored", func() bool {
		_, status := g.page("/a")
		return strings.Contains(status, "; hit")
	})
}

// The folder goes away under traffic: nobody notices but the operator; and what
// it held is not believed when it is back.
func TestADiskThatGoesAway(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v2")
	g := configure(t, o.address, "cache {\ndisk 16MiB\n}")
	g.start()
	g.warm([]string{"/a"})
	folder := filepath.Join(g.stateDir, "cache")
	if err := os.Rename(folder, folder+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	visit := func(pages []string) {
		t.Helper()
		for _, page := range pages {
			if text, _ := g.page(page); !strings.HasPrefix(text, page+" ") {
				t.Fatalf("%s: %.20q", page, text)
			}
		}
	}
	visit(pagesNamed(200)) // four megabytes: several segments
	g.eventually("the status shows it", func() bool { return g.disk().Failing })
	if !strings.Contains(g.log.String(), `"cache disk"`) {
		t.Error("the log does not say so")
	}
	if r := g.edge("purge", "--wait", "1m", "--url", g.url+"/a"); r.code != 0 {
		t.Errorf("purge: exit %d\n%s", r.code, r.stderr)
	}
	g.kill()
	g.start()
	if g.disk() != nil {
		t.Error("a folder that is a file is in use")
	}
	visit(pagesNamed(5))
	visit([]string{"/a"})
	g.kill()
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		t.Fatal(err)
	}
	g.start()
	if d := g.disk(); d == nil || !d.Serving || d.Recovered != 0 {
		t.Errorf("%+v: want it in use, and empty: a run has passed without it", d)
	}
}
