package demo

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCacheStatusIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		field string
		want  outcome
		stale bool
	}{
		"nothing":                              {"", unknown, false},
		"a hit":                                {"edge; hit; ttl=30", hit, false},
		"a hit past its lifetime":              {"edge; hit; ttl=-3", hit, true},
		"a miss":                               {"edge; fwd=uri-miss; stored", miss, false},
		"a stale entry that was asked for":     {"edge; fwd=stale; fwd-status=304; ttl=-3", miss, false},
		"what is never stored":                 {"edge; fwd=bypass", bypassed, false},
		"a method that goes through":           {"edge; fwd=method", bypassed, false},
		"another cache's hit":                  {"origin-cache; hit, edge; fwd=uri-miss", miss, false},
		"ours after another's":                 {`cdn; fwd=uri-miss; detail="edge; fwd=x, y", edge;hit`, hit, false},
		"another cache whose name begins thus": {"edge-2; hit", unknown, false},
		"a quote within a quoted detail":       {`cdn; detail="a \", edge; hit", other; hit`, unknown, false},
		"our name as another's parameter":      {`other; detail=edge; hit`, unknown, false},
		"a time to live that is no number":     {"edge; hit; ttl=soon", hit, false},
	} {
		if got, stale := cacheOutcome(c.field); got != c.want || stale != c.stale {
			t.Errorf("%s: %d, %t: want %d, %t", name, got, stale, c.want, c.stale)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add(`edge; hit; ttl=1, b; detail="x, \" y"`)
	f.Add(`"`)
	f.Add(`\"`)
	f.Fuzz(func(t *testing.T, field string) {
		var parts []string
		for part := range split(field, ',') {
			parts = append(parts, part)
		}
		if got := strings.Join(parts, ","); got != field {
			t.Errorf("%q in parts is %q", field, got)
		}
		if o, stale := cacheOutcome(field); stale && o != hit {
			t.Errorf("%q: stale, and no hit", field)
		}
	})
}

func TestQuantilesAreAtMostFivePercentHigh(t *testing.T) {
	dice := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 10_000 {
		// From 100 µs to 10 s, evenly in the logarithm.
		d := time.Duration(float64(100*time.Microsecond) * math.Pow(1e5, dice.Float64()))
		all = append(all, d)
		h.add(d)
	}
	slices.Sort(all)
	for _, share := range []float64{0.001, 0.5, 0.9, 0.99, 1} {
		exact := all[int(math.Ceil(share*10_000))-1]
		if got := h.quantile(share); got < exact || float64(got) > 1.0501*float64(exact) {
			t.Errorf("quantile %g: %s: want %s to 5 %% more", share, got, exact)
		}
	}
}

func TestQuantilesAtTheEnds(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("of nothing: %s: want 0", got)
	}
	h.add(0)
	if got := h.quantile(0.5); got != fastest {
		t.Errorf("of one instant: %s: want %s, the first bucket", got, fastest)
	}
	h.add(time.Hour)
	if got := h.quantile(1); got < 58*time.Second || got > 62*time.Second {
		t.Errorf("of an hour: %s: want the last bucket, about a minute", got)
	}
}

func TestOnlyWhatBeganAfterThePurgeProvesItWrong(t *testing.T) {
	at := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		purged  bool
		version string
		began   time.Time
		want    int
	}{
		"no purge yet":                      {false, "v1", at.Add(time.Second), 0},
		"an old page asked for before":      {true, "v1", at.Add(-time.Millisecond), 0},
		"an old page at the very moment":    {true, "v1", at, 0},
		"an old page asked for afterwards":  {true, "v1", at.Add(time.Millisecond), 1},
		"the new page asked for afterwards": {true, "v2", at.Add(time.Millisecond), 0},
	} {
		tl := newTally()
		if c.purged {
			tl.acknowledge(at, "v2")
		}
		tl.page(c.version, c.began)
		if got := tl.now(); got.outdated != c.want || got.pages[c.version] != 1 {
			t.Errorf("%s: %d old pages: want %d", name, got.outdated, c.want)
		}
	}
}

func TestCountingIsSafeAndComplete(t *testing.T) {
	tl := newTally()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				tl.answered(time.Millisecond, "edge; hit; ttl=-1")
				tl.answered(time.Millisecond, "edge; fwd=uri-miss")
				tl.answered(time.Millisecond, "edge; fwd=bypass")
				tl.answered(time.Millisecond, "")
				tl.asked()
				tl.page("v1", time.Now())
				tl.event()
				tl.echo()
				tl.fail("failure of %s", "one")
				tl.now()
			}
		})
	}
	group.Wait()
	c := tl.now()
	if c.requests != 4000 || c.hits != 800 || c.misses != 800 || c.bypassed != 800 || c.stale != 800 {
		t.Errorf("requests %d, hits %d, misses %d, bypassed %d, stale %d", c.requests, c.hits, c.misses, c.bypassed, c.stale)
	}
	if c.failures != 800 || len(c.described) != 10 || c.pages["v1"] != 800 || c.events != 800 || c.echoes != 800 || c.latency.total != 3200 {
		t.Errorf("%+v", c)
	}
	if got := c.hitRatio(); got != 0.5 {
		t.Errorf("hit ratio %g: want a half, what was bypassed does not count", got)
	}
	if got := (counts{}).hitRatio(); got != 0 {
		t.Errorf("hit ratio of nothing: %g: want 0", got)
	}
}
