package cdn

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// world is a CDN whose gateway is a function, in a clock of its own.
type world struct {
	t   *testing.T
	cdn *CDN

	mu      sync.Mutex
	page    string
	header  http.Header
	takes   time.Duration
	fetched int
	down    bool
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	o.Origins = []string{"http://gateway.test"}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cdn: c, page: "old", header: http.Header{"Cloudflare-Cdn-Cache-Control": {"max-age=600"}, "Cache-Tag": {"v-1,Pages"}}}
	c.upper.next = w.fetch
	t.Cleanup(c.Close)
	return w
}

// fetch reads the page first, and answers when the time it takes has passed.
func (w *world) fetch(ctx context.Context, ask request) (*answer, error) {
	w.mu.Lock()
	w.fetched++
	got, takes, down := &answer{status: http.StatusOK, header: w.header.Clone(), body: []byte(w.page), cache: miss, from: "origin"}, w.takes, w.down
	w.mu.Unlock()
	if down {
		return nil, fmt.Errorf("the gateway is down")
	}
	if etag := got.header.Get("Etag"); etag != "" && etag == ask.etag {
		got.status, got.body = http.StatusNotModified, nil
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
	}
	got.left = time.Now()
	return got, nil
}

func (w *world) set(page string, takes time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.page, w.takes = page, takes
}

func (w *world) fetches() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetched
}

// visit is "page, status, tier".
func (w *world) visit(site int, edit ...func(*http.Request)) string {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/page?a=1", nil)
	for _, e := range edit {
		e(r)
	}
	got := httptest.NewRecorder()
	w.cdn.Site(site).ServeHTTP(got, r)
	return strings.Join([]string{got.Body.String(), got.Header().Get("Cf-Cache-Status"), got.Header().Get(FromField)}, " ")
}

func (w *world) expect(what string, site int, want string) {
	w.t.Helper()
	if got := w.visit(site); got != want {
		w.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (w *world) purge(operation, kind string, items ...string) {
	w.cdn.Purge(standin.Call{At: time.Now(), Operation: operation, Kind: kind, Items: items})
}

func TestTiersAreAskedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{})
		w.expect("nobody has it", 0, "old MISS origin")
		w.expect("the site has it", 0, "old HIT lower-0")
		w.expect("the upper tier has it", 1, "old HIT upper")
		time.Sleep(601 * time.Second)
		w.expect("it has expired", 0, "old EXPIRED origin")
		if n := w.fetches(); n != 2 {
			t.Errorf("%d fetches: want 2", n)
		}
	})
}

func TestOneFetchForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Travel: time.Second})
		w.set("old", time.Second)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if got := w.visit(i % 2); !strings.HasPrefix(got, "old ") {
					t.Error(got)
				}
			})
		}
		all.Wait()
		if n := w.fetches(); n != 1 {
			t.Errorf("%d fetches: want 1", n)
		}
	})
}

// The windows for which a purge has to be repeated.
func TestWhatIsUnderWayIsStoredInSpiteOfAPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sites: 1, Travel: 2 * time.Second, Spread: time.Second})
		w.set("old", time.Second)
		go w.visit(0)
		synctest.Wait()
		w.set("new", 0)
		w.purge("purge_cache", "tags", "V-1") // while the upper tier fetches
		time.Sleep(4 * time.Second)
		w.expect("an answer that was fetched during a purge", 0, "old HIT lower-0")
		w.purge("purge_cache", "tags", "v-1")
		w.expect("a purge that was accepted", 0, "old HIT lower-0")
		time.Sleep(time.Second)
		w.expect("a purge that is everywhere", 0, "new MISS origin")
	})
}

func TestACopyOnItsWayToTheLowerTierIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sites: 2, Travel: time.Minute})
		w.visit(0)
		w.set("new", 0)
		go w.visit(1) // gets the upper tier's copy, some time within the minute
		synctest.Wait()
		w.purge("purge_cache", "purge_everything")
		time.Sleep(time.Minute)
		w.expect("site 0 was purged", 0, "new MISS origin")
		if got := w.visit(1); !strings.HasPrefix(got, "old HIT lower-1") {
			t.Errorf("site 1, whose copy was on its way: %q", got)
		}
	})
}

func TestTiersArePurgedOneAfterTheOther(t *testing.T) {
	for lowerFirst, want := range map[bool]string{true: "old HIT upper", false: "old HIT lower-0"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Options{Sites: 1, Spread: 2 * time.Second, LowerFirst: lowerFirst})
			w.visit(0)
			w.set("new", 0)
			w.purge("purge_cache", "hosts", "Example.COM")
			time.Sleep(time.Second)
			w.expect("after half of the time", 0, want)
			time.Sleep(time.Second)
			if lowerFirst {
				want = "old HIT lower-0" // it has taken the old copy back
			} else {
				want = "new MISS origin"
			}
			w.expect("after all of it", 0, want)
		})
	}
}

func TestWhatAPurgeNames(t *testing.T) {
	for name, want := range map[string]bool{
		"tags v-1": true, "tags pages": true, "tags v-2": false, "hosts example.com": true, "hosts other.com": false,
		"prefixes example.com/pa": true, "prefixes EXAMPLE.com": true, "prefixes example.com/PA": false,
		"files https://example.com/page?a=1": true, "files https://example.com/page": false, "purge_everything ": true,
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.visit(0)
			w.set("new", 0)
			kind, item, _ := strings.Cut(name, " ")
			w.purge("purge_cache", kind, item)
			if got := strings.HasPrefix(w.visit(0), "new MISS"); got != want {
				t.Errorf("%s: purged %v, want %v", name, got, want)
			}
		})
	}
}

func TestInvalidatedCopiesAreStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sites: 1})
		w.header.Set("Cloudflare-CDN-Cache-Control", "max-age=600, stale-while-revalidate=60, stale-if-error=300")
		w.visit(0)
		w.set("new", 0)
		w.purge("invalidate_cache", "tags", "v-1")
		w.expect("while it is revalidated", 0, "old UPDATING lower-0")
		synctest.Wait()
		// The upper tier gave its stale copy too, which is not kept as fresh.
		w.expect("the upper tier has the new one", 0, "old UPDATING lower-0")
		synctest.Wait()
		w.expect("now the lower one", 0, "new HIT lower-0")
		w.purge("invalidate_cache", "tags", "v-1")
		w.mu.Lock()
		w.down = true
		w.mu.Unlock()
		time.Sleep(61 * time.Second)
		w.expect("the gateway is down", 0, "new STALE upper")
	})
}

func TestA304RenewsACopyButNotItsTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sites: 1})
		w.header.Set("Etag", `"x"`)
		w.visit(0)
		w.header.Set("Cache-Tag", "v-2")
		time.Sleep(601 * time.Second)
		w.expect("asked again", 0, "old REVALIDATED origin")
		w.set("new", 0)
		w.header.Set("Etag", `"y"`)
		w.purge("purge_cache", "tags", "v-2")
		w.expect("the tag that a 304 brought", 0, "old HIT lower-0")
		w.purge("purge_cache", "tags", "v-1")
		w.expect("the tag that it was stored with", 0, "new MISS origin")
	})
}

func TestLateCopiesAreNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Options{Sites: 1})
		w.cdn.lower[0].next = func(ctx context.Context, ask request) (*answer, error) {
			got, err := w.cdn.fromUpper(ctx, ask)
			time.Sleep(time.Minute) // a machine that is busy
			return got, err
		}
		w.visit(0)
		w.expect("asked again", 0, "old HIT upper")
	})
}
