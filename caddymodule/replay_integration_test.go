package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgegw/edge/internal/replay"
)

// replayed runs edge replay and decodes its report.
func replayed(t *testing.T, k replayConfig) replay.Report {
	t.Helper()
	var out strings.Builder
	k.json = true
	if err := replayLog(context.Background(), k, &out, os.Stderr); err != nil {
		t.Fatal(err)
	}
	var report replay.Report
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return report
}

func TestReplayOfALogThatAGatewayWrote(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cookies":
			w.Header().Set("Set-Cookie", "seen=1")
		case "/said":
			w.Header().Set("Cache-Control", "no-store")
		}
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, staticPool(address), pagesSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	for _, path := range []string{"/page", "/page", "/page", "/account", "/account", "/cookies", "/cookies", "/said"} {
		e.get(path)
	}
	last := e.get("/page", "Cookie", "session=1")
	e.logged(last.Header.Get("X-Request-Id"))
	file := func(name, site string) checkConfig {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(e.caddyfile(staticPool(address), site)), 0o600); err != nil {
			t.Fatal(err)
		}
		return checkConfig{config: path}
	}
	current := file("current", pagesSite)
	pages := strings.Replace(pagesSite, "private /api/* /account", "private /api/*", 1)
	candidate := file("candidate", pages)
	sessions := file("sessions", strings.Replace(pagesSite, "without_cookie session", "", 1))
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	control := int64(0) // calls of the control API, which no cache sees
	for _, record := range e.records() {
		if uri := record["request"].(map[string]any)["uri"].(string); strings.HasPrefix(uri, "/.edge/") {
			control++
		}
	}
	for name, c := range map[string]struct {
		k                        replayConfig
		hits, asked, bytes       int64 // before
		newHits, newAsked, newer int64
		changes                  []string
	}{
		"the same configuration, beside the log":  {replayConfig{candidate: current}, 2, 7, 28, 2, 7, 28, nil},
		"the same configuration, beside itself":   {replayConfig{candidate: current, against: current}, 2, 7, 28, 2, 7, 28, nil},
		"a page that was private, beside the log": {replayConfig{candidate: candidate}, 2, 7, 28, 3, 6, 24, []string{"2 /account bypass: rule > cached"}},
		"a page that was private, beside the old": {replayConfig{candidate: candidate, against: current}, 2, 7, 28, 3, 6, 24, []string{"2 /account bypass: rule > cached"}},
		"sessions get pages, too, beside the old": {replayConfig{candidate: sessions, against: current}, 2, 7, 28, 3, 6, 24, []string{"1 /page bypass: rule > cached"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.k.log = e.accessLog
			r := replayed(t, c.k)
			if r.Requests != 9+control || r.Other != 0 {
				t.Errorf("%d requests, %d other lines: want %d and none", r.Requests, r.Other, 9+control)
			}
			if r.Before.Hits != c.hits || r.Before.Origin != c.asked || r.Before.Bytes != c.bytes {
				t.Errorf("before: %+v: want %d hits, %d requests and %d bytes", r.Before, c.hits, c.asked, c.bytes)
			}
			if r.After.Hits != c.newHits || r.After.Origin != c.newAsked || r.After.Bytes != c.newer {
				t.Errorf("after: %+v: want %d hits, %d requests and %d bytes", r.After, c.newHits, c.newAsked, c.newer)
			}
			var changes []string
			for _, change := range r.Changes {
				_, path, _ := strings.Cut(change.URL, "/")
				changes = append(changes, fmt.Sprintf("%d /%s %s > %s", change.Requests, path, change.Before.Class, change.After.Class))
			}
			if strings.Join(changes, "\n") != strings.Join(c.changes, "\n") {
				t.Errorf("changes %q: want %q", changes, c.changes)
			}
		})
	}
}
