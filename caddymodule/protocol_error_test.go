package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// panicking is a handler that fails as a faulty third-party module would:
// before it answers, or in the middle of its answer.
type panicking struct{}

func (panicking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.test_panic", New: func() caddy.Module { return new(panicking) }}
}

func (panicking) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if strings.HasPrefix(r.URL.Path, "/late") {
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, "half an ans")
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
	}
	panic("a fault of the handler")
}

func init() {
	caddy.RegisterModule(panicking{})
	httpcaddyfile.RegisterHandlerDirective("test_panic", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return panicking{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("test_panic", httpcaddyfile.After, "reverse_proxy")
}

func TestAPanicBehindTheCacheIsContained(t *testing.T) {
	e := startEdge(t, "", "edge_rules {\n\tpage /*\n}\nedge_cache\ntest_panic\n")
	for range 3 {
		if r, err := e.try(http.MethodGet, "/early", nil); err != nil || r.StatusCode != 500 || r.stored() {
			t.Errorf("early: %d, %v, Cache-Status %q: want 500", r.StatusCode, err, r.cacheStatus())
		}
		if r, err := e.try(http.MethodGet, "/late", nil); err == nil {
			t.Errorf("late: %q as if it were whole", r.Text)
		}
	}
	if r := e.get("/.edge/healthz"); r.StatusCode != 200 {
		t.Errorf("healthz %d afterwards", r.StatusCode)
	}
}

// A 500 is never stored, whatever the rule says, and the next request asks.
func TestErrorsAreNotStored(t *testing.T) {
	statuses := []int{500, 502, 503, 504}
	asked := 0
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(statuses[asked%len(statuses)])
		asked++
		fmt.Fprint(w, "sorry")
	})
	e := startEdge(t, staticPool(address)+"\n", wholeSite)
	for _, want := range statuses {
		r := e.get("/page")
		if r.StatusCode != want || r.Text != "sorry" || r.stored() || r.hit() {
			t.Errorf("%d %q, Cache-Status %q: want %d", r.StatusCode, r.Text, r.cacheStatus(), want)
		}
		if cdn := r.Header.Get("Cloudflare-Cdn-Cache-Control"); cdn != "no-store" {
			t.Errorf("%d: the CDN is told %q", want, cdn)
		}
	}
	if n := fetches.Load(); n != int64(len(statuses)) {
		t.Errorf("%d fetches: want %d", n, len(statuses))
	}
}

const emptyPool = "pool app {\n\tqueue {\n\t\twait 1ms\n\t}\n}"

// Requests for an empty pool are answered by the pool, or, where the site has
// handle_errors, by that. Either way clients learn when to come again.
func TestAnEmptyPool(t *testing.T) {
	for name, c := range map[string]struct{ site, text string }{
		"the pool answers":  {wholeSite, "No replica of this application can take the request now.\n"},
		"the site answers":  {wholeSite + "handle_errors 5xx {\n\trespond \"back soon {err.status_code}\" 503\n}\n", "back soon 503"},
		"by another status": {wholeSite + "handle_errors {\n\trespond \"back soon\" 529\n}\n", "back soon"},
	} {
		t.Run(name, func(t *testing.T) {
			e := startEdge(t, emptyPool, c.site)
			for _, method := range []string{"GET", "GET", "HEAD", "POST"} { // a fill, and three that pass
				r := e.do(method, "/page", nil)
				want := 503
				if name == "by another status" {
					want = 529
				}
				if r.StatusCode != want || r.Header.Get("Retry-After") != "1" || r.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %d, Retry-After %q, Cache-Control %q", method, r.StatusCode, r.Header.Get("Retry-After"), r.Header.Get("Cache-Control"))
				}
				if method != "HEAD" && r.Text != c.text {
					t.Errorf("%s: %q: want %q", method, r.Text, c.text)
				}
				if r.stored() || r.hit() {
					t.Errorf("%s: Cache-Status %q", method, r.cacheStatus())
				}
			}
		})
	}
}

// An unreachable replica is a 502 of Caddy's, which handle_errors sees as well.
func TestHandleErrorsForAnUnreachableReplica(t *testing.T) {
	e := startEdge(t, fmt.Sprintf("pool app {\n\tdiscover static %s\n\thealth /healthz\n}", freeAddress(t)),
		wholeSite+"handle_errors {\n\trespond \"status {err.status_code}\"\n}\n")
	for _, method := range []string{"GET", "POST"} {
		if r := e.do(method, "/page", nil); r.Text != "status 502" && r.Text != "status 503" || r.hit() || r.stored() {
			t.Errorf("%s: %d %q, Cache-Status %q", method, r.StatusCode, r.Text, r.cacheStatus())
		}
	}
}

// Errors that handlers return pass edge_rules by, and still no CDN may keep
// them: Cloudflare keeps the 404 of a script for minutes if nobody objects.
func TestRulesHoldForErrorsToo(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "there.js"), []byte("script"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cache := range map[string]string{"alone": "", "with a cache": "edge_cache\n"} {
		for errors, block := range map[string]string{"Caddy's own": "", "handled": "handle_errors {\n\trespond \"not here\"\n}\n"} {
			t.Run(name+", "+errors, func(t *testing.T) {
				e := startEdge(t, "", fmt.Sprintf("edge_rules {\n\tfingerprinted /assets/*\n\tprivate /*\n}\n%sroot %q\nhandle_path /assets/* {\n\tfile_server\n}\nfile_server\n%s", cache, root, block))
				r := e.get("/assets/gone.js")
				if r.StatusCode != 404 || r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Cloudflare-Cdn-Cache-Control") != "no-store" {
					t.Errorf("%d %v: want a 404 that nobody stores", r.StatusCode, r.Header)
				}
				if r := e.get("/assets/there.js"); r.Text != "script" || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
					t.Errorf("%q %v: want the script for a year", r.Text, r.Header)
				}
				if r := e.get("/gone"); r.StatusCode != 404 || r.Header.Get("Cache-Control") != "private, no-store" {
					t.Errorf("%d %v: want what the rule says", r.StatusCode, r.Header)
				}
			})
		}
	}
}

// A thousand visitors at once, each with an answer of his own: nobody gets a
// byte of another, and nobody waits for more than the first one's header.
func TestAThousandPrivateAnswersAtOnce(t *testing.T) {
	const crowd = 1000
	release := make(chan struct{})
	var mu sync.Mutex
	var arrived int
	together := make(chan struct{})
	first := true
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		leads := first
		first = false
		if !leads {
			if arrived++; arrived == crowd-1 {
				close(together)
			}
		}
		mu.Unlock()
		if leads {
			<-release
		} else {
			select {
			case <-together: // all the others are here too: they come together, or none is answered
			case <-r.Context().Done():
				return
			}
		}
		name := r.Header.Get("Cookie")
		w.Header().Set("Set-Cookie", "for-"+name)
		w.Header().Set("Cache-Control", "max-age=60")
		fmt.Fprint(w, strings.Repeat("for "+name+"\n", 300))
	})
	pool := strings.Replace(staticPool(address), "health", "queue {\n\tmax_inflight none\n}\nhealth", 1)
	e := startEdge(t, pool, wholeSite)
	var written, done sync.WaitGroup
	written.Add(crowd)
	for n := range crowd {
		done.Go(func() {
			once := sync.OnceFunc(written.Done)
			defer once()
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { once() }})
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+"/me", nil)
			if err != nil {
				t.Error(err)
				return
			}
			name := fmt.Sprintf("visitor=%d", n)
			request.Header.Set("Cookie", name)
			r, err := read(testClient.Do(request))
			if err != nil {
				t.Error(err)
				return
			}
			same(t, name, r.Text, strings.Repeat("for "+name+"\n", 300))
			if got := r.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "for-"+name {
				t.Errorf("%s got the cookies %q", name, got)
			}
		})
	}
	written.Wait()
	close(release)
	done.Wait()
	if n := fetches.Load(); n != crowd {
		t.Errorf("%d fetches: want one for each of %d", n, crowd)
	}
}
