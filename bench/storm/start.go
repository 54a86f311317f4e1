package main

import (
	"context"
	"fmt"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// started is how long a start took: to the first answer, and to the first that came
// from the cache.
type started struct{ answer, hit time.Duration }

// startUp asks a contestant whose start began at a moment, until there is a hit.
func startUp(ctx context.Context, began time.Time, base string, behind *origin, path string) (s started, err error) {
	visitor := newCrowd(base, 1)
	defer visitor.leave()
	for until := began.Add(time.Minute); time.Now().Before(until); {
		before := behind.fetches(path)
		a := visitor.ask(ctx, 0, path)
		switch {
		case a.err == nil && s.answer == 0:
			s.answer = time.Since(began)
		case a.err == nil && behind.fetches(path) == before:
			s.hit = time.Since(began)
			return s, nil
		}
		if a.err != nil && !gateway.Pause(ctx, time.Millisecond) {
			return started{}, ctx.Err()
		}
	}
	return started{}, fmt.Errorf("no hit in a minute; the first answer after %s", s.answer)
}
