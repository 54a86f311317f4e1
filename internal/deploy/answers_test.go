package deploy

import (
	"strconv"
	"testing"
	"time"
)

func TestAssetsOfOthersSayNothing(t *testing.T) {
	note := func(a *Answers, version, path string, from, visitors int, named, missing, html bool) {
		for i := range visitors {
			a.Note(noon, Answer{Version: version, Path: path, Client: strconv.Itoa(from + i), Asset: true, Named: named, Missing: missing, HTML: html})
		}
	}
	page := func(a *Answers, version string, from, visitors int) {
		for i := range visitors {
			a.Note(noon, Answer{Version: version, Path: "/", Client: strconv.Itoa(from + i)})
		}
	}
	for name, c := range map[string]struct {
		// during is what is asked while v1 and v2 are live.
		during        func(a *Answers)
		missing, html int64
	}{
		"old chunks asked of the new version":    {func(a *Answers) { note(a, "v2", "/assets/a.1.js", 0, 100, true, true, false) }, 0, 0},
		"new chunks asked of the old version":    {func(a *Answers) { note(a, "v1", "/assets/a.2.js", 0, 100, true, true, false) }, 0, 0},
		"its own chunks are missing":             {func(a *Answers) { note(a, "v2", "/assets/a.2.js", 0, 100, true, true, false) }, 100, 0},
		"its own chunks are pages":               {func(a *Answers) { note(a, "v2", "/assets/a.2.js", 0, 100, true, false, true) }, 0, 100},
		"an image that both should have":         {func(a *Answers) { note(a, "v2", "/images/logo.svg", 0, 100, false, true, false) }, 100, 0},
		"one visitor, again and again":           {func(a *Answers) { note(a, "v2", "/assets/b.js", 7, 1, true, true, false) }, 1, 0},
		"visitors who asked for pages only":      {func(a *Answers) { page(a, "v2", 0, 100) }, 0, 0},
		"a version that answers without version": {func(a *Answers) { note(a, "", "/assets/b.js", 7, 9, true, true, false) }, 0, 0},
	} {
		a := new(Answers)
		note(a, "v1", "/assets/a.1.js", 0, 50, true, false, false)
		note(a, "v1", "/images/logo.svg", 0, 50, false, false, false)
		note(a, "v1", "/assets/gone.js", 50, 2, true, true, false)
		a.begin("v1", "v2", noon)
		c.during(a)
		c.during(a)
		if got := a.tally("v1", Traffic{}); got.Visitors != 52 || got.Missing != 2 || got.HTML != 0 {
			t.Errorf("%s: v1 %+v: want what it was before", name, got)
		}
		if got := a.tally("v2", Traffic{}); got.Missing != c.missing || got.HTML != c.html {
			t.Errorf("%s: v2 %+v", name, got)
		}
		a.end("v2")
		if a.comparing.Load() || !a.Wanted(true) || a.tally("v1", Traffic{}).Visitors != 0 {
			t.Errorf("%s: it is not over", name)
		}
	}
}

// Assets that are there are hits, here and at the CDN, and no replica is asked for
// them: of a thousand visitors fifty cause a miss. What is missing, one visitor in
// twenty asks for, comes through each time. That is no difference between two
// versions that are alike, whichever was watched for how long; and a version that
// lacks what its pages name is found.
func TestAssetsThatAreNearlyAlwaysHits(t *testing.T) {
	for name, c := range map[string]struct {
		before, during int // visitors
		lacks          bool
	}{
		"watched for long before":      {5000, 400, false},
		"watched for a moment before":  {60, 3000, false},
		"new pages lack their scripts": {5000, 400, true},
		"the same, after a restart":    {60, 400, true},
	} {
		a, l := new(Answers), looks{}
		visit := func(version string, client, n int) {
			who := strconv.Itoa(client)
			a.Note(noon, Answer{Version: version, Path: "/", Client: who})
			if n < 50 {
				a.Note(noon, Answer{Version: version, Path: "/assets/" + version + strconv.Itoa(n) + ".js", Client: who, Asset: true, Named: true})
			}
			if n%20 == 0 {
				a.Note(noon, Answer{Version: version, Path: "/images/touch.png", Client: who, Asset: true, Missing: true})
			}
			if version == "v2" && c.lacks {
				a.Note(noon, Answer{Version: version, Path: "/assets/app.v2.js", Client: who, Asset: true, Named: true, Missing: true})
			}
		}
		for i := range c.before {
			visit("v1", i, i)
		}
		a.begin("v1", "v2", noon)
		var worse []Difference
		for i := 0; i < c.during && len(worse) == 0; i++ {
			visit("v2", 100_000+i, i)
			worse = l.compare(GuardConfig{}, a.tally("v1", Traffic{}), a.tally("v2", Traffic{}))
		}
		if found := len(worse) == 1 && worse[0].What == comparedMissing; found != c.lacks || !c.lacks && len(worse) > 0 {
			t.Errorf("%s: %v: want it found: %t", name, worse, c.lacks)
		}
	}
}

func TestWhatIsRememberedOfAnswersIsBounded(t *testing.T) {
	a := new(Answers)
	for version := range 5 {
		for i := range 2 * maxAssets {
			a.Note(noon, Answer{Version: strconv.Itoa(version), Path: strconv.Itoa(i), Client: strconv.Itoa(i), Asset: true, Named: true})
		}
	}
	if len(a.owners) != maxAssets || len(a.visitors["4"]) != maxVisitors {
		t.Errorf("%d assets, %d visitors", len(a.owners), len(a.visitors["4"]))
	}
	if a.Wanted(false) {
		t.Error("more visitors are wanted than are remembered")
	}
	// An application that says another version each time.
	for _, compares := range []bool{false, true} {
		a := new(Answers)
		if compares {
			a.Note(noon, Answer{Version: "v1", Path: "/", Client: "c"})
			a.begin("v1", "v2", noon)
		}
		for i := range 1000 {
			a.Note(noon, Answer{Version: strconv.Itoa(i), Path: "/", Client: "c"})
		}
		if len(a.visitors) > maxNoted || compares && len(a.visitors) > 2 {
			t.Errorf("comparing %t: visitors of %d versions", compares, len(a.visitors))
		}
	}
	// Also while nothing is compared.
	a.end("4")
	if len(a.visitors) != 1 || len(a.owners) != maxAssets {
		t.Errorf("%d versions, %d assets: want those of one", len(a.visitors), len(a.owners))
	}
	a.end("5")
	if len(a.visitors) != 0 || len(a.owners) != 0 {
		t.Errorf("%d versions, %d assets: want none", len(a.visitors), len(a.owners))
	}
}

func TestTimesCountOnceWarm(t *testing.T) {
	a := new(Answers)
	a.begin("v1", "v2", noon.Add(time.Minute))
	for i := range 4 {
		for _, version := range []string{"v1", "v2", "v3"} {
			a.Note(noon.Add(time.Duration(i)*30*time.Second), Answer{Version: version, Took: time.Millisecond})
		}
	}
	one, three := a.tally("v1", Traffic{}), a.tally("v3", Traffic{})
	if one.Times.count() != 2 || three.Times.count() != 0 {
		t.Errorf("%d of v1, %d of v3: want 2 and 0", one.Times.count(), three.Times.count())
	}
}
