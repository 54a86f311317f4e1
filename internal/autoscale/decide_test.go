package autoscale

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// settings are the defaults of a pool whose replicas work on 100 requests at a
// time, as an operator would get them: a target of 70.
func settings() Settings { return Config{}.Settings(100) }

const tick = 250 * time.Millisecond

// line is a scaler that is fed a steady load.
type line struct {
	s    Settings
	past Past
	now  time.Duration
	last Decision
}

// feed measures a load for a while. The moments go on from the last call.
func (l *line) feed(load Load, length time.Duration) Decision {
	for end := l.now + length; l.now < end; l.now += tick {
		l.past, l.last = Decide(l.s, l.past, l.now, load)
	}
	return l.last
}

func busy(n int64, replicas int) Load { return Load{InFlight: n, Up: replicas, Running: replicas} }

func TestDefaultsAreThoseThatTheyCite(t *testing.T) {
	want := Settings{Min: 1, Max: 10, Target: 70, Window: time.Minute, Down: 5 * time.Minute, Tolerance: 0.1}
	if got := settings(); got != want {
		t.Errorf("%+v: want %+v", got, want)
	}
	if got := (Config{Min: 20}).Settings(100); got.Max != 20 {
		t.Errorf("min 20 alone gives max %d: want 20", got.Max)
	}
}

func TestASteadyLoadGetsWhatItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		load int64
		want int
		why  Why
	}{
		"nothing: one, never none":                   {0, 1, Steady},
		"exactly the target of one: one":             {70, 1, Steady},
		"a tenth above the target of one: tolerated": {77, 1, Steady},
		"more than a tenth above it: two":            {78, 2, Steady},
		"three and a half targets: four":             {245, 4, Steady},
		"exactly ten targets: ten":                   {700, 10, Steady},
		"a hundred targets: max":                     {7000, 10, AtMax},
	} {
		t.Run(name, func(t *testing.T) {
			l := &line{s: settings()}
			l.feed(Load{InFlight: 60, Up: 10}, time.Minute)
			d := l.feed(Load{InFlight: c.load, Up: 10}, 3*time.Minute)
			if d.Desired != c.want || d.Why != c.why {
				t.Errorf("%d requests at a time: %d replicas, %s: want %d, %s", c.load, d.Desired, d.Why, c.want, c.why)
			}
		})
	}
}

func TestWhoWaitsCounts(t *testing.T) {
	l := &line{s: settings()}
	if d := l.feed(Load{InFlight: 100, Queued: 75, Up: 1, Running: 1}, 2*time.Minute); d.Desired != 3 {
		t.Errorf("100 at the replica and 75 waiting: %d replicas: want 175/70, rounded up: 3", d.Desired)
	}
}

func TestWithoutATargetNothingIsReckoned(t *testing.T) {
	d := (&line{s: Config{}.Settings(-1)}).feed(busy(50, 1), time.Minute)
	if d.Desired != 0 || d.Why != NoTarget || d.Concurrency != 50 {
		t.Errorf("%+v: want 0 replicas, no-target, and the 50 that were measured", d)
	}
}

func TestFewerWaitsForAsLongAsDownSays(t *testing.T) {
	l := &line{s: settings()}
	l.feed(busy(280, 4), 10*time.Minute)
	// The average is below three targets after a while, and four were wanted
	// until then.
	if d := l.feed(busy(70, 4), 5*time.Minute); d.Desired != 4 || d.Why != Cooling {
		t.Errorf("five minutes later: %d, %s: want 4, cooling", d.Desired, d.Why)
	}
	if d := l.feed(busy(70, 4), 70*time.Second); d.Desired != 1 || d.Why != Steady {
		t.Errorf("a window later: %d, %s: want 1, steady", d.Desired, d.Why)
	}
}

func TestMoreWaitsForAsLongAsUpSays(t *testing.T) {
	c := Config{Up: units(2 * time.Minute)}
	l := &line{s: c.Settings(100)}
	l.feed(busy(60, 1), 10*time.Minute)
	if d := l.feed(busy(100, 1), 2*time.Minute); d.Desired != 1 || d.Why != Waiting {
		t.Errorf("two minutes at 100: %d, %s: want 1, waiting", d.Desired, d.Why)
	}
	if d := l.feed(busy(100, 1), time.Minute); d.Desired != 2 {
		t.Errorf("a window later: %d: want 2", d.Desired)
	}
}

func TestABurstDoesNotWait(t *testing.T) {
	l := &line{s: Config{Up: units(10 * time.Minute)}.Settings(100)}
	l.feed(busy(60, 1), 10*time.Minute)
	d := l.feed(busy(500, 1), 7*time.Second)
	if d.Desired != 8 || d.Why != Burst || !d.Bursting {
		t.Errorf("seven seconds at 500: %+v: want 500/70, rounded up: 8, for the burst", d)
	}
	// The burst is over at once; nothing is lowered for a window, then for as
	// long as down says.
	if d = l.feed(busy(60, 8), time.Minute); d.Desired != 8 {
		t.Errorf("a minute after the burst: %d: want 8 still", d.Desired)
	}
	if d = l.feed(busy(60, 8), 8*time.Minute); d.Desired != 1 {
		t.Errorf("nine minutes after the burst: %d: want 1", d.Desired)
	}
}

func TestABurstIsMoreThanReplicasTake(t *testing.T) {
	// 1.5 times the target of the two that are up is 210.
	for load, want := range map[int64]bool{209: false, 210: true} {
		l := &line{s: settings()}
		l.feed(busy(100, 2), 10*time.Minute)
		if d := l.feed(busy(load, 2), 7*time.Second); d.Bursting != want {
			t.Errorf("%d requests at a time on two replicas: burst is %t: want %t", load, d.Bursting, want)
		}
	}
}

func TestNothingIsLoweredBlindly(t *testing.T) {
	for name, load := range map[string]Load{
		"no replica is up":         {Running: 5},
		"none is even there":       {},
		"the pool doubts its view": {Up: 1, Running: 5, Doubted: true},
	} {
		l := &line{s: settings()}
		l.feed(busy(300, 5), 10*time.Minute)
		if d := l.feed(load, time.Hour); d.Desired != 5 || d.Why != Blind {
			t.Errorf("%s, for an hour: %d, %s: want 5, blind", name, d.Desired, d.Why)
		}
		if d := l.feed(busy(10, 5), 7*time.Minute); d.Desired != 1 {
			t.Errorf("%s, and then it sees again: %d: want 1", name, d.Desired)
		}
	}
}

func TestAGatewayThatStartsLowersNothingAtOnce(t *testing.T) {
	l := &line{s: settings()}
	l.feed(Load{}, time.Second) // discovery has not reported yet
	if d := l.feed(busy(10, 6), 5*time.Minute); d.Desired != 6 {
		t.Errorf("five minutes after the start: %d: want the 6 that were running", d.Desired)
	}
	if d := l.feed(busy(10, 6), 2*time.Minute); d.Desired != 1 {
		t.Errorf("after as long as down says: %d: want 1", d.Desired)
	}
}

// Replicas may be found late: after a window in which nothing ran, five that
// run are what was wanted before all the same.
func TestReplicasThatAreSeenLateAreNotLoweredAtOnce(t *testing.T) {
	l := &line{s: settings()}
	if d := l.feed(Load{}, 2*time.Minute); d.Desired != 1 {
		t.Fatalf("%+v with nothing running: want 1", d)
	}
	if d := l.feed(busy(1, 5), tick); d.Desired != 5 || d.Why != Warming {
		t.Errorf("%+v when five are seen: want 5, warming", d)
	}
	if d := l.feed(busy(1, 5), l.s.Window+l.s.Down-time.Minute); d.Desired != 5 {
		t.Errorf("%+v after all but a minute of the windows: want 5 still", d)
	}
	if d := l.feed(busy(1, 5), 2*time.Minute); d.Desired != 1 || d.Why != Steady {
		t.Errorf("%+v after both windows: want 1", d)
	}
}

func TestBoundsHoldAtOnceWhenTheyChange(t *testing.T) {
	l := &line{s: settings()}
	l.feed(busy(300, 5), 10*time.Minute)
	l.s.Max = 2
	if d := l.feed(busy(300, 5), tick); d.Desired != 2 || d.Why != AtMax {
		t.Errorf("max 2: %d, %s", d.Desired, d.Why)
	}
	l.s.Min, l.s.Max = 7, 10
	if d := l.feed(busy(300, 2), tick); d.Desired != 7 || d.Why != AtMin {
		t.Errorf("min 7: %d, %s", d.Desired, d.Why)
	}
}

// tape is a random history of what a pool measured.
func tape(dice *rand.Rand, n int) []Load {
	loads := make([]Load, n)
	level := int64(0)
	for i := range loads {
		if dice.IntN(20) == 0 {
			level = dice.Int64N(1500)
		}
		up := dice.IntN(12)
		loads[i] = Load{
			InFlight: max(0, level+dice.Int64N(50)-25), Queued: dice.Int64N(5),
			Up: up, Running: up + dice.IntN(3), Doubted: dice.IntN(50) == 0,
		}
	}
	return loads
}

// holds checks what must be true of any decision that follows another.
func holds(t testing.TB, s Settings, before, after Decision, l Load) {
	t.Helper()
	if after.Desired < s.Min || after.Desired > s.Max {
		t.Fatalf("%d replicas: want %d to %d; %+v", after.Desired, s.Min, s.Max, after)
	}
	if after.Desired < before.Desired && (l.Up == 0 || l.Doubted) {
		t.Fatalf("lowered from %d to %d blindly: %+v", before.Desired, after.Desired, l)
	}
	if after.Desired < before.Desired && after.Bursting {
		t.Fatalf("lowered from %d to %d in a burst", before.Desired, after.Desired)
	}
	if !(after.Concurrency >= 0) || !(after.Burst >= 0) || !(after.Utilisation >= 0) || after.Why == "" {
		t.Fatalf("%+v", after)
	}
}

func TestRandomHistories(t *testing.T) {
	for seed := range uint64(200) {
		dice := rand.New(rand.NewPCG(seed, 1))
		s := Config{
			Min: 1 + dice.IntN(3), Max: 3 + dice.IntN(20), Window: units(time.Duration(1+dice.IntN(120)) * time.Second),
			Up: units(time.Duration(dice.IntN(60)) * time.Second), Down: units(time.Duration(1+dice.IntN(300)) * time.Second),
		}.Settings(1 + dice.IntN(200))
		var p Past
		var before Decision
		var now time.Duration
		recent := []wanted{} // what was decided, to look back on
		for _, load := range tape(dice, 400) {
			now += time.Duration(dice.IntN(2000)) * time.Millisecond
			was := clone(p)
			next, d := Decide(s, p, now, load)
			again, d2 := Decide(s, p, now, load)
			if !reflect.DeepEqual(p, was) || d != d2 || !reflect.DeepEqual(next, again) {
				t.Fatalf("seed %d: a decision is not a function of its values", seed)
			}
			holds(t, s, before, d, load)
			// Nothing is lowered within down of having been raised.
			for _, r := range recent {
				if now-r.at <= s.Down && d.Desired < before.Desired && r.n > before.Desired {
					t.Fatalf("seed %d: lowered to %d within down of %d", seed, d.Desired, r.n)
				}
			}
			if d.Desired > before.Desired {
				recent = append(recent, wanted{now, d.Desired})
			}
			p, before = next, d
		}
	}
}

func clone(p Past) Past {
	p.steps, p.highs, p.lows = slices.Clone(p.steps), slices.Clone(p.highs), slices.Clone(p.lows)
	return p
}

// Any steady load is met with one number, and that does not change again.
func TestASteadyLoadSettles(t *testing.T) {
	for load := int64(0); load <= 900; load += 13 {
		for _, from := range []int64{0, 900} {
			l := &line{s: settings()}
			l.feed(busy(from, 10), 7*time.Minute)
			l.feed(busy(load, 10), 15*time.Minute)
			first := l.last.Desired
			want := float64(load) / 70
			if float64(first)*1.1 < min(want, 10) || float64(first) > want*1.12+1 {
				t.Errorf("%d requests at a time, coming from %d: %d replicas: want about %.1f", load, from, first, want)
			}
			for range 40 {
				if d := l.feed(busy(load, 10), 10*time.Second); d.Desired != first {
					t.Fatalf("%d requests at a time: %d, then %d", load, first, d.Desired)
				}
			}
		}
	}
}

func FuzzDecide(f *testing.F) {
	f.Add([]byte{1, 50, 1, 1, 0, 9, 200, 3, 2, 1}, byte(70), byte(10), byte(30))
	f.Add([]byte{0, 0, 0, 0, 0}, byte(0), byte(1), byte(0))
	f.Add([]byte("0000700010"), byte(249), byte(66), byte(0)) // a burst from the first moment on, over more than it asks for
	f.Fuzz(func(t *testing.T, history []byte, target, most, window byte) {
		s := Config{
			Max: int(most)%50 + 1, Target: int(target), Window: units(time.Duration(1+int(window)) * time.Second),
			Down: units(time.Duration(1+int(window)*3) * time.Second), Up: units(time.Duration(window) * time.Second / 4),
		}.Settings(-1)
		var p Past
		var before Decision
		var now time.Duration
		for ; len(history) >= 5; history = history[5:] {
			now += time.Duration(history[0]) * 100 * time.Millisecond
			load := Load{
				InFlight: int64(history[1]) * 9, Queued: int64(history[2]),
				Up: int(history[3] % 16), Running: int(history[3]%16) + int(history[4]%4), Doubted: history[4] > 250,
			}
			var d Decision
			p, d = Decide(s, p, now, load)
			if target == 0 {
				if d.Desired != 0 || d.Why != NoTarget {
					t.Fatalf("%+v without a target", d)
				}
				continue
			}
			holds(t, s, before, d, load)
			before = d
		}
	})
}
