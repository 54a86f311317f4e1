package deploy

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Values of R 4.3: fisher.test(matrix(c(newBad, newAll-newBad, oldBad,
// oldAll-oldBad), 2), alternative = "greater"), by hand: sums of hypergeometric
// terms with exact binomials.
func TestFisher(t *testing.T) {
	for name, c := range map[string]struct {
		oldBad, oldAll, newBad, newAll int64
		want                           float64
	}{
		// Fisher's tea: 3 of 4 right, 1 of 4 wrong: (16 + 1) / 70.
		"the lady tasting tea": {1, 4, 3, 4, 17.0 / 70},
		"all of four":          {0, 4, 4, 4, 1.0 / 70},
		"none bad":             {0, 10, 0, 10, 1},
		// C(20,20) C(20,0) / C(40,20).
		"all of twenty":      {0, 20, 20, 20, 1 / 137846528820.0},
		"the same on either": {5, 10, 5, 10, 0.6718591006516704},
	} {
		if got := fisher(c.oldBad, c.oldAll, c.newBad, c.newAll); math.Abs(got-c.want) > 1e-9*math.Max(1e-3, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if p := fisher(1000, 1_000_000, 10_000, 1_000_000); p > 1e-100 {
		t.Errorf("of a million: %v", p)
	}
}

func TestMannWhitney(t *testing.T) {
	var old, fresh Times
	for i := range 10 {
		old[i] += 10
		fresh[i] += 10
	}
	if p := mannWhitney(old, fresh); math.Abs(p-0.5) > 1e-12 {
		t.Errorf("the same: %v, want a half", p)
	}
	// 1, 2, 3 against 4, 5, 6, no ties: U = 9 of 9, mean 4.5, variance
	// 9/12*7 = 5.25, z = 1.964, p = 0.02477.
	old, fresh = Times{}, Times{}
	for i := range 3 {
		old[i]++
		fresh[i+3]++
	}
	if p := mannWhitney(old, fresh); math.Abs(p-0.02477) > 1e-4 {
		t.Errorf("%v, want 0.02477", p)
	}
	if p := mannWhitney(fresh, old); math.Abs(p-0.97523) > 1e-4 {
		t.Errorf("faster: %v, want 0.97523", p)
	}
}

func TestBuckets(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, 37 * time.Millisecond, time.Second, time.Minute} {
		var times Times
		times[bucketOf(d)]++
		if got := times.median(); math.Abs(got/d.Seconds()-1) > 0.05 {
			t.Errorf("%v: median %v", d, got)
		}
	}
	if bucketOf(0) != 0 || bucketOf(time.Hour) != len(Times{})-1 {
		t.Error("what is too short or too long has a place, too")
	}
}

// world is what a simulated application answers.
type world struct {
	errors    float64
	median    time.Duration
	badAssets float64
}

// deployment plays one: both versions are asked by chance, the share of the new
// one grows, and after every hundred requests the guard looks. It gives what is
// found, and after how many requests.
func deployment(r *rand.Rand, old, fresh world, requests int) ([]Difference, int) {
	var l looks
	var was, is Tally
	ask := func(w world, t *Tally) {
		t.Requests++
		if r.Float64() < w.errors {
			t.Failures++
		}
		// Times with a long tail, and none alike.
		t.Times[bucketOf(time.Duration(float64(w.median)*math.Exp(r.NormFloat64())))]++
		if r.IntN(10) == 0 {
			t.Visitors++
			if r.Float64() < w.badAssets {
				t.Missing++
			}
		}
	}
	for range requests / 4 {
		ask(old, &was)
	}
	for i := range requests {
		if r.IntN(requests) < i {
			ask(fresh, &is)
		} else {
			ask(old, &was)
		}
		if i%100 == 99 {
			if worse := l.compare(GuardConfig{}, was, is); len(worse) > 0 {
				return worse, i + 1
			}
		}
	}
	return nil, requests
}

// A thousand deploys of the very same thing, at several rates of errors, with
// hundreds of looks each: less than one in a hundred may raise an alarm.
func TestTheSameVersionRaisesNoAlarm(t *testing.T) {
	for _, w := range []world{
		{errors: 0, median: 20 * time.Millisecond},
		{errors: 0.01, median: 20 * time.Millisecond, badAssets: 0.02},
		{errors: 0.2, median: 300 * time.Millisecond, badAssets: 0.3},
	} {
		r := rand.New(rand.NewPCG(1, uint64(w.median)))
		alarms := 0
		for range 1000 {
			if worse, _ := deployment(r, w, w, 10_000); len(worse) > 0 {
				alarms++
			}
		}
		if t.Logf("%+v: %d of 1000", w, alarms); alarms >= 10 {
			t.Errorf("%+v: %d false alarms in 1000: want fewer than 10", w, alarms)
		}
	}
}

func TestWhatIsWorseIsFound(t *testing.T) {
	base := world{errors: 0.005, median: 20 * time.Millisecond, badAssets: 0.01}
	for name, c := range map[string]struct {
		fresh  world
		what   string
		within int // requests of a deploy of 10 000
	}{
		"all fails":              {world{1, 20 * time.Millisecond, 0.01}, comparedErrors, 1500},
		"a tenth fails":          {world{0.1, 20 * time.Millisecond, 0.01}, comparedErrors, 6000},
		"five times slower":      {world{0.005, 100 * time.Millisecond, 0.01}, comparedLatency, 4000},
		"the assets are missing": {world{0.005, 20 * time.Millisecond, 1}, comparedMissing, 6000},
	} {
		r := rand.New(rand.NewPCG(7, 7))
		found, last := 0, 0
		for range 200 {
			worse, after := deployment(r, base, c.fresh, 10_000)
			if len(worse) > 0 && worse[0].What == c.what && after <= c.within {
				found++
			}
			last = max(last, after)
		}
		if t.Logf("%s: found in %d of 200, within %d requests", name, found, last); found < 195 {
			t.Errorf("%s: found in %d of 200 deploys within %d requests: want 195", name, found, c.within)
		}
	}
	// What is a little worse, or better, is let through.
	for name, fresh := range map[string]world{
		"a little slower": {0.005, 24 * time.Millisecond, 0.01}, "one in a hundred fails": {0.01, 20 * time.Millisecond, 0.01},
		"better in all": {0, 5 * time.Millisecond, 0},
	} {
		r := rand.New(rand.NewPCG(9, 9))
		for range 100 {
			if worse, _ := deployment(r, base, fresh, 10_000); len(worse) > 0 {
				t.Errorf("%s: %v", name, worse)
			}
		}
	}
}

func TestGuardSettingsNameEveryMistake(t *testing.T) {
	err := GuardConfig{Errors: 2, Assets: -1, Latency: 1.1, Warmup: -1}.Validate()
	for _, word := range []string{"errors 2", "assets -1", "latency 1.1", "warmup -1ns"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v: want %q in it", err, word)
		}
	}
	if err := (GuardConfig{}).Validate(); err != nil {
		t.Error(err)
	}
}

// bad plays a rollout from v1 to v2 in which a third of v2's requests fail, and
// gives the last findings. Both are still live.
func (s *stage) bad(config GuardConfig) Findings {
	one := Replica{ID: "1", Name: "app/1", Version: "v1", State: "up"}
	two := Replica{ID: "2", Name: "app/2", Version: "v2", State: "up"}
	s.sight(config, one)
	var found Findings
	for i := range 10 {
		found = s.sight(config, one, two)
		one.Requests += 100
		two.Requests += 60
		two.Failures += 20
		if i == 0 {
			two.Requests, two.Failures = 0, 0
		}
	}
	return found
}

func (s *stage) sight(config GuardConfig, replicas ...Replica) Findings {
	s.now = s.now.Add(time.Second)
	return s.book.Look(s.now, Sight{Pool: "app", Replicas: replicas, Guard: config})
}

var onlyTwo = Replica{ID: "2", Name: "app/2", Version: "v2", State: "up", Requests: 10_000, Failures: 3000}

func TestAWorseVersionIsHeld(t *testing.T) {
	s := newStage(t)
	if found := s.bad(GuardConfig{FallBack: true}); found.Avoid != "v2" {
		t.Errorf("%+v: want visitors kept from v2", found)
	}
	held := s.book.List("app", -1)
	if len(held) != 1 || held[0].Stage != Held || held[0].Exit != 7 || held[0].Guard[0].What != comparedErrors || s.book.Held("app") != "v2" {
		t.Fatalf("%+v", held)
	}
	// The last old replica goes: the old pages stay, and nobody is kept away.
	if found := s.sight(GuardConfig{FallBack: true}, onlyTwo); len(found.Orders) != 0 || found.Avoid != "" || s.tracker.Current() != "v1" {
		t.Errorf("%+v, current %s", found, s.tracker.Current())
	}
	// A restart forgets nothing of it.
	s.open()
	if found := s.sight(GuardConfig{}, onlyTwo); len(found.Orders) != 0 || s.book.Held("app") != "v2" {
		t.Errorf("after a restart: %+v", found)
	}
	if r := s.call("v2"); r.Stage != Refused || r.Exit != 7 || !strings.Contains(r.Error, "v2 is worse than v1, nothing purged: errors: ") {
		t.Errorf("called: %+v", r)
	}
	r, err := s.book.Call(s.now, Call{Pool: "app", Version: "v2", Timeout: time.Minute, Actor: "ci", DespiteGuard: true})
	if err != nil || r.ID != held[0].ID || r.Stage != Rolling || !r.DespiteGuard {
		t.Fatalf("%+v, %v", r, err)
	}
	s.carry(s.sight(GuardConfig{}, onlyTwo))
	if r := s.get(r.ID); r.Stage != Done || strings.Join(r.Retired, " ") != "v1" || s.tracker.Current() != "v2" {
		t.Errorf("despite the guard: %+v, current %s", r, s.tracker.Current())
	}
}

func TestWhoeverWaitsForAWorseVersionIsRefused(t *testing.T) {
	s := newStage(t)
	s.see("v1")
	r := s.call("v2")
	s.bad(GuardConfig{})
	if got := s.get(r.ID); got.Stage != Refused || got.Exit != 7 || len(got.Guard) != 1 || s.book.Held("app") != "v2" {
		t.Errorf("%+v, held %q", got, s.book.Held("app"))
	}
	// Turned back.
	s.see("v1")
	if got := s.book.Held("app"); got != "" || s.book.List("app", 1)[0].Stage != Dropped {
		t.Errorf("held %q, %+v", got, s.book.List("app", 1))
	}
	// Mended, in a third version.
	s.bad(GuardConfig{})
	s.carry(s.see("v3"))
	if s.tracker.Current() != "v3" || s.book.Held("app") != "" {
		t.Errorf("current %s, held %q: want v3", s.tracker.Current(), s.book.Held("app"))
	}
}

func TestWhatTheGuardDoesNotHold(t *testing.T) {
	for name, c := range map[string]struct {
		config  GuardConfig
		despite bool
	}{
		"switched off":          {GuardConfig{Off: true}, false},
		"a large share allowed": {GuardConfig{Errors: 0.5}, false},
		"called for despite it": {GuardConfig{}, true},
	} {
		s := newStage(t)
		s.see("v1")
		if c.despite {
			if _, err := s.book.Call(s.now, Call{Pool: "app", Version: "v2", Timeout: time.Hour, Actor: "ci", DespiteGuard: true}); err != nil {
				t.Fatal(err)
			}
		}
		s.bad(c.config)
		s.carry(s.sight(c.config, onlyTwo))
		if s.book.Held("app") != "" || s.tracker.Current() != "v2" {
			t.Errorf("%s: held %q, current %s", name, s.book.Held("app"), s.tracker.Current())
		}
	}
}
