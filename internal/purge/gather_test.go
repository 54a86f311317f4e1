package purge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// parlour is a fleet's commons of which one node is the caller, until it is not.
type parlour struct {
	Commons // what a gather does not ask for

	mu     sync.Mutex
	token  uint64
	counts uint64 // the token that counts
	away   bool
	left   string
	asked  int
}

func (p *parlour) Token() (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.token, true
}

func (p *parlour) Calling(_ context.Context, token uint64, _ string, left []byte) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked++; p.away {
		return false, fmt.Errorf("redis is away")
	}
	p.left = string(left)
	return token == p.counts, nil
}

func (p *parlour) Budget(context.Context, string) ([]byte, time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []byte(p.left), time.Second, nil
}

func (p *parlour) Lease() time.Duration { return 10 * time.Second }

func (p *parlour) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// passes is a target that writes down its passes, and refuses what it is told to.
type passes struct {
	mu      sync.Mutex
	made    []string
	refuses string
	takes   time.Duration
	has     string // what is left of its limits
}

func (p *passes) Name() string { return "cdn" }
func (p *passes) Left() []byte { return []byte(p.has) }

func (p *passes) Inherit(left []byte, ago time.Duration) { p.has = fmt.Sprint(string(left), " ", ago) }

func (p *passes) Purge(ctx context.Context, o Order, may func(context.Context) error, progress func(Result)) (Result, error) {
	if err := may(ctx); err != nil {
		return Result{}, err
	}
	if err := sleep(ctx, p.takes); err != nil {
		return Result{Attempts: 1}, err
	}
	p.mu.Lock()
	p.made = append(p.made, fmt.Sprint(o.Soft, o.Everything, o.Tags))
	p.mu.Unlock()
	if slices.Contains(o.Tags, p.refuses) {
		return Result{Attempts: 1}, &TargetError{Kind: Refused, Message: "no"}
	}
	progress(Result{Batches: 1, Attempts: 1})
	return Result{Batches: 1, Attempts: 1, Items: o.Len()}, nil
}

// gathering asks a gather for passes, at once, in virtual time.
type gathering struct {
	*gather
	commons *parlour
	target  *passes
	asked   sync.WaitGroup
}

func newGathering(t *testing.T) *gathering {
	t.Helper()
	w := newWorld()
	g := &gathering{commons: &parlour{token: 1, counts: 1}, target: &passes{takes: time.Second}}
	c := NewCoordinator(w, Parts{Node: w, Fleet: w, Targets: []Target{g.target}, Commons: g.commons}, nil)
	t.Cleanup(func() { _ = c.Close() })
	g.gather = c.gatherFor("cdn")
	return g
}

func (g *gathering) ask(t *testing.T, o Order, want func(Result, error)) {
	t.Helper()
	g.asked.Go(func() { want(g.purge(t.Context(), o, func(Result) {})) })
}

func TestOrdersThatComeAtOnceGoInOnePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGathering(t)
		var mu sync.Mutex
		attempts := 0
		fine := func(r Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			attempts += r.Attempts
			if err != nil {
				t.Error(err)
			}
		}
		for _, tag := range []string{"b", "a", "b"} {
			g.ask(t, tagged(tag), fine)
		}
		synctest.Wait()
		time.Sleep(gatherWindow + time.Millisecond)
		// Too late for the pass that is under way: it may be past these.
		g.ask(t, tagged("late"), fine)
		g.ask(t, Order{Selectors: Selectors{Tags: []string{"late"}}, Soft: true}, fine)
		g.ask(t, Order{Selectors: Selectors{Everything: true}, Soft: true}, fine)
		g.asked.Wait()
		want := []string{"false false [a b]", "false false [late]", "true true []"}
		if got := g.target.made; !slices.Equal(got, want) {
			t.Errorf("passes %q: want %q", got, want)
		}
		if attempts != 3 {
			t.Errorf("%d attempts in all: want each pass counted once", attempts)
		}
	})
}

func TestAnOrderDoesNotFailForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGathering(t)
		g.target.refuses = "bad"
		g.ask(t, tagged("bad"), func(_ Result, err error) {
			if kindOfError(err) != Refused {
				t.Errorf("%v: want it refused", err)
			}
		})
		g.ask(t, tagged("good"), func(_ Result, err error) {
			if err != nil {
				t.Errorf("%v: want nothing of the other one's mistake", err)
			}
		})
		// One that leaves does not end the pass of the others.
		ctx, leave := context.WithCancelCause(t.Context())
		g.asked.Go(func() {
			if _, err := g.purge(ctx, tagged("gone"), nil); err != errCanceled {
				t.Errorf("%v: want its own cause", err)
			}
		})
		synctest.Wait()
		time.Sleep(gatherWindow + time.Millisecond)
		leave(errCanceled)
		g.asked.Wait()
	})
}

func TestATokenThatDoesNotCountMakesNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGathering(t)
		g.commons.set(func() { g.commons.counts = 2 })
		g.ask(t, tagged("a"), func(_ Result, err error) {
			if err != errNotCaller {
				t.Errorf("%v: want errNotCaller", err)
			}
		})
		g.asked.Wait()
		if len(g.target.made) != 0 {
			t.Errorf("passes %q: want none", g.target.made)
		}
		// With a new token it takes over what the other one has left.
		g.commons.set(func() { g.commons.token, g.commons.left = 2, "three" })
		g.ask(t, tagged("a"), func(_ Result, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		g.asked.Wait()
		if g.target.has != "three 1s" || g.commons.left != "three 1s" {
			t.Errorf("inherited %q, left %q: want what was noted", g.target.has, g.commons.left)
		}
	})
}

func TestACallIsMadeWhenNobodyAnswersForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGathering(t)
		g.commons.set(func() { g.commons.away = true })
		began := time.Now()
		for _, want := range []time.Duration{20 * time.Second, 0} {
			g.ask(t, tagged("a"), func(_ Result, err error) {
				if err != nil {
					t.Error(err)
				}
			})
			g.asked.Wait()
			took := time.Since(began)
			if took < want || took > want+3*time.Second {
				t.Errorf("the call was made after %s: want about %s", took, want)
			}
			began = time.Now()
		}
	})
}

func TestWhatIsLeftOfLimitsIsNeverMore(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		left remains
		ago  time.Duration
		want float64 // tokens, of 10 at 1/s
	}{
		"nothing, just now":   {remains{Tokens: 0}, 0, 0},
		"a debt":              {remains{Tokens: -3}, 0, -3},
		"some time ago":       {remains{Tokens: 2}, 4 * time.Second, 6},
		"long ago":            {remains{Tokens: 2}, time.Hour, 10},
		"more than there are": {remains{Tokens: 99}, 0, 10},
		"a debt beyond sense": {remains{Tokens: -1e9}, 0, -10},
	} {
		b := newBucket(1, 10)
		b.inherit(now, c.left, c.ago)
		if got := b.left(now).Tokens; got < c.want-0.001 || got > c.want+0.001 {
			t.Errorf("%s: %v tokens, want %v", name, got, c.want)
		}
	}
	b := newBucket(1, 10)
	b.inherit(now, remains{Tokens: 10, Held: 60e9}, 20*time.Second)
	if wait, ok := b.reserve(now, 1, now.Add(time.Hour)); !ok || wait != 40*time.Second {
		t.Errorf("held for %s: want what is left of the minute", wait)
	}
	target := &cloudflare{account: newAccount(plans["free"])}
	target.account.flex.inherit(now, remains{Tokens: 3}, 0)
	heir := &cloudflare{account: newAccount(plans["free"])}
	heir.Inherit(target.Left(), 0)
	if got := heir.account.flex.left(time.Now()).Tokens; got > 3.9 || got < 2 {
		t.Errorf("%v tokens inherited, of 3: %s", got, target.Left())
	}
	heir.Inherit([]byte("nonsense"), 0)
	if text := string(heir.Left()); !strings.Contains(text, "flex") {
		t.Errorf("left %s", text)
	}
}
