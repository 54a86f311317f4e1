package health

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNobodyWaitsForAThingThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		var asked atomic.Int64
		heeds := Check{Name: "slow", Severity: Degraded, Every: time.Second, Patience: 2 * time.Second, Ask: func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}}
		heedless := Check{Name: "stuck", Severity: Critical, Every: time.Second, Patience: 2 * time.Second, Ask: func(context.Context) (string, error) {
			asked.Add(1)
			<-stuck
			return "back", nil
		}}
		var h History
		w := Start(&h, nil, heeds, heedless)
		began := time.Now()
		for _, s := range w.States() {
			if !s.OK || s.Detail != "not asked yet" {
				t.Errorf("at the start: %+v", s)
			}
		}
		if time.Since(began) != 0 {
			t.Error("asking for states took time")
		}
		time.Sleep(time.Minute)
		for _, s := range w.States() {
			if s.OK || s.Latency < 2*time.Second || s.Since != began.Add(2*time.Second) {
				t.Errorf("after a minute: %+v: want it down since its patience ended", s)
			}
		}
		if asked.Load() != 1 {
			t.Errorf("what is stuck was asked %d times: want once", asked.Load())
		}
		close(stuck)
		time.Sleep(2 * time.Second)
		if s := w.States()[1]; !s.OK || s.Detail != "back" || time.Since(s.Since) > 2*time.Second {
			t.Errorf("once it answers: %+v", s)
		}
		w.Close()
	})
}

func TestAStateTellsLatencyAndLastChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		var h History
		w := Start(&h, nil, Check{Name: "x", Severity: Notice, Every: 10 * time.Second, Patience: time.Second, First: 5 * time.Second, Ask: func(context.Context) (string, error) {
			time.Sleep(30 * time.Millisecond)
			if fail.Load() {
				return "", errors.New("gone")
			}
			return "well", nil
		}})
		began := time.Now()
		time.Sleep(4 * time.Second)
		if s := w.States()[0]; !s.Checked.IsZero() {
			t.Errorf("before the first question: %+v", s)
		}
		time.Sleep(26 * time.Second) // asked at 5, 15.03 and 25.06
		up := began.Add(5*time.Second + 30*time.Millisecond)
		if s := w.States()[0]; !s.OK || s.Detail != "well" || s.Latency != 30*time.Millisecond || !s.Since.Equal(up) || s.Severity != Notice {
			t.Errorf("up: %+v", s)
		}
		fail.Store(true)
		time.Sleep(10 * time.Second)
		if s := w.States()[0]; s.OK || s.Detail != "gone" || !s.Since.Equal(s.Checked) {
			t.Errorf("down: %+v", s)
		}
		w.Close()
		// The next configuration's watch goes on with the same history.
		again := Start(&h, nil, Check{Name: "x", Every: time.Second, Patience: time.Second, Ask: func(context.Context) (string, error) { return "", errors.New("gone") }})
		time.Sleep(30 * time.Second)
		if s := again.States()[0]; time.Since(s.Since) < 30*time.Second {
			t.Errorf("a new watch has forgotten since when: %+v", s)
		}
		again.Close()
	})
}

func TestAClockIsJudged(t *testing.T) {
	var c Clock
	wall := time.Unix(1_700_000_000, 0)
	look := func(after, jump, skew time.Duration, synchronised bool) string {
		wall = wall.Add(after + jump)
		mono := c.mono + after
		_, err := c.Look(wall, mono, skew, synchronised)
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for i, step := range []struct {
		after, jump, skew time.Duration
		synchronised      bool
		want              string
	}{
		{0, 0, 0, true, ""},
		{10 * time.Second, 5 * time.Millisecond, 0, true, ""}, // slewed
		{10 * time.Second, -time.Hour, 0, true, "jumped by -1h0m0s, 0s ago"},
		{10 * time.Second, 0, 0, true, "jumped by -1h0m0s, 10s ago"},
		{recent, 0, 0, true, ""},
		{10 * time.Second, 0, -3 * time.Second, true, "-3s off"},
		{10 * time.Second, 0, time.Second, false, "want NTP"},
	} {
		if got := look(step.after, step.jump, step.skew, step.synchronised); step.want == "" && got != "" || !strings.Contains(got, step.want) {
			t.Errorf("step %d: got %q: want %q", i, got, step.want)
		}
	}
}

func TestWhoWantsToKnowIsToldOfEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fail atomic.Bool
		var h History
		told := make(chan State, 10)
		w := Start(&h, func(s State) { told <- s }, Check{Name: "x", Severity: Degraded, Every: time.Second, Patience: time.Second, Ask: func(context.Context) (string, error) {
			if fail.Load() {
				return "", errors.New("gone")
			}
			return "well", nil
		}})
		for _, down := range []bool{false, true, false} {
			fail.Store(down)
			time.Sleep(10 * time.Second)
		}
		w.Close()
		close(told)
		var changes []string
		for s := range told {
			changes = append(changes, s.Name+" "+s.Detail)
		}
		if got := strings.Join(changes, ", "); got != "x gone, x well" {
			t.Errorf("told of %q: want of the fall and the return, once each", got)
		}
	})
}
