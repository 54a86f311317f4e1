package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// echoTarget tells what the origin sees, for a minute.
func echoTarget(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=60")
	fmt.Fprintf(w, "%s %s", r.RequestURI, r.Header.Get("X-Seen"))
}

// Each handler works without the others, in front of Caddy's own.
func TestHandlersAlone(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "page"), []byte("page"), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := "edge_rules {\n\tpage /page {\n\t\tedge 60s\n\t}\n\tprivate /*\n}\n"
	cases := map[string]struct {
		block, site  string
		hits, stores bool
		browsers     string
		requests     int64 // that reach the origin in three
	}{
		"rules, then reverse_proxy":            {"", rules + "reverse_proxy " + address, false, false, "no-cache", 3},
		"rules, then file_server":              {"", rules + fmt.Sprintf("root %q\nfile_server\n", root), false, false, "no-cache", 0},
		"cache, then reverse_proxy":            {"", "header /page >Cache-Control max-age=60\nedge_cache\nreverse_proxy " + address, false, false, "max-age=60", 3},
		"cache, then what the origin allows":   {"", "edge_cache\nreverse_proxy " + address + " {\n\theader_down Cache-Control max-age=60\n}\n", true, true, "max-age=60", 1},
		"pool":                                 {staticPool(address), "edge_proxy app", false, false, "", 3},
		"rules and cache, then reverse_proxy":  {"", rules + "edge_cache\nreverse_proxy " + address, true, true, "no-cache", 1},
		"rules and cache, then file_server":    {"", rules + fmt.Sprintf("edge_cache\nroot %q\nfile_server\n", root), true, true, "no-cache", 0},
		"rules and pool":                       {staticPool(address), rules + "edge_proxy app", false, false, "no-cache", 3},
		"cache and pool":                       {staticPool(address), "edge_cache\nedge_proxy app {\n\theader_down Cache-Control max-age=60\n}\n", true, true, "max-age=60", 1},
		"rules in a route, cache in a handle":  {staticPool(address), "route {\n" + rules + "handle {\n\tedge_cache\n\tedge_proxy app\n}\n}\n", true, true, "no-cache", 1},
		"everything, a respond instead of all": {"", rules + "edge_cache\nrespond page\n", true, true, "no-cache", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := fetches.Load()
			e := startEdge(t, c.block, c.site)
			for n := range 3 {
				r := e.get("/page")
				if r.StatusCode != 200 || r.Text != "page" || r.Header.Get("Cache-Control") != c.browsers {
					t.Errorf("request %d: %d %q, Cache-Control %q", n, r.StatusCode, r.Text, r.Header.Get("Cache-Control"))
				}
				if r.hit() != (c.hits && n > 0) || r.stored() != (c.stores && n == 0) {
					t.Errorf("request %d: Cache-Status %q", n, r.cacheStatus())
				}
			}
			if n := fetches.Load() - asked; n != c.requests {
				t.Errorf("%d requests reached the origin: want %d", n, c.requests)
			}
		})
	}
}

// Where the URL is rewritten before or behind the cache, the origin gets the
// rewritten one, and a purge by the visitor's URL removes what he got.
func TestRewritesAndPurgesByTheVisitorsURL(t *testing.T) {
	pool := "edge_proxy app {\n\theader_up X-Seen {http.request.orig_uri}\n}\n"
	cases := map[string]struct{ site, origin string }{
		"handle_path":                       {"edge_cache\nhandle_path /shop/* {\n" + pool + "}\n", "/item?n=1"},
		"handle_path around the cache":      {"handle_path /shop/* {\nedge_cache\n" + pool + "}\n", "/item?n=1"},
		"rewrite before the cache":          {"rewrite /shop/* /index.php?from={uri}\nedge_cache\n" + pool, "/index.php?from=%2Fshop%2Fitem%3Fn%3D1"},
		"uri strip_prefix before the cache": {"uri strip_prefix /shop\nedge_cache\n" + pool, "/item?n=1"},
		"uri replace, in a route":           {"route {\nedge_cache\nuri replace /shop/ /store/\n" + pool + "}\n", "/store/item?n=1"},
		"a capture of a path_regexp": {"@item path_regexp item ^/shop/(.*)$\nrewrite @item /by-name\nedge_cache\n" +
			strings.Replace(pool, "X-Seen {http.request.orig_uri}", "X-Seen \"{http.request.orig_uri} {re.item.1}\"", 1), "/by-name?n=1"},
		"a variable": {"vars item 7\nedge_cache\n" +
			strings.Replace(pool, "X-Seen {http.request.orig_uri}", "X-Seen \"{http.request.orig_uri} {vars.item}\"", 1), "/shop/item?n=1"},
		"a map": {"map {path} {item} {\n\t/shop/item seven\n}\nedge_cache\n" +
			strings.Replace(pool, "X-Seen {http.request.orig_uri}", "X-Seen \"{http.request.orig_uri} {item}\"", 1), "/shop/item?n=1"},
	}
	extra := map[string]string{"a capture of a path_regexp": " item", "a variable": " 7", "a map": " seven"}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			address, fetches := counting(t, echoTarget)
			e := startEdge(t, staticPool(address), c.site)
			want := c.origin + " /shop/item?n=1" + extra[name]
			for n := range 2 {
				r := e.get("/shop/item?n=1")
				if r.Text != want || r.hit() != (n > 0) {
					t.Errorf("request %d: %q, Cache-Status %q: want %q", n, r.Text, r.cacheStatus(), want)
				}
			}
			e.get("/shop/other?n=1")
			for _, order := range []map[string]any{
				{"urls": []string{e.URL + "/shop/item?n=1"}},
				{"prefixes": []string{"127.0.0.1/shop/item"}},
			} {
				asked := fetches.Load()
				if state := e.purge(order); state != "done" {
					t.Fatalf("purge %v: %s", order, state)
				}
				if r := e.get("/shop/item?n=1"); r.Text != want || fetches.Load() != asked+1 {
					t.Errorf("after the purge %v: %q, Cache-Status %q: want it fetched", order, r.Text, r.cacheStatus())
				}
				if r := e.get("/shop/other?n=1"); !r.hit() {
					t.Errorf("after the purge %v: Cache-Status %q of another URL: want a hit", order, r.cacheStatus())
				}
			}
		})
	}
}
