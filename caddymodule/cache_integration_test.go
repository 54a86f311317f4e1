package caddymodule

import (
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// counting is an origin that counts fetches of everything but its health.
func counting(t *testing.T, serve http.HandlerFunc) (address string, fetches *atomic.Int64) {
	t.Helper()
	fetches = new(atomic.Int64)
	return startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", "v1")
		if r.URL.Path == "/healthz" {
			return
		}
		fetches.Add(1)
		serve(w, r)
	}), fetches
}

func TestAHitDoesNotTouchAReplica(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "page %s", r.URL.Path)
	})
	e := startEdge(t, staticPool(address), pagesSite)

	first := e.get("/contacts")
	if first.StatusCode != 200 || !strings.Contains(first.cacheStatus(), "fwd=uri-miss") || !strings.Contains(first.cacheStatus(), "stored") {
		t.Errorf("first: %d, Cache-Status %q: want a stored miss", first.StatusCode, first.cacheStatus())
	}
	for range 100 {
		again := e.get("/contacts")
		if again.Text != "page /contacts" || !strings.Contains(again.cacheStatus(), "edge; hit") {
			t.Fatalf("again: %q, Cache-Status %q: want a hit", again.Text, again.cacheStatus())
		}
		if again.Header.Get("Age") == "" {
			t.Fatal("a hit without Age (RFC 9111, 5.1)")
		}
		if again.Header.Get("X-Request-Id") == first.Header.Get("X-Request-Id") {
			t.Fatal("two requests with one id")
		}
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("the replica was asked %d times: want 1", n)
	}
	if got := first.Header.Get("Cloudflare-Cdn-Cache-Control"); !strings.Contains(got, "max-age=60") || strings.Contains(got, "s-maxage") {
		t.Errorf("the CDN is told %q", got)
	}
	if got := first.Header.Get("Cache-Tag"); !strings.Contains(got, "v-v1") || !strings.Contains(got, "pages") {
		t.Errorf("Cache-Tag %q: want the version's tag and the rule's", got)
	}
}

func TestAThousandAtOnceMakeOneFetch(t *testing.T) {
	release := make(chan struct{})
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, staticPool(address), pagesSite)

	const crowd = 1000
	var written, done sync.WaitGroup
	written.Add(crowd)
	var wrong atomic.Int64
	for range crowd {
		done.Go(func() {
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { written.Done() }}
			request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, e.URL+"/hot", nil)
			if err != nil {
				wrong.Add(1)
				return
			}
			got, err := testClient.Do(request)
			if err != nil || got.StatusCode != 200 {
				wrong.Add(1)
				return
			}
			defer got.Body.Close()
			body := make([]byte, 16)
			if n, _ := got.Body.Read(body); string(body[:n]) != "page" { // EOF comes with the bytes or after them
				wrong.Add(1)
			}
		})
	}
	written.Wait()
	close(release)
	done.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d of %d got something else than the page", wrong.Load(), crowd)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1", n)
	}
}

// An origin answers from before the purge after the purge was acknowledged:
// its answer must be neither stored nor served to anyone who came later.
func TestAPurgeCannotLoseTheRace(t *testing.T) {
	orders := map[string]map[string]any{
		"everything": {"everything": true},
		"url":        {"urls": []string{"URL/race"}},
		"tag":        {"tags": []string{"pages"}},
		"prefix":     {"prefixes": []string{"HOST/ra"}},
		"host":       {"hosts": []string{"HOST"}},
		"version":    {"versions": []string{"v1"}},
		"soft":       {"everything": true, "soft": true},
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			arrived, released := make(chan struct{}, 10), make(chan struct{})
			release := sync.OnceFunc(func() { close(released) })
			var content atomic.Value
			content.Store("old")
			address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) {
				answer := content.Load().(string)
				arrived <- struct{}{}
				if answer == "old" {
					<-released
				}
				fmt.Fprint(w, answer)
			})
			e := startEdge(t, staticPool(address), pagesSite)
			t.Cleanup(release)

			before := make(chan response, 1)
			go func() {
				r, _ := e.try(http.MethodGet, "/race", nil) // judged by its text below
				before <- r
			}()
			<-arrived
			content.Store("new")
			if state := e.purge(substituted(e, order)); state != "done" {
				t.Fatalf("purge: %s", state)
			}
			release()
			if r := <-before; r.Text != "old" {
				t.Errorf("who asked before the purge got %q: want old", r.Text)
			}
			for range 3 {
				if r := e.get("/race"); r.Text != "new" {
					t.Fatalf("after the purge: %q, Cache-Status %q: want new", r.Text, r.cacheStatus())
				}
			}
			if n := fetches.Load(); n != 2 {
				t.Errorf("%d fetches: want 2, the old one and one new", n)
			}
		})
	}
}

// substituted puts the gateway's URL and host into an order. Hosts and prefixes
// have no port, as at Cloudflare.
func substituted(e *edge, order map[string]any) map[string]any {
	out := make(map[string]any)
	for key, value := range order {
		if texts, ok := value.([]string); ok {
			var filled []string
			for _, text := range texts {
				text = strings.ReplaceAll(text, "URL", e.URL)
				filled = append(filled, strings.ReplaceAll(text, "HOST", "127.0.0.1"))
			}
			value = filled
		}
		out[key] = value
	}
	return out
}

func TestWhatIsPrivateStaysPrivate(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login-page" {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "secret"})
		}
		fmt.Fprintf(w, "for %s", r.Header.Get("Cookie"))
	})
	e := startEdge(t, staticPool(address), pagesSite)
	cases := map[string]struct {
		path    string
		headers []string
		told    string
	}{
		"a private rule":               {"/api/me", nil, "private, no-store"},
		"a cookie that the rule names": {"/contacts", []string{"Cookie", "session=one"}, ""},
		"an answer that sets a cookie": {"/login-page", nil, ""},
		"a request with credentials":   {"/contacts", []string{"Authorization", "Basic eDp5"}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := fetches.Load()
			for range 3 {
				r := e.get(c.path, c.headers...)
				if strings.Contains(r.cacheStatus(), "hit") || strings.Contains(r.cacheStatus(), "stored") {
					t.Errorf("Cache-Status %q", r.cacheStatus())
				}
				if c.told != "" && r.Header.Get("Cache-Control") != c.told {
					t.Errorf("browsers are told %q: want %q", r.Header.Get("Cache-Control"), c.told)
				}
				if cdn := r.Header.Get("Cloudflare-Cdn-Cache-Control"); !strings.Contains(cdn, "no-store") {
					t.Errorf("the CDN is told %q: want no-store", cdn)
				}
			}
			if n := fetches.Load() - asked; n != 3 {
				t.Errorf("%d fetches for three requests", n)
			}
		})
	}
}

// Rules and caches may stand in each other's way without harm.
func TestHandlersMayStandTwice(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), `
edge_rules {
	page /* {
		edge 60s
	}
}
edge_cache
handle /twice* {
	edge_rules {
		static /* {
			edge 1d
		}
	}
	edge_cache
	edge_proxy app
}
handle {
	edge_proxy app
}
`)
	for _, path := range []string{"/once", "/twice"} {
		for range 2 {
			if r := e.get(path); r.StatusCode != 200 || r.Text != "page" {
				t.Errorf("%s: %d %q", path, r.StatusCode, r.Text)
			}
		}
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want one for each path", n)
	}
}

func TestHitsNameNobodyWhoNeedNotBeNamed(t *testing.T) {
	for name, c := range map[string]struct{ server, via string }{
		"the replica says nothing": {},
		"the replica says who":     {server: "app/1", via: "1.1 inner"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan string, 10)
			address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Header.Get("Via")
				for field, value := range map[string]string{"Server": c.server, "Via": c.via} {
					if value != "" {
						w.Header().Set(field, value)
					}
				}
				fmt.Fprint(w, "page")
			})
			e := startEdge(t, staticPool(address), pagesSite)
			for _, want := range []string{"stored", "edge; hit"} {
				got := e.get("/contacts")
				if !strings.Contains(got.cacheStatus(), want) || got.Text != "page" {
					t.Fatalf("%q, Cache-Status %q: want the page, %s", got.Text, got.cacheStatus(), want)
				}
				if server, via := got.Header.Get("Server"), strings.Join(got.Header["Via"], ", "); server != c.server || via != c.via {
					t.Errorf("%s: Server %q, Via %q: want the replica's, %q and %q", want, server, via, c.server, c.via)
				}
			}
			if via := <-asked; via != "1.1 Caddy" {
				t.Errorf("the replica was told Via %q: want 1.1 Caddy (RFC 9110, 7.6.3)", via)
			}
		})
	}
}
