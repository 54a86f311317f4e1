//go:build unix

package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The crash test runs this test binary again as a gateway of its own, which
// keeps its book in a file, orders purges in another, and kills itself when told.
const (
	crashDir  = "EDGE_TEST_CRASH_DIR"
	crashAt   = "EDGE_TEST_CRASH_AT"   // the effect at which to die; 0 for never
	crashHow  = "EDGE_TEST_CRASH_HOW"  // before, torn or after
	crashSees = "EDGE_TEST_CRASH_SEES" // the sights, as in book_test.go
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		at, _ := strconv.Atoi(os.Getenv(crashAt))
		g := &doomed{dir: dir, at: at, how: os.Getenv(crashHow)}
		if err := g.run(strings.Split(os.Getenv(crashSees), "|")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// doomed is a gateway that kills itself at one of its effects.
type doomed struct {
	dir string
	at  int
	how string
	n   int
	now time.Time
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

// effect writes a file, in one step, unless this is where to die.
func (g *doomed) effect(name string, text []byte) error {
	path := filepath.Join(g.dir, name)
	g.n++
	if g.n == g.at && g.how == "before" {
		die()
	}
	if g.n == g.at && g.how == "torn" {
		_ = os.WriteFile(path+".new", text[:len(text)/2], 0o600)
		die()
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if g.n == g.at && g.how == "after" {
		die()
	}
	return nil
}

func (g *doomed) run(sees []string) error {
	text, err := os.ReadFile(filepath.Join(g.dir, "book"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	book, tracker := OpenBook(text, func(text []byte) error { return g.effect("book", text) }, nil), new(Tracker)
	book.Adopt("app", tracker, new(Answers))
	g.now = noon
	for _, see := range sees {
		g.now = g.now.Add(time.Second)
		if version, isCall := strings.CutPrefix(see, "call "); isCall {
			// As CI does: again with the same key, until it is answered.
			if _, err := book.Call(g.now, Call{Pool: "app", Version: version, Timeout: time.Hour, Actor: "ci", IdempotencyKey: "k"}); err != nil {
				return err
			}
			continue
		}
		if err := g.look(book, see); err != nil {
			return err
		}
	}
	for _, r := range book.List("app", -1) {
		fmt.Printf("%s %s %d %s %s\n", r.Version, r.Stage, r.Exit, strings.Join(r.Retired, ","), r.Actor)
	}
	return nil
}

// look looks until nothing is left to be done.
func (g *doomed) look(book *Book, see string) error {
	s := Sight{Pool: "app"}
	for i, version := range strings.Fields(see) {
		s.Replicas = append(s.Replicas, Replica{ID: fmt.Sprint(i), Version: version, State: "up"})
	}
	for range 3 {
		found := book.Look(g.now, s)
		for _, o := range found.Orders {
			if err := g.order(o); err != nil {
				return err
			}
			book.Ordered(o.Deploy, "p-"+o.Deploy)
		}
		for deploy := range found.Purges {
			book.Purged(g.now, deploy, Outcome{Final: true, State: "done"})
		}
	}
	return nil
}

// order keeps one order for each key, as the purge journal does.
func (g *doomed) order(o Order) error {
	orders := make(map[string][]string)
	text, err := os.ReadFile(filepath.Join(g.dir, "orders"))
	if err == nil {
		err = json.Unmarshal(text, &orders)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if orders[o.Deploy] != nil {
		return nil
	}
	orders[o.Deploy] = o.Versions
	if text, err = json.Marshal(orders); err != nil {
		return err
	}
	return g.effect("orders", text)
}

// gateway runs one, and gives what it said at its end.
func gateway(t *testing.T, dir string, at int, how, sees string) (said string, died bool) {
	t.Helper()
	c := exec.Command(os.Args[0])
	// The race detector would have every process linger for a second.
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", crashDir+"="+dir, crashAt+"="+strconv.Itoa(at), crashHow+"="+how, crashSees+"="+sees)
	out, err := c.Output()
	if err != nil && at == 0 {
		t.Fatalf("gateway: %v", err)
	}
	return strings.TrimSpace(string(out)), err != nil
}

// Killed before, in the middle of, or after each of its effects, a gateway
// finishes the deploy when it is back: one deploy, one purge, of the right
// version. The replicas go on meanwhile.
func TestKilledAtEachTransitionADeployIsFinished(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"CI calls":                   {"v1 v1|call v2|v1 v2|v2 v2", "call v2|v2 v2", "v2 done 0 v1 ci"},
		"nobody calls":               {"v1 v1|v1 v2|v2 v2", "v2 v2", "v2 done 0 v1 edge"},
		"the rollout is still on":    {"v1 v1|call v2|v1 v2", "call v2|v1 v2|v2 v2", "v2 done 0 v1 ci"},
		"rolled back, after the end": {"v1|v2|v1", "v1", "v1 done 0 v2 edge\nv2 done 0 v1 edge"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, survived := 1, false
			for ; !survived; at++ {
				for _, how := range []string{"before", "torn", "after"} {
					dir := t.TempDir()
					if _, died := gateway(t, dir, at, how, c.before); !died {
						survived = true
						break
					}
					kept := bookIn(t, dir)
					said, _ := gateway(t, dir, 0, "", c.after)
					judge(t, fmt.Sprintf("effect %d, %s", at, how), dir, kept, strings.Contains(c.after, "v1 v2"), said, c.want)
				}
			}
			if at < 5 {
				t.Errorf("%d effects: want one at each transition", at)
			}
		})
	}
}

// bookIn is what was kept of the book.
func bookIn(t *testing.T, dir string) (p page) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "book"))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return p
}

// judge checks what is left. A gateway that was killed before the old version
// was known has nothing to retire; and what is the version again with which it
// began, before it knew of another, was never anything else.
func judge(t *testing.T, when, dir string, kept page, bothLive bool, said, want string) {
	t.Helper()
	orders := make(map[string][]string)
	if text, err := os.ReadFile(filepath.Join(dir, "orders")); err == nil {
		if err := json.Unmarshal(text, &orders); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Count(want, "\n") + 1
	if kept.Pools["app"].Current == "" && !bothLive {
		lines, want = 0, map[bool]string{true: "v2 done 0  ci"}[strings.HasSuffix(want, "ci")]
	} else if strings.HasPrefix(want, "v1") && len(kept.Deploys) == 0 {
		lines, want = 0, ""
	}
	if said != want || len(orders) != lines {
		t.Errorf("%s: said %q, orders %v: want %q, each purged once", when, said, orders, want)
	}
}
