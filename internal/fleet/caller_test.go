package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// testCaller holds, for the stand-in and the scripts alike, that one of two
// members is the caller until it is gone.
func testCaller(t *testing.T, b board, one, two ticket) {
	t.Helper()
	ctx := t.Context()
	counts := func(id string, token uint64) bool {
		t.Helper()
		ok, err := b.calling(ctx, id, token, "cdn", []byte("left"))
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	v, err := b.lead(ctx, one, 0)
	if err != nil || v.Caller != one.id || v.Token != 1 {
		t.Fatalf("%+v, %v: want %s as the first caller", v, err, one.id)
	}
	if v, err := b.lead(ctx, two, 0); err != nil || v.Caller != one.id || v.Token != 1 {
		t.Fatalf("%+v, %v: want the caller to stay", v, err)
	}
	if !counts(one.id, 1) || counts(one.id, 2) || counts(one.id, 0) || counts(two.id, 1) {
		t.Fatal("want the caller's token to count, and no other")
	}
	if _, err := b.lead(ctx, ticket{two.incarnation, two.id, two.term + 1}, 0); !errors.Is(err, errGone) {
		t.Fatalf("%v: want who is no member to be told", err)
	}
	if err := b.leave(ctx, one); err != nil {
		t.Fatal(err)
	}
	if counts(one.id, 1) {
		t.Fatal("a token counts although its member has left")
	}
	if v, err := b.lead(ctx, two, 0); err != nil || v.Caller != two.id || v.Token != 2 {
		t.Fatalf("%+v, %v: want %s, with a higher token", v, err, two.id)
	}
}

func TestWhenToStandAsTheCaller(t *testing.T) {
	for name, c := range map[string]struct {
		view View
		want bool
	}{
		"nobody calls":                     {View{Settled: true}, true},
		"somebody calls":                   {View{Settled: true, Caller: "a"}, false},
		"there may be one from before":     {View{}, false},
		"a caller of a fleet that gathers": {View{Caller: "a"}, false},
	} {
		if got := vacant(c.view); got != c.want {
			t.Errorf("%s: stands %v", name, got)
		}
	}
	if calls(View{}, "") || !calls(View{Caller: "a"}, "a") || calls(View{Caller: "a"}, "b") {
		t.Error("want the member that the view names, and nobody without a name")
	}
}

// use is a call that a node was allowed to make.
type use struct {
	token uint64
	node  string
	at    time.Time
}

// act makes a node ask for leave to call, as a purge does.
func (s *simulation) act(n *simNode) {
	n.breathe()
	n.mu.Lock()
	m := n.member
	n.mu.Unlock()
	if m == nil {
		return
	}
	token, _ := m.Token() // asked with whatever it believes
	ok, err := stoppable{n.wire, n}.calling(context.Background(), m.id, token, "cdn", nil)
	if err != nil || !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses = append(s.uses, use{token, m.id, time.Now()})
}

// judgeUses holds that no token was two members', and that whoever was given leave
// after another one had a token at least as high. The leave is noted some time
// after the board gave it, so those of nearly the same moment may change places.
func (s *simulation) judgeUses() {
	holder := make(map[uint64]string)
	for i, u := range s.uses {
		if before, known := holder[u.token]; known && before != u.node {
			s.t.Errorf("token %d was that of %s and of %s", u.token, before, u.node)
		}
		holder[u.token] = u.node
		for _, earlier := range s.uses[:i] {
			if earlier.token > u.token && u.at.Sub(earlier.at) > 30*time.Second {
				s.t.Errorf("token %d counted %s after %d did", u.token, u.at.Sub(earlier.at), earlier.token)
			}
		}
	}
}

// Whatever happens to nodes, their lines and Redis: no two members have tokens
// that count, and tokens only grow.
func TestOneCallerAtATime(t *testing.T) {
	uses, tokens := 0, make(map[string]bool)
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules)/3; seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, seed, func(s *simulation) {
					for _, n := range s.nodes {
						s.repeat(300*time.Millisecond, func() { s.act(n) })
					}
				})
				s.judgeUses()
				uses += len(s.uses)
				for _, u := range s.uses {
					tokens[fmt.Sprint(seed, " ", u.token)] = true
				}
			})
		})
	}
	t.Logf("%d calls allowed, with %d tokens", uses, len(tokens))
	if n := *schedules / 3; uses < 50*n || len(tokens) < 2*n {
		t.Errorf("%d calls allowed with %d tokens in %d schedules: these prove little", uses, len(tokens), n)
	}
}
