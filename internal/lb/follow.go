package lb

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// minTTL and maxTTL bound how long an answer is believed: below a second a
	// lookup loop would be a load, above an hour a scale-up would not be seen.
	minTTL = time.Second
	maxTTL = time.Hour

	// maxBackoff bounds the pause between lookups that fail: 1s, 2s, 4s …
	maxBackoff = 30 * time.Second

	// vanishedAfter is how many answers in a row must say that a name has no
	// address before its replicas are removed. A container that is recreated
	// takes its name away for a moment.
	vanishedAfter = 3
)

// looked is what a lookup of a name came to.
type looked struct {
	list []announced // empty: the name has no address
	ttl  time.Duration
	kept error // why some of them are those of the lookup before
}

// lookups are those of one name.
type lookups struct {
	what   string // that has no address, in errors
	look   func(context.Context) (looked, error)
	forget func() // what look keeps of before
}

// follow reports what the name has, each answer being believed for its TTL.
//
// A resolver that fails (no answer, SERVFAIL, REFUSED) changes nothing, for
// however long. A resolver that says that the name has no address is believed
// the third time in a row, about seven seconds after the first.
func (n lookups) follow(ctx context.Context, feed Feed) {
	failures, empties := 0, 0
	for {
		now, err := n.look(ctx)
		if ctx.Err() != nil {
			return
		}
		pause := min(max(now.ttl, minTTL), maxTTL)
		switch {
		case err != nil, len(now.list) == 0 && now.kept != nil:
			failures++
			pause = backoff(failures)
			feed.Failed(errors.Join(err, now.kept))
		case len(now.list) == 0:
			failures = 0
			empties++
			pause = backoff(empties)
			if empties < vanishedAfter {
				feed.Failed(fmt.Errorf("%s has no address", n.what))
				break
			}
			n.forget()
			feed.report(nil, nil)
		default:
			empties = 0
			if failures++; now.kept == nil {
				failures = 0
			} else {
				pause = min(pause, backoff(failures))
			}
			feed.report(now.list, now.kept)
		}
		if !wait(ctx, pause) {
			return
		}
	}
}

// backoff doubles from a second.
func backoff(failures int) time.Duration {
	if failures > 5 {
		return maxBackoff
	}
	return min(time.Second<<(failures-1), maxBackoff)
}
