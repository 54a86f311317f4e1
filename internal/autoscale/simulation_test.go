package autoscale

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// plant is an application in numbers: a load that comes as it likes, replicas
// that work on at most 100 requests at a time and take a while to start, and
// an autoscaler that starts and ends them as Decide says.
type plant struct {
	Settings
	start time.Duration                   // that a replica takes
	load  func(now time.Duration) float64 // requests at a time that visitors offer
	noise bool                            // Poisson, not even
}

// record is how it went.
type record struct {
	at      []time.Duration // of changes of the wanted number
	wanted  []int           // what it changed to
	queued  time.Duration   // time with more requests than replicas could take
	idle    float64         // replica-hours beyond what the load asked for
	highest int
	lowest  int
}

func (p plant) run(length time.Duration, seed uint64) record {
	dice := rand.New(rand.NewPCG(seed, 9))
	replicas := []time.Duration{-time.Hour} // when each was asked for
	rec := record{lowest: math.MaxInt}
	var past Past
	last := 0
	for now := time.Duration(0); now < length; now += tick {
		offered := p.load(now)
		if p.noise {
			offered = poisson(dice, offered)
		}
		up := 0
		for _, since := range replicas {
			if now-since >= p.start {
				up++
			}
		}
		inflight := min(offered, 100*float64(up))
		var d Decision
		past, d = Decide(p.Settings, past, now, Load{
			InFlight: int64(inflight), Queued: int64(min(offered-inflight, 1000)), Up: up, Running: 0,
		})
		for len(replicas) < d.Desired {
			replicas = append(replicas, now)
		}
		replicas = replicas[:d.Desired]
		if d.Desired != last {
			rec.at, rec.wanted = append(rec.at, now), append(rec.wanted, d.Desired)
			last = d.Desired
		}
		if offered > inflight {
			rec.queued += tick
		}
		rec.idle += max(0, float64(len(replicas))-math.Ceil(offered/p.Target)) * tick.Hours()
		rec.highest, rec.lowest = max(rec.highest, d.Desired), min(rec.lowest, d.Desired)
	}
	return rec
}

// poisson draws the number of requests at a time that a mean stands for, by the
// normal that it is close to.
func poisson(dice *rand.Rand, mean float64) float64 {
	return max(0, math.Round(mean+math.Sqrt(mean)*dice.NormFloat64()))
}

// turns counts how often the direction changed.
func (r record) turns() int {
	n, direction := 0, 0
	for i := 1; i < len(r.wanted); i++ {
		step := 1
		if r.wanted[i] < r.wanted[i-1] {
			step = -1
		}
		if direction != 0 && step != direction {
			n++
		}
		direction = step
	}
	return n
}

// wantedAt is what was wanted at a moment.
func (r record) wantedAt(moment time.Duration) int {
	n := 0
	for i, at := range r.at {
		if at <= moment {
			n = r.wanted[i]
		}
	}
	return n
}

func TestSimulatedLoads(t *testing.T) {
	const starts = 15 * time.Second
	constant := func(n float64) func(time.Duration) float64 { return func(time.Duration) float64 { return n } }
	for name, c := range map[string]struct {
		load   func(time.Duration) float64
		length time.Duration
		check  func(t *testing.T, r record)
	}{
		"a steady load of 300: five, without a turn": {constant(300), time.Hour, func(t *testing.T, r record) {
			if got := r.wantedAt(time.Hour); got != 5 || r.turns() != 0 {
				t.Errorf("%d replicas by %v: want 300/70, rounded up: 5, and no turn", got, r.wanted)
			}
		}},
		"a step from 30 to 500 and back": {func(now time.Duration) float64 {
			if now > 20*time.Minute && now < 60*time.Minute {
				return 500
			}
			return 30
		}, 2 * time.Hour, func(t *testing.T, r record) {
			if got := r.wantedAt(20*time.Minute + 10*time.Second); got != 8 {
				t.Errorf("ten seconds after the step: %d: want 8", got)
			}
			if r.queued > starts+10*time.Second {
				t.Errorf("visitors waited for %s: want the time that a replica takes and ten seconds", r.queued)
			}
			if got := r.wantedAt(64 * time.Minute); got != 8 {
				t.Errorf("four minutes after it: %d: want 8 still", got)
			}
			if got := r.wantedAt(68 * time.Minute); got != 1 {
				t.Errorf("eight minutes after it: %d: want 1", got)
			}
			if r.turns() != 1 {
				t.Errorf("%v turned %d times: want once", r.wanted, r.turns())
			}
		}},
		"a spike of five seconds each ten minutes": {func(now time.Duration) float64 {
			if now%(10*time.Minute) > 10*time.Minute-5*time.Second {
				return 400
			}
			return 30
		}, 2 * time.Hour, func(t *testing.T, r record) {
			// Each costs one way up and one way down, no more.
			if r.turns() > 2*12 || r.lowest < 1 || r.highest > 6 {
				t.Errorf("%v: %d turns, %d to %d", r.wanted, r.turns(), r.lowest, r.highest)
			}
		}},
		"a sawtooth of two minutes is not followed down": {func(now time.Duration) float64 {
			return 500 * float64(now%(2*time.Minute)) / float64(2*time.Minute)
		}, 2 * time.Hour, func(t *testing.T, r record) {
			if r.turns() != 0 || len(r.at) > 10 {
				t.Errorf("%v: want a rise and then nothing", r.wanted)
			}
		}},
		"a sawtooth of an hour is followed, one turn a ramp": {func(now time.Duration) float64 {
			at := float64(now%(2*time.Hour)) / float64(time.Hour)
			if at > 1 {
				at = 2 - at
			}
			return 20 + 600*at
		}, 8 * time.Hour, func(t *testing.T, r record) {
			if r.turns() > 7 || r.highest != 9 || r.wantedAt(2*time.Hour+4*time.Minute) > 2 {
				t.Errorf("%v: %d turns: want 7, up to 9 and back", r.wanted, r.turns())
			}
			// In noise some wait for a moment, whatever the mean.
			if r.queued > 10*time.Second {
				t.Errorf("visitors waited for %s on a slow ramp", r.queued)
			}
		}},
		"a load on the border of two and three": {constant(2 * 70 * 1.05), 3 * time.Hour, func(t *testing.T, r record) {
			if r.turns() > 1 || len(r.at) > 4 {
				t.Errorf("%v: it flaps", r.wanted)
			}
		}},
		"ten times what max can do": {constant(10000), time.Hour, func(t *testing.T, r record) {
			if got := r.wantedAt(time.Hour); got != 10 || r.turns() != 0 {
				t.Errorf("%v: want 10", r.wanted)
			}
		}},
		"nothing at all": {constant(0), time.Hour, func(t *testing.T, r record) {
			if r.lowest != 1 || r.highest != 1 {
				t.Errorf("%v: want 1, never 0", r.wanted)
			}
		}},
	} {
		for _, noise := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				r := plant{settings(), starts, c.load, noise}.run(c.length, 1)
				c.check(t, r)
				t.Logf("noise %t: %v, %d turns, %s queued, %.1f idle replica-hours", noise, r.wanted, r.turns(), r.queued, r.idle)
			})
		}
	}
}
