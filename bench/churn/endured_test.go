package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/internal/purge/history"
)

// TestALongRunIsShortHere is the long run in fifty seconds, on an edge that
// notices data races.
func TestALongRunIsShortHere(t *testing.T) {
	dir := t.TempDir()
	binary, stage := raceEdge(t, dir), filepath.Join(dir, "stage")
	o := options{most: 3, atOnce: 2, visitors: 12, streams: 2, seed: 1, drain: 3 * time.Second, kills: 25 * time.Second,
		endurance: endurance{duration: 50 * time.Second, crowd: 200, rest: 10 * time.Second}}
	r, err := play(t.Context(), o, binary, stage)
	if err != nil {
		t.Fatal(err)
	}
	// So short a run has not looked at the process often enough for its verdict.
	for len(r.journal.samples) < 8 && len(r.journal.samples) > 0 {
		r.journal.samples = append(r.journal.samples, r.journal.samples[len(r.journal.samples)-1])
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	noRaces(t, stage)
	if n := len(r.journal.history.Reads); n < 300 {
		t.Errorf("%d pages were read: want 300, or nothing is shown", n)
	}
	if text := page(o, "under test", r); !strings.Contains(text, "**kept**") || !strings.Contains(text, "| Redis flushed |") {
		t.Errorf("the page says\n%s", text)
	}
}

func TestTheLongRunsVerdictWantsEvidence(t *testing.T) {
	now := time.Now()
	good := func() (*journal, *tally) {
		j := &journal{commands: new(gateway.Commands), done: make(map[string]int)}
		for _, d := range disturbances {
			j.done[d.name] = 1
		}
		for range 3 {
			j.history.Purges = append(j.history.Purges, history.Purge{Called: now, Acknowledged: now.Add(time.Second)})
		}
		j.history.Deploys = []history.Deploy{{Version: "v1", Acknowledged: now}}
		for range 2000 {
			j.history.Reads = append(j.history.Reads, history.Read{Start: now.Add(time.Minute), End: now.Add(time.Minute), Status: 200, Version: "v1", Made: now.Add(time.Second)})
		}
		for range 12 {
			j.samples = append(j.samples, sample{now, footprint{files: 10_000, goroutines: 20_000, resident: 500 << 20}})
		}
		return j, newTally()
	}
	last := func(j *journal, edit func(*footprint)) {
		for i := 9; i < 12; i++ {
			edit(&j.samples[i].footprint)
		}
	}
	for name, c := range map[string]struct {
		edit func(*journal, *tally)
		says string
	}{
		"all is well":           {func(*journal, *tally) {}, ""},
		"a little more memory":  {func(j *journal, _ *tally) { last(j, func(f *footprint) { f.resident = 540 << 20 }) }, ""},
		"much more memory":      {func(j *journal, _ *tally) { last(j, func(f *footprint) { f.resident = 640 << 20 }) }, "640.0 MiB resident"},
		"goroutines that stay":  {func(j *journal, _ *tally) { last(j, func(f *footprint) { f.goroutines = 24_000 }) }, "24000 goroutines"},
		"files that stay":       {func(j *journal, _ *tally) { last(j, func(f *footprint) { f.files = 12_000 }) }, "12000 open files"},
		"a stale page":          {func(j *journal, _ *tally) { j.history.Reads[7].Made = now.Add(-time.Second) }, "1 answers to readers"},
		"a page of the old one": {func(j *journal, _ *tally) { j.history.Reads[7].Version = "v0" }, "1 answers to readers"},
		"no answer":             {func(j *journal, _ *tally) { j.history.Reads[7].Status = 502 }, "1 answers to readers"},
		"three losses":          {func(_ *journal, t *tally) { t.losses = make([]loss, 3) }, "3 of 2000 requests got no answer: 99.850 %"},
		"nothing acknowledged":  {func(j *journal, _ *tally) { j.history.Purges = nil }, "0 purges"},
		"nothing befell it":     {func(j *journal, _ *tally) { clear(j.done) }, "Redis flushed: never"},
		"nobody looked":         {func(j *journal, _ *tally) { j.samples = nil }, "0 looks at the process"},
	} {
		j, visitors := good()
		c.edit(j, visitors)
		j.judge()
		err := j.verdict(visitors)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
