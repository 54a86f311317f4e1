package purge

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffCap  = 30 * time.Second

	// ownDoublings bounds the pause between two attempts at a step of this node or
	// of its fleet to two seconds: no quota is spent there, and whoever waits for
	// Redis to come back shall not wait as long again.
	ownDoublings = 2
)

// backoff is the pause after an attempt, counted from 0: full jitter below a
// bound that doubles, so that those who failed together do not return together.
func backoff(attempt int) time.Duration {
	bound := backoffCap
	if attempt < 6 { // 0.5 s · 2⁶ exceeds the cap
		bound = backoffBase << attempt
	}
	return rand.N(bound) + 1
}

// retryAfter reads the field of that name: RFC 9110, 10.2.3, seconds or a date.
// An unreadable or past one is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
