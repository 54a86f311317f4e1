package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func at(seconds float64) time.Time { return time.Unix(1000, int64(seconds*1e9)) }

// read is an answer of a version, made at a moment, and asked for from a moment
// to another.
func read(start, end float64, version string, made float64) Read {
	return Read{Start: at(start), End: at(end), URL: "/", Version: version, Made: at(made), Status: 200}
}

func TestPlantedViolationsAreFound(t *testing.T) {
	purge := Purge{Called: at(10), Acknowledged: at(20)}
	deploy := Deploy{Version: "v2", Acknowledged: at(30), Until: at(40)}
	failed := func(excused string) Read {
		return Read{Start: at(1), End: at(2), Status: 502, Excused: excused}
	}
	elsewhere := read(21, 22, "v1", 9)
	elsewhere.URL = "/other"
	for name, c := range map[string]struct {
		history History
		wrong   int
	}{
		"nothing":                                         {History{}, 0},
		"an old answer, asked for after the ack":          {History{Purges: []Purge{purge}, Reads: []Read{read(20.1, 21, "v1", 9)}}, 1},
		"asked for before the ack, read after it":         {History{Purges: []Purge{purge}, Reads: []Read{read(19, 25, "v1", 9)}}, 0},
		"made after the call":                             {History{Purges: []Purge{purge}, Reads: []Read{read(21, 22, "v1", 10.5)}}, 0},
		"not acknowledged: nothing is promised":           {History{Purges: []Purge{{Called: at(10)}}, Reads: []Read{read(21, 22, "v1", 9)}}, 0},
		"of another version":                              {History{Purges: []Purge{{at(10), at(20), []string{"v0"}, nil}}, Reads: []Read{read(21, 22, "v1", 9)}}, 0},
		"of that version":                                 {History{Purges: []Purge{{at(10), at(20), []string{"v0", "v1"}, nil}}, Reads: []Read{read(21, 22, "v1", 9)}}, 1},
		"of another URL":                                  {History{Purges: []Purge{{at(10), at(20), nil, []string{"/"}}}, Reads: []Read{elsewhere, read(21, 22, "v1", 9)}}, 1},
		"the old version after a deploy":                  {History{Deploys: []Deploy{deploy}, Reads: []Read{read(30.1, 31, "v1", 29)}}, 1},
		"the old version though it was made since":        {History{Deploys: []Deploy{deploy}, Reads: []Read{read(35, 36, "v1", 34)}}, 1},
		"the new version after a deploy":                  {History{Deploys: []Deploy{deploy}, Reads: []Read{read(30.1, 31, "v2", 29)}}, 0},
		"asked for before the deploy was done":            {History{Deploys: []Deploy{deploy}, Reads: []Read{read(29, 39, "v1", 28)}}, 0},
		"the next rollout has begun":                      {History{Deploys: []Deploy{deploy}, Reads: []Read{read(39, 41, "v1", 40.5)}}, 0},
		"a deploy that was not acknowledged":              {History{Deploys: []Deploy{{Version: "v2"}}, Reads: []Read{read(39, 41, "v1", 1)}}, 0},
		"the gateway's fault":                             {History{Reads: []Read{failed("")}}, 1},
		"no answer of a gateway that was killed":          {History{Reads: []Read{failed("killed")}}, 0},
		"an excuse excuses no stale answer":               {History{Purges: []Purge{purge}, Reads: []Read{func() Read { r := read(21, 22, "v1", 9); r.Excused = "killed"; return r }()}}, 1},
		"two purges, the second of which is acknowledged": {History{Purges: []Purge{{Called: at(5)}, purge}, Reads: []Read{read(21, 22, "v1", 1), read(21, 22, "v1", 12)}}, 1},
	} {
		if got := c.history.Violations(); len(got) != c.wrong {
			t.Errorf("%s: %v, want %d", name, got, c.wrong)
		}
	}
}

// linearizable tries every order of the operations that agrees with the times:
// a purge sets the floor, below which a read may not be.
func linearizable(h History) bool {
	type operation struct {
		start, end time.Time
		purge      bool
		floor      time.Time // of a purge; of a read, when it was made
	}
	var all []operation
	for _, r := range h.Reads {
		all = append(all, operation{r.Start, r.End, false, r.Made})
	}
	for _, p := range h.Purges {
		end := p.Acknowledged
		if end.IsZero() {
			end = at(1e6) // it may take effect at any time, or later than all
		}
		all = append(all, operation{p.Called, end, true, p.Called})
	}
	var place func(rest []operation, floor time.Time) bool
	place = func(rest []operation, floor time.Time) bool {
		if len(rest) == 0 {
			return true
		}
		for i, next := range rest {
			if slices.ContainsFunc(rest, func(other operation) bool { return other.end.Before(next.start) }) {
				continue // another one has to come first
			}
			after := floor
			if next.purge && next.floor.After(floor) {
				after = next.floor
			}
			if !next.purge && next.floor.Before(floor) {
				continue
			}
			if place(slices.Delete(slices.Clone(rest), i, i+1), after) {
				return true
			}
		}
		return false
	}
	return place(all, time.Time{})
}

// The argument of the package's comment, tried on histories of up to seven
// operations against every order that they could have had.
func TestJudgingPairsIsJudgingOrders(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	outcomes := map[bool]int{}
	for i := range 4000 {
		var h History
		for range 1 + dice.IntN(3) {
			called := dice.Float64() * 10
			p := Purge{Called: at(called), Acknowledged: at(called + dice.Float64()*4)}
			if dice.IntN(4) == 0 {
				p.Acknowledged = time.Time{}
			}
			h.Purges = append(h.Purges, p)
		}
		for range 1 + dice.IntN(4) {
			start := dice.Float64() * 12
			h.Reads = append(h.Reads, read(start, start+dice.Float64()*3, "v1", start-dice.Float64()*6))
		}
		want := linearizable(h)
		outcomes[want]++
		if got := len(h.Violations()) == 0; got != want {
			t.Fatalf("history %d: %v by pairs, %v by orders\n%+v", i, got, want, h)
		}
	}
	if outcomes[true] < 400 || outcomes[false] < 400 {
		t.Errorf("%v: want hundreds of each", outcomes)
	}
}

func TestCopiesThatAreLostAgain(t *testing.T) {
	reads := func(list ...string) (h History) {
		for i, where := range list {
			r := read(float64(i), float64(i)+0.5, "v2", 0)
			r.Where = where
			h.Reads = append(h.Reads, r)
		}
		return h
	}
	hit := func(r Read) (string, bool) { return r.Where[:1], r.Where[1:] == "hit" }
	for name, c := range map[string]struct {
		history History
		want    string
	}{
		"stays":                       {reads("amiss", "ahit", "ahit"), "3 2 0"},
		"is lost":                     {reads("amiss", "ahit", "amiss", "ahit"), "4 2 1"},
		"another place has its own":   {reads("ahit", "bmiss", "bhit"), "3 2 0"},
		"not stored yet":              {reads("amiss", "amiss", "ahit"), "3 1 0"},
		"another version's reads":     {History{Reads: []Read{{Version: "v1", Status: 200, Start: at(1), End: at(2), Where: "ahit"}}}, "0 0 0"},
		"a read at the time of a hit": {History{Reads: []Read{{Version: "v2", Status: 200, Start: at(1), End: at(3), Where: "ahit"}, {Version: "v2", Status: 200, Start: at(2), End: at(4), Where: "amiss"}}}, "2 1 0"},
	} {
		got := c.history.Kept("v2", at(0), at(100), hit)
		if text := fmt.Sprint(got.Reads, got.Hits, len(got.Lost)); text != c.want {
			t.Errorf("%s: %s, want %s", name, text, c.want)
		}
	}
}
