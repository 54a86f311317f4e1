package report

import (
	"fmt"
	"testing"
	"time"
)

func TestOfAFloodTheFirstPassesAndThenOneAMinute(t *testing.T) {
	var f flood
	now := time.Unix(1_000_000, 0)
	passed := 0
	for i := range 1000 {
		pass, first := f.pass(now, Answer, "a")
		if pass {
			passed++
		}
		if first != (i == 0) {
			t.Fatalf("report %d: first is %t", i, first)
		}
	}
	if passed != burst {
		t.Errorf("%d passed at once: want %d", passed, burst)
	}
	if pass, first := f.pass(now, Panic, "b"); !pass || !first {
		t.Error("the first of another like does not pass")
	}
	for range 3 {
		now = now.Add(refill)
		if pass, first := f.pass(now, Answer, "a"); !pass || first {
			t.Errorf("after another %v: pass %t, first %t: want another one, not as the first", refill, pass, first)
		}
		if pass, _ := f.pass(now, Answer, "a"); pass {
			t.Error("two pass in one minute")
		}
	}
	// 1000-5 at the start, and one after each of the first two refills; the third's comes after.
	if got := f.taken("a"); got != 1000-burst+3 {
		t.Errorf("%d were suppressed: want %d", got, 1000-burst+3)
	}
	if got := f.taken("a"); got != 0 {
		t.Errorf("%d were suppressed since: want none", got)
	}
}

func TestLikesAreBoundedAndTheFirstOfAKindPassesAllTheSame(t *testing.T) {
	var f flood
	now := time.Unix(1_000_000, 0)
	for i := range 10 * maxLikes {
		f.pass(now, Answer, fmt.Sprint(i))
	}
	if len(f.buckets) != maxLikes+1 {
		t.Errorf("%d buckets: want %d, and one for the others of the kind", len(f.buckets), maxLikes)
	}
	if pass, first := f.pass(now, Purge, "new"); !pass || !first {
		t.Errorf("the first of another kind: pass %t, first %t", pass, first)
	}
	if pass, first := f.pass(now.Add(idle+1), Answer, "new"); !pass || !first {
		t.Errorf("a new one once the others are old: pass %t, first %t", pass, first)
	}
	if len(f.buckets) != 1 {
		t.Errorf("%d buckets are kept: want the new one's alone", len(f.buckets))
	}
}

func TestWhatWasForgottenIsTheFirstAgain(t *testing.T) {
	var f flood
	now := time.Unix(1_000_000, 0)
	for range 100 {
		f.pass(now, Answer, "a")
	}
	f.forget("a")
	if pass, first := f.pass(now, Answer, "a"); !pass || !first {
		t.Errorf("pass %t, first %t: want both", pass, first)
	}
}
