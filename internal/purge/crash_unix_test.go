//go:build unix

package purge

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// The crash tests run this test binary again as a gateway of its own, which
// writes each effect to a file and kills itself when told to.
const (
	crashDir = "EDGE_TEST_CRASH_DIR"
	crashAt  = "EDGE_TEST_CRASH_AT"  // the append before or after which to die; 0 for never
	crashHow = "EDGE_TEST_CRASH_HOW" // before, torn or after
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" && os.Getenv(fleetURL) != "" {
		doomedNode(dir)
	} else if dir != "" {
		crashingGateway(dir)
		return
	}
	os.Exit(m.Run())
}

// doomed kills the process at one of its appends.
type doomed struct {
	*FileJournal
	at  int
	how string
	n   int
}

func (d *doomed) Append(r Record, whole bool) error {
	d.n++
	if d.n == d.at && d.how == "before" {
		die()
	}
	if d.n == d.at && d.how == "torn" {
		text, _ := encodeLine(line{Whole: whole, Record: &r})
		_, _ = d.file.Write(text[:len(text)/2])
		die()
	}
	err := d.FileJournal.Append(r, whole)
	if d.n == d.at && d.how == "after" {
		die()
	}
	return err
}

func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // the signal is on its way
}

// effects is a node, a fleet and a target whose effects outlive the process.
type effects struct{ path string }

func (e effects) write(format string, args ...any) error {
	f, err := os.OpenFile(e.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, format+"\n", args...); err != nil {
		return err
	}
	return f.Close()
}

func (e effects) Generation() uint64  { return 0 }
func (e effects) Draining(uint64) int { return 0 }
func (e effects) Name() string        { return "cdn" }

func (e effects) Purge(_ context.Context, _ Order, generation uint64) error {
	return e.write("node %d", generation)
}

func (e effects) Next(_ context.Context, floor uint64) (uint64, error) {
	return floor + 1, e.write("generation %d", floor+1)
}

func (e effects) Undrained(context.Context, uint64) (int, error) { return 0, nil }

func (e effects) Announce(context.Context, uint64, []byte) (int, error) {
	return 1, e.write("fleet")
}

type effectsTarget struct{ effects }

func (e effectsTarget) Purge(context.Context, Order, func(context.Context) error, func(Result)) (Result, error) {
	return Result{Batches: 1, Items: 1, Attempts: 1}, e.write("cdn")
}

// crashingGateway resumes what there is, or else takes an order, and carries it
// out to the end, unless it dies.
func crashingGateway(dir string) {
	j, err := OpenJournal(dir, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	at, _ := strconv.Atoi(os.Getenv(crashAt))
	e := effects{filepath.Join(dir, "effects")}
	short := unit.Duration(time.Millisecond)
	c := NewCoordinator(&doomed{FileJournal: j, at: at, how: os.Getenv(crashHow)}, Parts{
		Node: e, Fleet: e, Targets: []Target{effectsTarget{e}}, Settings: Settings{Settle: short},
	}, nil)
	c.Resume()
	known := c.List(1)
	if len(known) == 0 {
		o := tagged("a")
		o.IdempotencyKey = "k"
		r, err := c.Submit(context.Background(), o)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		known = append(known, r)
	}
	r, _ := c.Wait(context.Background(), known[0].ID)
	fmt.Printf("%s %d\n", r.State, r.Exit)
	if err := c.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// gateway runs one and gives the effects so far, and what it said at its end.
func gateway(t *testing.T, dir string, at int, how string) (done []string, said string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	// The race detector would have every process linger for a second.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", crashDir+"="+dir, crashAt+"="+strconv.Itoa(at), crashHow+"="+how)
	out, err := cmd.Output()
	if at == 0 && err != nil {
		t.Fatalf("gateway: %v", err)
	}
	if at != 0 && err == nil {
		t.Fatalf("survived append %d", at)
	}
	text, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(text), " ", "=")), strings.TrimSpace(string(out))
}

func TestKilledAtEachTransitionExactlyTheRestIsDone(t *testing.T) {
	// What each append records: the order, its seven steps, its end. A step's
	// effect comes before its append.
	effect := []string{"", "generation=1", "node=1", "fleet", "", "cdn", "", "cdn", ""}
	for at := 1; at <= len(effect); at++ {
		for _, how := range []string{"before", "torn", "after"} {
			t.Run(fmt.Sprintf("append %d, %s", at, how), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				var before, rest []string
				for i, e := range effect {
					if i < at && e != "" {
						before = append(before, e)
					}
					// Not recorded: done again, whether or not it was done.
					if (i >= at || (i == at-1 && how != "after")) && e != "" {
						rest = append(rest, e)
					}
				}
				got, _ := gateway(t, dir, at, how)
				if !slices.Equal(got, before) {
					t.Fatalf("before the crash: %v, want %v", got, before)
				}
				all, said := gateway(t, dir, 0, "")
				if !slices.Equal(all[len(got):], rest) || said != "done 0" {
					t.Errorf("after the restart: %v, %q, want %v and done", all[len(got):], said, rest)
				}
				// A third start finds nothing left to do.
				if again, _ := gateway(t, dir, 0, ""); len(again) != len(all) {
					t.Errorf("done once more: %v", again[len(all):])
				}
			})
		}
	}
}
