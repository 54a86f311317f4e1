package purge

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
)

// limits are what Cloudflare grants an account on a plan: its documentation of
// purge availability and limits, as of 2026-07-29.
type limits struct {
	flexRate   float64 // calls per second with tags, hosts, prefixes, everything
	flexBucket int     // such calls at once
	urlRate    int     // URLs per second
	fileItems  int     // URLs per call
}

var plans = map[string]limits{
	"free":       {5.0 / 60, 25, 800, 100},
	"pro":        {5, 25, 1500, 100},
	"business":   {10, 50, 1500, 100},
	"enterprise": {50, 500, 3000, 500},
}

func planNames() string { return strings.Join(slices.Sorted(maps.Keys(plans)), ", ") }

const (
	// spend is the share of the limits that we use: the rest is for people at
	// the dashboard and for other tools of the account.
	spend = 0.8
	// Cloudflare allows a token 1200 calls in five minutes. With spend that is
	// 960 = 240 at once + 300 s · 2.4/s.
	callBurst = 240
	callRate  = 2.4
	// maxHold is how long Cloudflare blocks a token that called too often.
	maxHold = 5 * time.Minute

	breakerFailures = 5
	breakerOpen     = 30 * time.Second
	breakerPoll     = 5 * time.Second // how often a waiting call asks an open breaker
)

// bucket is a token bucket that can also be held shut.
type bucket struct {
	limiter *rate.Limiter

	mu   sync.Mutex
	held time.Time
}

func newBucket(perSecond float64, burst int) *bucket {
	return &bucket{limiter: rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// hold shuts the bucket for d, if that is longer than it is shut already.
func (b *bucket) hold(now time.Time, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until := now.Add(min(d, maxHold)); until.After(b.held) {
		b.held = until
	}
}

// reserve takes n tokens and says how long to wait before using them. It takes
// none when that would be past the deadline.
func (b *bucket) reserve(now time.Time, n int, deadline time.Time) (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.limiter.ReserveN(now, n)
	if !r.OK() {
		return 0, false
	}
	wait := max(r.DelayFrom(now), b.held.Sub(now), 0)
	if now.Add(wait).After(deadline) {
		r.CancelAt(now)
		return wait, false
	}
	return wait, true
}

// account is what zones and configurations with the same token share, so that
// neither a second zone nor a reload doubles the rate.
type account struct {
	limits  limits
	calls   *bucket
	flex    *bucket
	urls    *bucket
	breaker *gobreaker.CircuitBreaker[answer]
}

var (
	accountsMu sync.Mutex
	accounts   = make(map[[sha256.Size]byte]*account)
)

// accountFor gives the process's one account for a configuration. The map
// grows by one entry for each token that the process has ever been given.
func accountFor(c CloudflareConfig) *account {
	name := c.Account
	if name == "" {
		name = c.APIToken
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", c.APIURL, c.Plan, name))
	accountsMu.Lock()
	defer accountsMu.Unlock()
	if accounts[key] == nil {
		accounts[key] = newAccount(plans[c.Plan])
	}
	return accounts[key]
}

func newAccount(l limits) *account {
	return &account{
		limits: l,
		calls:  newBucket(callRate, callBurst),
		flex:   newBucket(l.flexRate*spend, int(float64(l.flexBucket)*spend)),
		urls:   newBucket(float64(l.urlRate)*spend, int(float64(l.urlRate)*spend)),
		breaker: gobreaker.NewCircuitBreaker[answer](gobreaker.Settings{
			Timeout:     breakerOpen,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			// Limits and refusals say that the API is well; ending a run says
			// nothing at all.
			IsSuccessful: func(err error) bool { return kindOfError(err) != Unreachable },
			IsExcluded:   func(err error) bool { return err != nil && kindOfError(err) == "" },
		}),
	}
}

// bucketFor is the one that a batch draws on besides calls, and how deep.
func (a *account) bucketFor(b batch) (*bucket, int) {
	if b.kind == batchFiles {
		return a.urls, len(b.items)
	}
	return a.flex, 1
}

// reserve is how long the batch has to wait for its turn. When that is past the
// deadline, nothing is taken.
func (a *account) reserve(now time.Time, b batch, deadline time.Time) (time.Duration, bool) {
	own, n := a.bucketFor(b)
	wait, ok := own.reserve(now, n, deadline)
	if !ok {
		return wait, false
	}
	calls, ok := a.calls.reserve(now, 1, deadline)
	return max(wait, calls), ok
}

// heed learns from an answer when the API wants no more calls.
func (a *account) heed(now time.Time, b batch, ans answer, failed *TargetError) {
	own, _ := a.bucketFor(b)
	if remaining, reset, ok := rateLimitField(ans.header); ok && remaining == 0 {
		own.hold(now, reset)
	}
	if failed == nil || failed.Kind != RateLimited {
		return
	}
	pause := retryAfter(ans.header, now)
	if failed.Code == codeRateLimit {
		own.hold(now, pause)
		return
	}
	a.calls.hold(now, pause)
}

// rateLimitField reads Ratelimit: "default";r=50;t=30, that is, 50 calls left
// in the next 30 s.
func rateLimitField(h http.Header) (remaining int, reset time.Duration, ok bool) {
	seen := 0
	for part := range strings.SplitSeq(h.Get("Ratelimit"), ";") {
		name, text, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.ParseUint(text, 10, 31)
		switch {
		case err != nil:
		case name == "r":
			remaining = int(n)
			seen |= 1
		case name == "t":
			reset = time.Duration(n) * time.Second
			seen |= 2
		}
	}
	return remaining, reset, seen == 3
}

// pause waits for a turn and gives the time spent.
func pause(ctx context.Context, d time.Duration) (time.Duration, error) {
	if d <= 0 {
		return 0, nil
	}
	start := time.Now()
	err := sleep(ctx, d)
	return time.Since(start), err
}
