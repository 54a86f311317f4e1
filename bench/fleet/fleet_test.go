package main

import (
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/history"
)

func TestExcusesAreForTheTimeOfAnAbsence(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	n := &node{name: "edge-1", absences: []absence{{at(10), at(20), "was killed"}, {from: at(40), why: "was stopped"}}}
	for from, want := range map[int]string{5: "", 8: "edge-1 was killed", 15: "edge-1 was killed", 21: "", 50: "edge-1 was stopped"} {
		if got := n.excuse(at(from), at(from+4)); got != want {
			t.Errorf("from %d: %q, want %q", from, got, want)
		}
	}
}

func TestTheVerdictWantsEvidence(t *testing.T) {
	now := time.Now()
	good := func() result {
		r := result{exits: map[string]map[int]int{"purge": {0: 4}}, deploys: []cost{{"v2", 2, 0}, {"v1", 4, 1}}}
		for range nodes + 1 {
			r.history.Purges = append(r.history.Purges, history.Purge{Called: now, Acknowledged: now.Add(time.Second)})
		}
		r.history.Deploys = []history.Deploy{{Version: "v2", Acknowledged: now}}
		for i := range 310 {
			where := []string{"a, HIT, lower-0, edge", "b, , , edge; hit", "b, , , edge; fwd=miss"}[i%3]
			if i >= 300 {
				where = "b, , , edge; hit; ttl=9; detail=shared"
			}
			r.history.Reads = append(r.history.Reads, history.Read{Start: now.Add(time.Minute), End: now.Add(time.Minute), Status: 200, Version: "v2", Made: now.Add(time.Second), Where: where})
		}
		return r
	}
	for name, c := range map[string]struct {
		edit func(*result)
		says string
	}{
		"all is well":          {func(*result) {}, ""},
		"a stale answer":       {func(r *result) { r.history.Reads[7].Made = now.Add(-time.Second) }, "1 answers that should not have been"},
		"the old version":      {func(r *result) { r.history.Reads[7].Version = "v1" }, "1 answers that should not have been"},
		"a failure":            {func(r *result) { r.history.Reads[7].Status = 502 }, "1 answers that should not have been"},
		"a lie":                {func(r *result) { r.lies = []string{"exit 0"} }, "not true"},
		"nothing acknowledged": {func(r *result) { r.history.Purges = nil }, "0 purges"},
		"a call too many":      {func(r *result) { r.deploys[0].calls = 3 }, "the deploy of v2 took 3 calls"},
		"two, in trouble":      {func(r *result) { r.deploys[1].calls = 5 }, "the deploy of v1 took 5 calls"},
		"no hits":              {func(r *result) { r.history.Reads = r.history.Reads[:0] }, "0 answers came from the lower tier"},
	} {
		r := good()
		c.edit(&r)
		r.count()
		err := r.verdict()
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if text := page(options{}, "under test", r); strings.Contains(text, "**kept**") != (c.says == "") {
			t.Errorf("%s: the page says\n%s", name, text)
		}
	}
}
