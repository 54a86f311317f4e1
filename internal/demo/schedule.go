package demo

import (
	"context"
	"time"
)

const (
	defaultDuration = time.Minute
	// minDuration leaves every act time to be seen: four replicas are replaced
	// one by one in it.
	minDuration = 15 * time.Second
)

// schedule says when the acts of the demo are due, from its beginning. An act
// that is late moves the ones after it, and the end.
type schedule struct {
	scaleUp   time.Duration // one replica becomes four
	deploy    time.Duration // v2 replaces v1, then the purge
	scaleDown time.Duration // four replicas become one
	end       time.Duration
	settle    time.Duration // at least this long between the last act and the end
	drain     time.Duration // how long the gateway lets a removed replica finish
}

// plan spreads the acts over the duration: most of the time is for the deploy,
// which has most to do.
func plan(total time.Duration) schedule {
	return schedule{
		scaleUp:   total * 15 / 100,
		deploy:    total * 35 / 100,
		scaleDown: total * 80 / 100,
		end:       total,
		settle:    total * 5 / 100,
		drain:     min(max(total/30, time.Second), 5*time.Second),
	}
}

// wait returns when ctx is done, with its error, or after d.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// await asks again and again until the answer is yes, an error, or ctx is done.
func await(ctx context.Context, every time.Duration, ask func(context.Context) (bool, error)) error {
	for {
		yes, err := ask(ctx)
		if yes || err != nil {
			return err
		}
		if err := wait(ctx, every); err != nil {
			return err
		}
	}
}
