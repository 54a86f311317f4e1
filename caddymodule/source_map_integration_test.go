package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestSourceMapsAreForTheErrorTrackerAlone(t *testing.T) {
	const token = "0c4f6d1ab7e25d98"
	t.Setenv("EDGE_TEST_MAP_TOKEN", token)
	var given []string
	address, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, ".map") {
			given = append(given, r.Header.Get("Authorization")+r.Header.Get("X-Sentry-Token"))
		}
		w.Header().Set("Cache-Control", "public, max-age=600")
		fmt.Fprint(w, "the source")
	})
	rules := func(header string) string {
		return "\nedge_rules {\n\tsource_map *.map {\n\t\ttoken {env.EDGE_TEST_MAP_TOKEN}\n" + header + "\t}\n\tpage /*\n}\nedge_cache\nedge_proxy app\n"
	}
	e := startEdge(t, staticPool(address), rules(""))
	before := hits.Load()
	for _, path := range []string{
		"/assets/app.js.map", "/assets/app.js.MAP", "/assets/app.js%2Emap", "/assets/app.js.map;.js", "/assets/app.js.map%3F.js", "/x/%2e%2e/app.js.map",
		"/assets/app.js.map%00.js", "/assets/app.js%252Emap",
	} {
		for _, fields := range [][]string{nil, {"Authorization", "Bearer " + token + "0"}, {"Authorization", "Bearer"}, {"X-Sentry-Token", token}} {
			got := e.get(path, fields...)
			if got.StatusCode != http.StatusNotFound && got.StatusCode != http.StatusBadRequest || strings.Contains(got.Text, "source") {
				t.Errorf("%s %v: got %d %q: want nothing there", path, fields, got.StatusCode, got.Text)
			}
			if cc := got.Header.Get("Cache-Control"); got.StatusCode == http.StatusNotFound && cc != "private, no-store" {
				t.Errorf("%s: Cache-Control %q of a 404: want private, no-store", path, cc)
			}
		}
	}
	if hits.Load() != before {
		t.Error("a stranger's request reached the application")
	}
	for range 2 {
		got := e.get("/assets/app.js.map", "Authorization", "Bearer "+token)
		if got.StatusCode != http.StatusOK || got.Text != "the source" || got.Header.Get("Cache-Control") != "private, no-store" || !strings.Contains(got.cacheStatus(), "bypass") {
			t.Errorf("with the token: %d %q, %v", got.StatusCode, got.Text, got.Header)
		}
	}
	if e.get("/assets/app.js").StatusCode != http.StatusOK {
		t.Error("the script itself is not served")
	}
	if err := e.load(staticPool(address), rules("\t\ttoken_header X-Sentry-Token\n")); err != nil {
		t.Fatal(err)
	}
	if got := e.get("/assets/app.js.map", "X-Sentry-Token", token).StatusCode; got != http.StatusOK {
		t.Errorf("with the token in its header: %d", got)
	}
	if got := e.get("/assets/app.js.map", "Authorization", token).StatusCode; got != http.StatusNotFound {
		t.Errorf("with the token in another header: %d", got)
	}
	if slices.ContainsFunc(given, func(s string) bool { return s != "" }) {
		t.Errorf("the application was told the token: %q", given)
	}
}
