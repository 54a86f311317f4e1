package purge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// stove is a Warmer that takes a time.
type stove struct {
	*world

	takes time.Duration
}

func (s stove) Warm(ctx context.Context, o Order) []Warmed {
	s.did("warm %v, %d hottest", o.Warm, o.Hottest)
	select {
	case <-time.After(s.takes):
		return []Warmed{{Via: "node", Miss: len(o.Warm)}}
	case <-ctx.Done():
		return []Warmed{{Via: "node", Skipped: len(o.Warm), Note: context.Cause(ctx).Error()}}
	}
}

func TestWarmingIsTheLastStep(t *testing.T) {
	urls := []string{"https://example.com/", "https://example.com/a"}
	for name, c := range map[string]struct {
		edit   func(*Order)
		takes  time.Duration
		did    string
		detail string
	}{
		"a list":              {func(o *Order) { o.Warm = urls }, time.Second, "warm [https://example.com/ https://example.com/a], 0 hottest", "node: 0 hit, 2 miss, 0 failed"},
		"a soft purge":        {func(o *Order) { o.Soft = true }, time.Second, "warm [], 100 hottest", "node: 0 hit, 0 miss, 0 failed"},
		"longer than allowed": {func(o *Order) { o.Warm = urls }, time.Hour, "warm [https://example.com/ https://example.com/a], 0 hottest", "node: 0 hit, 0 miss, 0 failed, 2 skipped (not within 1m)"},
		"nothing to warm":     {func(*Order) {}, time.Second, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			coordinator := NewCoordinator(w, Parts{Node: w, Fleet: w, Warmer: stove{w, c.takes}}, w.hear)
			defer coordinator.Close()
			o := tagged("a")
			o.Hottest = 7 // is not for callers to say
			c.edit(&o)
			r := carryOut(t, coordinator, o)
			last := r.Steps[len(r.Steps)-1]
			if r.State != Done || r.Exit != ExitDone || r.Did(StepWarm) != (c.did != "") || c.did != "" && (last.Name != StepWarm || last.Detail != c.detail) {
				t.Errorf("%s: %s, exit %d, %+v: want done, and at last %q", name, r.State, r.Exit, r.Steps, c.detail)
			}
			if log := strings.Join(w.history(), "\n"); !strings.HasSuffix(log, c.did) {
				t.Errorf("%s: %s\nwant at last %s", name, log, c.did)
			}
		})
	}
}

func TestWhatCannotBeWarmedIsRefused(t *testing.T) {
	w := newWorld()
	coordinator := NewCoordinator(w, Parts{Node: w, Fleet: w}, nil)
	defer coordinator.Close()
	o := tagged("a")
	o.Warm = []string{"https://example.com/"}
	var mistake *Mistake
	if _, err := coordinator.Submit(t.Context(), o); !errors.As(err, &mistake) || mistake.Field != "warm" {
		t.Errorf("no site: %v", err)
	}
	many := make([]string, 1001)
	for i := range many {
		many[i] = fmt.Sprintf("https://example.com/%d", i)
	}
	for _, urls := range [][]string{{"/page"}, {"ftp://example.com/"}, many} {
		if _, err := WarmURLs(urls); !errors.As(err, &mistake) || mistake.Field != "warm" {
			t.Errorf("%.40s: %v", urls, err)
		}
	}
}
