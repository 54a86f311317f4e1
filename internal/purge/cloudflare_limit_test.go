package purge

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

func TestCloudflareLimits(t *testing.T) {
	cases := map[string]struct {
		plan  string
		items Selectors
		// Four fifths of the plan: free allows 25 calls at once and 5 a minute.
		want time.Duration
	}{
		"free, 20 calls: all at once":                   {"free", Selectors{Tags: numbered("t%d", 2000)}, 0},
		"free, 21 calls: one waits 15 s":                {"free", Selectors{Tags: numbered("t%d", 2001)}, 15 * time.Second},
		"free, 30 calls: ten wait 15 s each":            {"free", Selectors{Tags: numbered("t%d", 3000)}, 150 * time.Second},
		"free, prefixes count as calls too":             {"free", Selectors{Prefixes: numbered("h/%d", 30*22)}, 30 * time.Second},
		"free, 640 URLs: all at once":                   {"free", Selectors{URLs: numbered("https://h/%d", 640)}, 0},
		"free, 1280 URLs: one second":                   {"free", Selectors{URLs: numbered("https://h/%d", 1280)}, time.Second},
		"pro, 24 calls: 20 at once, 4 a second":         {"pro", Selectors{Tags: numbered("t%d", 2400)}, time.Second},
		"business, 48 calls: 40 at once, 8 a second":    {"business", Selectors{Tags: numbered("t%d", 4800)}, time.Second},
		"enterprise, 4800 URLs: 2400 at once, 2400/s":   {"enterprise", Selectors{URLs: numbered("https://h/%d", 4800)}, time.Second},
		"enterprise, 10,000 tags: 100 calls, all there": {"enterprise", Selectors{Tags: numbered("t%d", 10_000)}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, config := newStandIn(t, c.plan, nil)
				target := newTarget(t, s, config)
				start := time.Now()
				got, err := purgeAt(t, target, until(c.items, time.Hour))
				took := time.Since(start)
				if err != nil || took < c.want-10*time.Millisecond || took > c.want+200*time.Millisecond {
					t.Errorf("%+v, %v after %s: want %s", got, err, took, c.want)
				}
				if s.Requests() != got.Attempts || got.Attempts != got.Batches {
					t.Errorf("%d attempts for %d batches: want no attempt refused", got.Attempts, got.Batches)
				}
				if got.RateLimited != took {
					t.Errorf("rate limited %s of %s: want all of it", got.RateLimited, took)
				}
				if plan := target.Plan(Order{Selectors: c.items}, 1); plan.Batches != got.Batches || plan.Items != got.Items ||
					plan.RateLimited < c.want-10*time.Millisecond || plan.RateLimited > c.want+200*time.Millisecond {
					t.Errorf("planned %+v: want what it took, %+v", plan, got)
				}
			})
		})
	}
}

func TestCloudflareRateLimitedPastTheDeadlineFailsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, config := newStandIn(t, "free", nil)
		start := time.Now()
		got, err := purgeAt(t, newTarget(t, s, config), until(Selectors{Tags: numbered("t%d", 2200)}, 20*time.Second))
		// 20 calls at once, the 21st after 15 s, the 22nd would go after 30 s.
		if !kindIs(err, RateLimited) || got.Batches != 21 || time.Since(start).Round(time.Second) != 15*time.Second {
			t.Errorf("%+v, %v after %s: want 21 batches in 15s, then rate limited", got, err, time.Since(start))
		}
	})
}

func TestCloudflareZonesAndReloadsShareTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, config := newStandIn(t, "free", nil)
		config.ZoneIDs = []string{"example.com=" + zoneOne, "example.org=" + zoneTwo}
		start := time.Now()
		if _, err := purgeAt(t, newTarget(t, s, config), until(Selectors{Tags: numbered("t%d", 1000)}, time.Hour)); err != nil {
			t.Fatal(err) // ten calls in each zone: the bucket is empty
		}
		if _, err := purgeAt(t, newTarget(t, s, config), until(Selectors{Everything: true}, time.Hour)); err != nil {
			t.Fatal(err) // a new configuration, two more calls
		}
		if took := time.Since(start).Round(time.Second); took != 30*time.Second {
			t.Errorf("took %s: want 30s, two calls that waited 15s each", took)
		}
	})
}

func TestCloudflareHeedsLimitsUsedUpByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, config := newStandIn(t, "pro", nil)
		target := newTarget(t, s, config)
		others := config
		others.Account = "another client of " + config.APIToken
		other := newTarget(t, s, others)
		if _, err := purgeAt(t, other, until(Selectors{Tags: numbered("t%d", 2000)}, time.Hour)); err != nil {
			t.Fatal(err)
		}
		// Five of 25 tokens are left, and five come each second.
		got, err := purgeAt(t, target, until(Selectors{Tags: numbered("t%d", 1500)}, time.Hour))
		if err != nil || got.Batches != 15 || got.RateLimited == 0 {
			t.Errorf("%+v, %v: want 15 batches after some waiting", got, err)
		}
	})
}

func TestRateLimitField(t *testing.T) {
	cases := map[string]struct {
		text      string
		remaining int
		reset     time.Duration
		ok        bool
	}{
		"as documented":      {`"default";r=50;t=30`, 50, 30 * time.Second, true},
		"used up":            {`"default";r=0;t=7`, 0, 7 * time.Second, true},
		"blanks and order":   {`"x"; t=1 ; r=2`, 2, time.Second, true},
		"no reset":           {`"default";r=0`, 0, 0, false},
		"nonsense":           {`r=a;t=b`, 0, 0, false},
		"negative":           {`r=-1;t=3`, 0, 0, false},
		"no field":           {"", 0, 0, false},
		"larger than it can": {`r=99999999999999999999;t=1`, 0, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			remaining, reset, ok := rateLimitField(http.Header{"Ratelimit": {c.text}})
			if ok != c.ok || (ok && (remaining != c.remaining || reset != c.reset)) {
				t.Errorf("%d, %s, %t", remaining, reset, ok)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		text string
		want time.Duration
	}{
		"seconds":       {"120", 2 * time.Minute},
		"a date":        {"Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second},
		"a past date":   {"Mon, 23 Nov 2026 11:00:00 GMT", 0},
		"nothing":       {"", 0},
		"a fraction":    {"1.5", 0},
		"negative":      {"-5", 0},
		"beyond bounds": {"99999999999", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := retryAfter(http.Header{"Retry-After": {c.text}}, now); got != c.want {
				t.Errorf("%s: want %s", got, c.want)
			}
		})
	}
}

func TestBackoffIsJitteredBelowADoublingBound(t *testing.T) {
	for attempt, bound := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 30000, 30000} {
		bound *= time.Millisecond
		var sum time.Duration
		const n = 2000
		for range n {
			d := backoff(attempt)
			if d <= 0 || d > bound {
				t.Fatalf("attempt %d: %s, want above 0 and at most %s", attempt, d, bound)
			}
			sum += d
		}
		// Full jitter: the mean is half the bound; 5 % is eight standard errors.
		if mean := sum / n; mean < bound*45/100 || mean > bound*55/100 {
			t.Errorf("attempt %d: mean %s, want about %s", attempt, mean, bound/2)
		}
	}
	if d := backoff(1 << 30); d > backoffCap {
		t.Errorf("a late attempt waits %s", d)
	}
}

func TestTheStandInGrantsWhatThePlansSay(t *testing.T) {
	for plan := range plans {
		synctest.Test(t, func(t *testing.T) {
			s, config := newStandIn(t, plan, func(o *standin.Options) { o.Token += plan })
			// Twice the bucket, at four fifths of the rate.
			items := Selectors{Tags: numbered("t%d", 200*plans[plan].flexBucket)}
			got, err := purgeAt(t, newTarget(t, s, config), until(items, 24*time.Hour))
			if err != nil || got.Attempts != got.Batches {
				t.Errorf("%s: %+v, %v: want no attempt refused", plan, got, err)
			}
		})
	}
}
