package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/purge/standin"
	"github.com/edgegw/edge/internal/purge/standin/cdn"
)

// warmed is a purge's record, as far as it is about warming.
type warmed struct {
	ID, Follows, Node string
	Warmed            []struct {
		Via               string
		Hit, Miss, Failed int
	}
}

// A rollout that one node notices first is purged by it. What CI wants warmed is
// known to the node that CI waits at, and is warmed all the same: there, through
// the CDN, and at the other nodes, with no call more.
func TestADeployIsWarmedThoughAnotherNodePurgesForIt(t *testing.T) {
	t.Parallel()
	first := sample(t, "v1")
	var c *cdn.CDN
	var files []string
	f := startFleet(t, "", func(call standin.Call) { c.Purge(call) }, func(g *gateway) {
		file := filepath.Join(t.TempDir(), "replicas")
		list(t, file, first)
		files = append(files, file)
		text := read(t, g.config)
		from := strings.Index(text, "discover static ")
		text = text[:from] + "discover file " + file + text[from+strings.Index(text[from:], "\n"):]
		if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	// Visitors come to the node at which CI waits.
	waits, notices, other := f.nodes[0], f.nodes[1], f.nodes[2]
	c, err := cdn.New(cdn.Options{Origins: []string{waits.url}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	visitors := httptest.NewServer(c.Site(0))
	t.Cleanup(visitors.Close)
	page := visitors.URL + "/contacts"

	called := make(chan ran, 1)
	go func() {
		called <- waits.edge("deploy", "--version", "v2", "--json", "--warm", page, "--timeout", "3m", "--wait", "5m")
	}()
	versions := func(g *gateway) (current string, deploys []deployed) {
		var s seen
		_ = json.Unmarshal([]byte(g.control(http.MethodGet, "status", "").text), &s) // no answer, nothing seen
		return s.Deploys.Pools["app"].Current, s.Deploys.Last
	}
	waits.eventually("the call is taken", func() bool {
		_, last := versions(waits)
		return len(last) > 0
	})
	second := sample(t, "v2")
	for _, file := range files[1:] {
		list(t, file, second)
	}
	var purge string
	notices.eventually("the others have noticed, and purge", func() bool {
		_, last := versions(notices)
		if len(last) > 0 {
			purge = last[0].Purge
		}
		return purge != ""
	})
	notices.done(purge)
	if current, _ := versions(waits); current != "v1" {
		t.Fatalf("the node at which CI waits has %s: want that it has seen nothing", current)
	}
	list(t, files[0], second)

	r := <-called
	var report struct {
		deployed
		Purged warmed
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || report.State != "done" {
		t.Fatalf("exit %d, %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
	}
	if report.Purged.Follows != purge || len(report.Purged.Warmed) != 2 {
		t.Fatalf("want an order that follows %s and warms here and at the CDN\n%s", purge, r.stdout)
	}
	for _, w := range report.Purged.Warmed {
		if w.Hit+w.Miss != 1 || w.Failed != 0 {
			t.Errorf("%+v: want the page", w)
		}
	}
	if n := f.told("v-v1"); n != 2 {
		t.Errorf("Cloudflare was told %d times: want twice", n)
	}
	got, err := http.Get(page)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if got.Header.Get("Cf-Cache-Status") != "HIT" || got.Header.Get("X-App-Version") != "v2" {
		t.Errorf("a visitor of the CDN gets %v", got.Header)
	}
	for _, g := range []*gateway{waits, other} {
		g.eventually("the page is warm", func() bool { // nobody asks for it
			var e struct {
				Cache struct{ Entry *struct{ Version string } }
			}
			_ = json.Unmarshal([]byte(g.control(http.MethodGet, "explain?url="+url.QueryEscape(page), "").text), &e) // no answer, no entry
			return e.Cache.Entry != nil && e.Cache.Entry.Version == "v2"
		})
	}
}

// A first deploy has nothing to purge, and what CI wants warmed is warmed all the same.
func TestAFirstDeployIsWarmed(t *testing.T) {
	t.Parallel()
	g := configure(t, sample(t, "v1").address)
	g.start()
	page := g.url + "/contacts"
	for _, want := range []string{"fetched", "the same order"} { // and again
		r := g.edge("deploy", "--version", "v1", "--json", "--warm", page, "--timeout", "3m", "--wait", "5m", "--idempotency-key", "first")
		var report struct {
			deployed
			Purged warmed
		}
		if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || report.State != "done" {
			t.Fatalf("exit %d, %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
		}
		fetched := 0
		for _, w := range report.Purged.Warmed {
			if fetched += w.Hit + w.Miss; w.Failed > 0 {
				t.Errorf("%s: %+v", want, w)
			}
		}
		if fetched != 1 || report.Purged.Follows != report.ID {
			t.Errorf("%s: want an order that follows %s and fetches the page\n%s", want, report.ID, r.stdout)
		}
	}
	if _, status := g.page("/contacts"); !strings.Contains(status, "; hit") {
		t.Errorf("%q: want that the page is there", status)
	}
}
