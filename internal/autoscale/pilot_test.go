package autoscale

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestNextMoves(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	named := Standing{Desired: 3, Told: 3, Running: 3, Lowers: LowersNamed, Pause: 10 * time.Second, Last: now.Add(-time.Minute)}
	with := func(change func(*Standing)) Standing {
		s := named
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		s    Standing
		want Move
	}{
		"all as it should be":                             {named, Rest},
		"nothing is known of what should be":              {with(func(s *Standing) { s.Desired = 0 }), Rest},
		"more are wanted":                                 {with(func(s *Standing) { s.Desired = 5 }), Send},
		"more are wanted, too soon after the last order":  {with(func(s *Standing) { s.Desired, s.Last = 5, now.Add(-9*time.Second) }), Rest},
		"more are wanted, and the last try failed":        {with(func(s *Standing) { s.Desired, s.NotYet = 5, now.Add(time.Second) }), Rest},
		"fewer are wanted: drained first":                 {with(func(s *Standing) { s.Desired = 1 }), Drain},
		"fewer are wanted, one of two is being drained":   {with(func(s *Standing) { s.Desired, s.Victims = 1, 1 }), Drain},
		"fewer are wanted, two are being drained":         {with(func(s *Standing) { s.Desired, s.Victims = 1, 2 }), Rest},
		"fewer are wanted, two are drained":               {with(func(s *Standing) { s.Desired, s.Victims, s.Drained = 1, 2, true }), Send},
		"wanted again while they drain":                   {with(func(s *Standing) { s.Desired, s.Victims = 2, 2 }), Release},
		"more than before wanted while they drain":        {with(func(s *Standing) { s.Desired, s.Victims, s.Drained = 5, 2, true }), Release},
		"a victim is taken back whatever failed":          {with(func(s *Standing) { s.Victims, s.NotYet = 1, now.Add(time.Hour) }), Release},
		"fewer are wanted, somebody vouches":              {with(func(s *Standing) { s.Desired, s.Lowers = 1, LowersBlindly }), Send},
		"fewer are wanted, nobody vouches":                {with(func(s *Standing) { s.Desired, s.Lowers = 1, LowersNever }), Stay},
		"a start, no replica is seen yet":                 {with(func(s *Standing) { s.Told, s.Running = 0, 0 }), Rest},
		"a start, more run than are wanted":               {with(func(s *Standing) { s.Told, s.Running = 0, 7 }), Accept},
		"a start, fewer run than are wanted":              {with(func(s *Standing) { s.Told, s.Running = 0, 2 }), Send},
		"one is missing for a while":                      {with(func(s *Standing) { s.Running, s.Differs = 2, time.Minute }), Rest},
		"one is missing for long: asked for again":        {with(func(s *Standing) { s.Running, s.Differs = 2, 5*time.Minute }), Send},
		"a deploy has both versions for a while":          {with(func(s *Standing) { s.Running, s.Differs = 6, time.Minute }), Rest},
		"fewer are wanted in the middle of a deploy":      {with(func(s *Standing) { s.Desired, s.Running, s.Differs = 1, 6, time.Minute }), Rest},
		"fewer are wanted, and one crashed since":         {with(func(s *Standing) { s.Desired, s.Running, s.Differs = 1, 2, time.Minute }), Rest},
		"fewer are wanted, one is missing for long":       {with(func(s *Standing) { s.Desired, s.Running, s.Differs = 1, 2, 5*time.Minute }), Accept},
		"one crashes while two drain: that goes on":       {with(func(s *Standing) { s.Desired, s.Running, s.Victims, s.Drained, s.Differs = 1, 0, 2, true, time.Second }), Send},
		"somebody has started more: found, to be drained": {with(func(s *Standing) { s.Running, s.Differs = 6, 5*time.Minute }), Accept},
		"local: at once, though nothing runs":             {Standing{Desired: 1, Lowers: LowersItself}, Send},
		"local: fewer":                                    {Standing{Desired: 1, Told: 4, Running: 4, Lowers: LowersItself}, Send},
		"local: done":                                     {Standing{Desired: 4, Told: 4, Running: 1, Lowers: LowersItself, Differs: time.Hour}, Rest},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Next(c.s, now); got != c.want {
				t.Errorf("%+v: move %d: want %d", c.s, got, c.want)
			}
		})
	}
}

// Whatever the standing, fewer are asked for only when as many have been drained
// as are to end, or the driver answers for them.
func TestFewerAreNeverAskedForUndrained(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 7))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for range 200_000 {
		s := Standing{
			Desired: dice.IntN(6), Told: dice.IntN(6), Running: dice.IntN(8), Differs: time.Duration(dice.IntN(10)) * time.Minute,
			Lowers: Lowering(dice.IntN(4)), Pause: time.Duration(dice.IntN(20)) * time.Second,
			Last: now.Add(-time.Duration(dice.IntN(30)) * time.Second), Victims: dice.IntN(4), Drained: dice.IntN(2) == 0,
		}
		if Next(s, now) != Send {
			continue
		}
		fewer := s.Desired < s.Told || (s.Told == 0 && s.Desired < s.Running && s.Lowers != LowersItself)
		if fewer && (s.Lowers == LowersNever || s.Lowers == LowersNamed && (!s.Drained || s.Victims != s.Told-s.Desired)) {
			t.Fatalf("%+v: asks for fewer", s)
		}
	}
}

func TestBackoffOfDrivers(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1e9: time.Minute} {
		if got := Backoff(failures); got != want {
			t.Errorf("after %d failures: %s: want %s", failures, got, want)
		}
	}
}
