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
	"sync"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/redistest"
	"github.com/edgegw/edge/internal/unit"
)

// The tests of this file run the test binary again as a node of a real fleet,
// which kills itself at a transition, and have another node take over.
const (
	fleetURL  = "EDGE_TEST_FLEET_URL"
	fleetName = "EDGE_TEST_FLEET_NAME"
)

// sharedEffects is a node whose effects outlive it, in a real fleet.
type sharedEffects struct {
	effects
	*fleet.Member
}

func (e sharedEffects) Purge(context.Context, Order, uint64) error { return e.write("node") }

func (e sharedEffects) Next(ctx context.Context, floor uint64) (uint64, error) {
	g, err := e.Member.Next(ctx, floor)
	if err != nil {
		return 0, err
	}
	return g, e.write("generation")
}

func (e sharedEffects) Announce(ctx context.Context, g uint64, order []byte) (int, error) {
	n, err := e.Member.Announce(ctx, g, order)
	if err != nil {
		return 0, err
	}
	return n, e.write("fleet")
}

func (e sharedEffects) Undrained(ctx context.Context, g uint64) (int, error) {
	return e.Member.Undrained(ctx, g)
}

// memberNode is what the membership itself asks of a node.
type memberNode struct{}

func (memberNode) Generation() uint64         { return 0 }
func (memberNode) Apply([]byte, uint64) error { return nil }
func (memberNode) Forget() error              { return nil }
func (memberNode) Draining(uint64) int        { return 0 }
func (memberNode) Note([]byte) error          { return nil }

// doomedCommons kills the process when it writes a state down, or hands an order
// over, for the nth time: before, or after.
type doomedCommons struct {
	*fleet.Member
	at, n int
	how   string
}

func (d *doomedCommons) around(call func()) {
	d.n++
	if d.n == d.at && d.how == "before" {
		die()
	}
	call()
	if d.n == d.at && d.how == "after" {
		die()
	}
}

func (d *doomedCommons) Keep(ctx context.Context, id, hold, key string, text []byte, final bool) (held, canceled bool, err error) {
	d.around(func() { held, canceled, err = d.Member.Keep(ctx, id, hold, key, text, final) })
	return held, canceled, err
}

func (d *doomedCommons) Hand(ctx context.Context, id, hold string, text []byte) (held, mine bool, err error) {
	hand := func() { held, mine, err = d.Member.Hand(ctx, id, hold, text) }
	if _, calling := d.Token(); calling {
		hand() // to itself: nothing changes
		return held, mine, err
	}
	d.around(hand)
	return held, mine, err
}

// joinFleet gives the nodes of some fleets time: where both live, a machine under
// load must not keep one from renewing.
func joinFleet(url, name, node string) (*fleet.Member, error) {
	lease := 2 * time.Second
	if strings.HasPrefix(name, "other") {
		lease = 5 * time.Second
	}
	return fleet.Open(fleet.Config{URL: url, Name: name, Node: node, Lease: unit.Duration(lease)}, node, memberNode{}, nil, nil)
}

// coordinateIn starts a coordinator whose effects go to a file in dir.
func coordinateIn(dir, journal string, m *fleet.Member, commons Commons) (*Coordinator, error) {
	j, err := OpenJournal(filepath.Join(dir, journal), nil)
	if err != nil {
		return nil, err
	}
	e := effects{filepath.Join(dir, "effects")}
	shared := sharedEffects{e, m}
	c := NewCoordinator(j, Parts{
		Node: shared, Fleet: shared, Commons: commons, Targets: []Target{effectsTarget{e}},
		Settings: Settings{Settle: unit.Duration(time.Millisecond)},
	}, func(e Event) {
		if e.Kind == OrderAccepted {
			_ = os.WriteFile(filepath.Join(dir, "id"), []byte(e.Record.ID), 0o600) // who reads it misses it
		}
	})
	c.Resume()
	return c, nil
}

// doomedNode takes an order once the fleet has a caller, and carries it out as
// far as it comes.
func doomedNode(dir string) {
	at, _ := strconv.Atoi(os.Getenv(crashAt))
	m, err := joinFleet(os.Getenv(fleetURL), os.Getenv(fleetName), "doomed")
	var c *Coordinator
	if err == nil {
		c, err = coordinateIn(dir, "doomed", m, &doomedCommons{Member: m, at: at, how: os.Getenv(crashHow)})
	}
	for deadline := time.Now().Add(time.Minute); err == nil && m.Status().Caller == ""; {
		if err = sleep(context.Background(), 5*time.Millisecond); time.Now().After(deadline) {
			err = fmt.Errorf("no caller: %+v", m.Status())
		}
	}
	if err == nil {
		o := tagged("a")
		o.IdempotencyKey = "k"
		var r Record
		if r, err = c.Submit(context.Background(), o); err == nil {
			c.Wait(context.Background(), r.ID)
		}
	}
	fmt.Fprintln(os.Stderr, "survived:", err)
	os.Exit(1)
}

// eventually polls a real thing.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if err := sleep(t.Context(), 10*time.Millisecond); err != nil || time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s (%v)", what, err)
		}
	}
}

func TestAnotherNodeFinishesWhatADeadOneHasBegun(t *testing.T) {
	url := "unix://" + redistest.New(t).Socket
	// What each state that is written down records; an effect comes before it.
	effect := []string{"generation", "node", "fleet", "", "cdn", "", "cdn", ""}
	// They mostly wait for leases: all at once.
	var all sync.WaitGroup
	defer all.Wait()
	atOnce := func(name string, test func(*testing.T)) { all.Go(func() { t.Run(name, test) }) }
	for at := 1; at <= len(effect); at++ {
		for _, how := range []string{"before", "after"} {
			atOnce(fmt.Sprintf("the caller, state %d, %s", at, how), func(t *testing.T) {
				dir, name := t.TempDir(), fmt.Sprintf("caller-%d-%s", at, how)
				before := dies(t, dir, url, name, at, how)
				heir := newHeir(t, dir, url, name)
				heir.finishes(t, before, left(effect, at, how))
			})
		}
	}
	// The four states before an order is handed over, and that.
	for at := 1; at <= 5; at++ {
		atOnce(fmt.Sprintf("another than the caller, %d", at), func(t *testing.T) {
			dir, name := t.TempDir(), fmt.Sprintf("other-%d", at)
			heir := newHeir(t, dir, url, name)
			eventually(t, "the heir calls", func() bool { _, calling := heir.member.Token(); return calling })
			if before := dies(t, dir, url, name, at, "after"); at == 5 {
				heir.finishes(t, before[:3], []string{"cdn", "cdn"}) // it may have begun before the other died
			} else {
				heir.finishes(t, before, left(effect, at, "after"))
			}
		})
	}
}

// left is what is left to do: this node is purged again unless the fleet has
// acknowledged.
func left(effect []string, at int, how string) (rest []string) {
	kept := at
	if how == "before" {
		kept--
	}
	for i, e := range effect {
		again := e == "node" && kept < 3
		if e != "" && (i >= kept || again) {
			rest = append(rest, e)
		}
	}
	return rest
}

func effectsIn(t *testing.T, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "effects"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

func dies(t *testing.T, dir, url, name string, at int, how string) (done []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", crashDir+"="+dir, crashAt+"="+strconv.Itoa(at), crashHow+"="+how,
		fleetURL+"="+url, fleetName+"="+name)
	if out, err := cmd.CombinedOutput(); err == nil || strings.Contains(string(out), "survived") {
		t.Fatalf("survived: %v %s", err, out)
	}
	return effectsIn(t, dir)
}

// heir is the node that is left.
type heir struct {
	dir    string
	member *fleet.Member
	*Coordinator
}

func newHeir(t *testing.T, dir, url, name string) heir {
	t.Helper()
	m, err := joinFleet(url, name, "heir")
	if err != nil {
		t.Fatal(err)
	}
	c, err := coordinateIn(dir, "heir", m, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		m.Close()
	})
	return heir{dir, m, c}
}

func (h heir) finishes(t *testing.T, before, rest []string) {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(h.dir, "id"))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the heir says that the order is finished", func() bool {
		r, ok := h.Get(string(id))
		return ok && r.State.Final()
	})
	r, _ := h.Get(string(id))
	if r.State != Done || r.Exit != ExitDone {
		t.Errorf("%+v: want it done", r)
	}
	if all := effectsIn(t, h.dir); !slices.Equal(all, append(slices.Clone(before), rest...)) {
		t.Errorf("%v, of these before the other died: %v: want %v afterwards", all, before, rest)
	}
	if all := h.ListAll(t.Context(), 5); len(all) != 1 || all[0].ID != r.ID || all[0].State != Done || all[0].Node != "doomed" {
		t.Errorf("the fleet's orders: %+v: want the one of the dead node, done", all)
	}
	if len(h.List(1)) == 0 {
		return // it was finished before, and the heir has only heard of it
	}
	again := tagged("a")
	again.IdempotencyKey = "k"
	if same, err := h.Submit(t.Context(), again); err != nil || same.ID != r.ID {
		t.Errorf("%s, %v: want the key to mean %s", same.ID, err, r.ID)
	}
}
