package demo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestActsAreSpreadOverTheDuration(t *testing.T) {
	for total, want := range map[time.Duration]schedule{
		time.Minute: {
			scaleUp: 9 * time.Second, deploy: 21 * time.Second, scaleDown: 48 * time.Second,
			end: time.Minute, settle: 3 * time.Second, drain: 2 * time.Second,
		},
		minDuration: {
			scaleUp: 2250 * time.Millisecond, deploy: 5250 * time.Millisecond, scaleDown: 12 * time.Second,
			end: 15 * time.Second, settle: 750 * time.Millisecond, drain: time.Second,
		},
	} {
		if got := plan(total); got != want {
			t.Errorf("%s: %+v: want %+v", total, got, want)
		}
	}
	if got := plan(time.Hour).drain; got != 5*time.Second {
		t.Errorf("an hour's drain is %s: want 5s at most", got)
	}
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := wait(t.Context(), 3*time.Second); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("waited %s, %v: want 3s", time.Since(began), err)
		}
		if err := wait(t.Context(), -time.Second); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("what is overdue waited, or failed: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: want the context's error", err)
		}
		if err := wait(ctx, 0); err == nil {
			t.Error("a done context and nothing to wait for: want the context's error")
		}
	})
}

func TestAwaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		third := func(context.Context) (bool, error) { asked++; return asked == 3, nil }
		if err := await(t.Context(), time.Second, third); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %s: want the third answer, after two waits", err, time.Since(began))
		}
		broken := errors.New("broken")
		if err := await(t.Context(), time.Second, func(context.Context) (bool, error) { return false, broken }); err != broken {
			t.Errorf("%v: want the asker's error at once", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		never := func(context.Context) (bool, error) { return false, nil }
		if err := await(ctx, time.Second, never); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: want the deadline", err)
		}
	})
}
