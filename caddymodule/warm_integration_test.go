package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// warmRecord is the part of a purge's record that is about warming.
type warmRecord struct {
	ID, State string
	Exit      int
	Steps     []struct{ Name, Detail string }
	Warmed    []struct {
		Via               string
		Hit, Miss, Failed int
	}
}

// warmed orders a purge, and gives its record when it is final.
func (e *edge) warmed(body string) warmRecord {
	e.t.Helper()
	var r warmRecord
	if code := e.control(http.MethodPost, "purge", json.RawMessage(body), &r); code != http.StatusAccepted {
		e.t.Fatalf("purge: %d", code)
	}
	within(e.t, time.Minute, "the purge is final", func() bool {
		return e.control(http.MethodGet, "purge/"+r.ID+"?wait=30s", nil, &r) == http.StatusOK && r.State != "running" && r.State != "accepted"
	})
	return r
}

func TestAfterAPurgePagesAreFetchedAgain(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	origin := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == warmAgent {
			mu.Lock()
			asked = append(asked, r.URL.RequestURI())
			mu.Unlock()
		}
		if r.URL.Path == "/cut" {
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 100_000)) // the gateway reads on, and then it is cut
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "a page")
	})
	e := newEdge(t)
	if err := e.load(staticPool(origin), pagesSite); err != nil {
		t.Fatal(err)
	}
	for page, visits := range map[string]int{"/hottest": 5, "/hot": 3, "/warm?a=1": 2} {
		for range visits {
			e.get(page)
		}
	}
	r := e.warmed(`{"tags":["pages"],"soft":true}`)
	if r.State != "done" || r.Exit != 0 || len(r.Warmed) != 1 || r.Warmed[0].Via != "hottest" || r.Warmed[0].Miss != 3 {
		t.Errorf("%+v: want three fetched of the hottest", r)
	}
	if last := r.Steps[len(r.Steps)-1]; last.Name != "warm" || last.Detail != "hottest: 0 hit, 3 miss, 0 failed" {
		t.Errorf("the last step: %+v", last)
	}
	mu.Lock()
	if got := strings.Join(asked, " "); len(asked) != 3 || !strings.Contains(got, "/hottest") || !strings.Contains(got, "/warm?a=1") {
		t.Errorf("asked for %s", got)
	}
	mu.Unlock()
	for _, page := range []string{"/hottest", "/hot", "/warm?a=1"} {
		if status := e.get(page).cacheStatus(); !strings.Contains(status, "; hit") {
			t.Errorf("%s, asked for by a visitor: %s", page, status)
		}
	}

	for _, c := range []struct {
		what, list        string
		hit, miss, failed int
	}{
		{"two pages, one of which was purged", `["SITE/new","SITE/hot"]`, 0, 2, 0},
		{"one that is there", `["SITE/new"]`, 1, 0, 0},
		// The last one: a replica of which requests fail is spared.
		{"no site of ours, and an answer that is cut", `["http://elsewhere.invalid:1/","SITE/cut"]`, 0, 0, 2},
	} {
		r := e.warmed(strings.ReplaceAll(`{"urls":["SITE/hot"],"warm":`+c.list+`}`, "SITE", e.URL))
		if w := r.Warmed; r.State != "done" || len(w) != 1 || w[0].Via != "node" || w[0].Hit != c.hit || w[0].Miss != c.miss || w[0].Failed != c.failed {
			t.Errorf("%s: %+v", c.what, r)
		}
	}
	if status := e.get("/new").cacheStatus(); !strings.Contains(status, "; hit") {
		t.Errorf("/new, asked for by a visitor: %s", status)
	}
}
