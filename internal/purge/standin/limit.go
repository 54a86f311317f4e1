package standin

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// grant is what a plan's account may do, in Cloudflare's words of 2026-07-29.
// It is written down apart from the client's table, so that each checks the
// other.
type grant struct {
	perSecond float64 // calls by tag, host, prefix, everything
	bucket    int
	urls      int // per second
	fileItems int // of one call
}

var grants = map[string]grant{
	"free":       {perSecond: 5.0 / 60, bucket: 25, urls: 800, fileItems: 100},
	"pro":        {perSecond: 5, bucket: 25, urls: 1500, fileItems: 100},
	"business":   {perSecond: 10, bucket: 50, urls: 1500, fileItems: 100},
	"enterprise": {perSecond: 50, bucket: 500, urls: 3000, fileItems: 500},
}

const (
	// A token has 1200 calls in five minutes, and is then blocked as long.
	callsAllowed = 1200
	callsWindow  = 5 * time.Minute
)

// limiter counts one account's limits. Its user locks.
type limiter struct {
	grant grant
	flex  *rate.Limiter
	files *rate.Limiter

	window  time.Time
	count   int
	blocked time.Time
}

func newLimiter(plan string) (*limiter, error) {
	g, known := grants[plan]
	if !known {
		return nil, fmt.Errorf("stand-in plan %q: want one of %s", plan, strings.Join(slices.Sorted(maps.Keys(grants)), ", "))
	}
	return &limiter{grant: g, flex: rate.NewLimiter(rate.Limit(g.perSecond), g.bucket), files: rate.NewLimiter(rate.Limit(g.urls), g.urls)}, nil
}

// call counts any call, and says how long the token is blocked.
func (l *limiter) call(now time.Time) time.Duration {
	if now.Before(l.blocked) {
		return l.blocked.Sub(now)
	}
	if now.Sub(l.window) >= callsWindow {
		l.window, l.count = now, 0
	}
	if l.count++; l.count > callsAllowed {
		l.blocked = now.Add(callsWindow)
		return callsWindow
	}
	return 0
}

// purge takes the tokens of a purge, or says how long to wait for them; either
// way with the fields that tell the client.
func (l *limiter) purge(now time.Time, kind string, items int) (time.Duration, http.Header) {
	bucket, n := l.flex, 1
	if kind == "files" {
		bucket, n = l.files, items
	}
	perSecond := float64(bucket.Limit())
	var wait time.Duration
	if !bucket.AllowN(now, n) {
		lacking := float64(n) - bucket.TokensAt(now)
		wait = max(time.Millisecond, time.Duration(lacking/perSecond*float64(time.Second)))
	}
	header := http.Header{}
	if wait > 0 {
		header = retryAfter(wait)
	}
	left := max(0, int(bucket.TokensAt(now)))
	refill := int(math.Ceil(float64(bucket.Burst()) / perSecond))
	header.Set("Ratelimit", fmt.Sprintf(`"default";r=%d;t=%d`, left, seconds(time.Duration(float64(time.Second)/perSecond))))
	header.Set("Ratelimit-Policy", fmt.Sprintf(`"default";q=%d;w=%d`, bucket.Burst(), refill))
	return wait, header
}

func retryAfter(d time.Duration) http.Header {
	return http.Header{"Retry-After": {strconv.Itoa(seconds(d))}}
}

// seconds rounds up, as Cloudflare does.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
