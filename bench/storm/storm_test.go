package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/bench/peers"
)

// What a storm came to is counted, and edge is held to what it must do.
func TestAStormIsJudged(t *testing.T) {
	stored, private := kinds[0], kinds[1]
	got := func(numbers ...string) (all []answer) {
		for i, n := range numbers {
			a := answer{number: n, took: time.Duration(i+1) * time.Millisecond}
			if n == "" {
				a.err = errors.New("no answer")
			}
			all = append(all, a)
		}
		return all
	}
	for name, c := range map[string]struct {
		kind           kind
		answers        []answer
		fetches        int
		shared, failed int
		wrong          string
	}{
		"one fetch for all":              {stored, got("1", "1", "1"), 1, 0, 0, ""},
		"a fetch for each, needlessly":   {stored, got("1", "2", "3"), 3, 0, 0, "asked 3 times"},
		"an answer each":                 {private, got("1", "2", "3"), 3, 0, 0, ""},
		"two have the same":              {private, got("1", "2", "1"), 2, 2, 0, "2 of 3 got another's answer"},
		"one has none":                   {private, got("1", "", "3"), 3, 0, 1, "1 of 3 failed: no answer"},
		"one has none of what is stored": {stored, got("1", "", "1"), 1, 0, 1, "1 of 3 failed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := storm{kind: c.kind}
			s.add(c.answers, c.fetches)
			if s.shared != c.shared || s.failed != c.failed || s.fetches != c.fetches || len(s.longest) != 1 {
				t.Errorf("%+v: want %d shared, %d failed", s, c.shared, c.failed)
			}
			err := edgeFailed([]row{{name: "nginx cache", storms: []storm{s}}})
			if err != nil {
				t.Errorf("a peer is held to it: %v", err)
			}
			switch err := edgeFailed([]row{{name: "edge cache", storms: []storm{s}}}); {
			case (err != nil) != (c.wrong != ""), err != nil && !strings.Contains(err.Error(), c.wrong):
				t.Errorf("%v: want %q", err, c.wrong)
			}
		})
	}
}

// A round trip is what one's own page takes; two of them are allowed, and an answer is due.
func TestNobodyMayWaitForThree(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		once, shared time.Duration
		failed       int
		within       bool
	}{
		"at once":                     {200 * ms, 210 * ms, 0, true},
		"two to the dot":              {200 * ms, 400 * ms, 0, true},
		"a millisecond more":          {200 * ms, 401 * ms, 0, false},
		"quick, but one has none":     {200 * ms, 210 * ms, 1, false},
		"nobody has any, of anything": {0, 0, 60, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r row
			for _, k := range kinds {
				longest := c.shared
				if k.apart {
					longest = c.once
				}
				// The longest of several times counts.
				r.storms = append(r.storms, storm{kind: k, longest: []time.Duration{longest / 2, longest, 0}})
			}
			r.storms[1].failed = c.failed
			w := r.waits()
			if w != (waits{c.once, c.shared, c.failed}) || w.withinTwo() != c.within {
				t.Errorf("%+v, within two: %v; want %v", w, w.withinTwo(), c.within)
			}
		})
	}
}

// Each has a page of their own in one kind of storm, and all have one in the others.
func TestWhoAsksForWhat(t *testing.T) {
	for _, k := range kinds {
		seen := make(map[string]bool)
		for round := range 2 {
			for _, page := range k.pages(round, 12, time.Second) {
				if seen[page] || !strings.HasPrefix(page, k.path) || !strings.HasSuffix(page, "?takes=1s") {
					t.Errorf("%s: %s: want a new page that takes a second", k.title, page)
				}
				seen[page] = true
			}
		}
		want := 2
		if k.apart {
			want = 24
		}
		if len(seen) != want {
			t.Errorf("%s: %d pages in two storms: want %d", k.title, len(seen), want)
		}
	}
}

// A small storm, over a real edge.
func TestEdgeWeathersASmallStorm(t *testing.T) {
	t.Chdir("..") // as go run ./storm
	file := filepath.Join(t.TempDir(), "STORM.md")
	o := options{out: file, clients: 60, rounds: 2, starts: 1, takes: 50 * time.Millisecond, only: "edge"}
	if err := run(t.Context(), o); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| edge cache | 2 | 2 | 0 | 0 |", "| edge hits | 4 | 240 | 0 | 0 |", "| edge hits | 2 | 120 | 0 | 0 |", "## Who waits", "## Start", "| edge cache | "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page lacks %q:\n%s", want, text)
		}
	}
}

// Edge's own limit would be all that a storm shows.
func TestEdgesLimitIsLifted(t *testing.T) {
	for _, peer := range peers.All() {
		for _, way := range peer.Ways {
			if text := way.Configure(peers.Setup{}).Text; takesPart(peer, way) && (unlimited(text) != text) != (peer.Name == "edge") {
				t.Errorf("%s %s: want the limit of edge lifted, and nothing else changed:\n%s", peer.Name, way.Name, unlimited(text))
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := options{clients: 1000, rounds: 3, starts: 11, takes: time.Second}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for _, change := range []func(*options){
		func(o *options) { o.clients = 1 }, func(o *options) { o.clients = 5001 }, func(o *options) { o.rounds = 0 },
		func(o *options) { o.starts = 0 }, func(o *options) { o.takes = 0 },
	} {
		o := good
		change(&o)
		if o.check() == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
