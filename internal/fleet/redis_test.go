package fleet

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/redistest"
	"github.com/edgegw/edge/internal/unit"
)

// redisServer is a real one, which remembers when it is restarted.
type redisServer struct {
	*redistest.Server
	t *testing.T
}

func newRedisServer(t *testing.T) *redisServer {
	t.Helper()
	return &redisServer{redistest.New(t, "--appendonly", "yes", "--requirepass", "s3cret"), t}
}

func (s *redisServer) again() {
	s.t.Helper()
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *redisServer) board(keep int, words string) *redisBoard {
	s.t.Helper()
	c := Config{URL: "unix://" + s.Socket + words, Password: "s3cret"}
	options, err := c.parse()
	if err != nil {
		s.t.Fatal(err)
	}
	b := newRedisBoard(options, "test", keep, 2*time.Second)
	s.t.Cleanup(b.close)
	return b
}

func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if fact() {
			return
		}
	}
	t.Fatal("never: " + what)
}

// bench is a board, and what may befall it.
type bench struct {
	board
	flush, restart func()
}

// TestBoards holds that the stand-in of the simulations does what the scripts do.
func TestBoards(t *testing.T) {
	t.Run("stand-in", func(t *testing.T) {
		b := newStandIn(1000)
		testBoard(t, bench{b, b.flush, b.restart})
	})
	for name, words := range map[string]string{"redis": "", "redis in RESP2": "?protocol=2"} {
		t.Run(name, func(t *testing.T) {
			s := newRedisServer(t)
			testBoard(t, bench{s.board(1000, words), func() { s.Say("FLUSHALL") }, func() {
				s.Say("CONFIG", "SET", "appendfsync", "always")
				s.Kill()
				s.again()
			}})
		})
	}
}

func testBoard(t *testing.T, b bench) {
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	a, v, err := b.join(ctx, "a", "one", time.Second, 7)
	must(err)
	if v.Settled || v.Generation != 7 || v.Position != 0 || len(v.Members) != 1 || v.Members[0].Name != "one" || v.Members[0].Beat != "1:0" {
		t.Fatalf("after the first has joined: %+v", v)
	}
	if _, settled, err := b.next(ctx, 9); settled || err != nil {
		t.Fatalf("a generation before the fleet has settled: %v, %v", settled, err)
	}
	if _, _, err := b.join(ctx, "b", "two", time.Minute, 0); !errors.Is(err, errLease) {
		t.Fatalf("another lease: %v: want it refused", err)
	}
	must(b.settle(ctx, "another incarnation"))
	v, err = b.look(ctx, 0)
	must(err)
	if v.Settled {
		t.Fatal("settled by who knows another incarnation")
	}
	must(b.settle(ctx, v.Incarnation))
	if g, settled, err := b.next(ctx, 0); g != 10 || !settled || err != nil {
		t.Fatalf("next: %d, %v, %v: want 10, above the floor of the call before", g, settled, err)
	}
	c, _, err := b.join(ctx, "b", "two", time.Second, 0)
	must(err)
	for position := uint64(1); position <= 2; position++ {
		at, err := b.announce(ctx, entry{generation: 10 + position, from: "a", order: []byte{'{', '}', byte(position)}}, 0)
		must(err)
		if at != (place{v.Incarnation, position}) {
			t.Fatalf("announced at %+v: want %d", at, position)
		}
	}
	found, err := b.read(ctx, 0, 0)
	must(err)
	if len(found) != 2 || found[1].position != 2 || found[1].generation != 12 || found[1].from != "a" || string(found[1].order) != "{}\x02" {
		t.Fatalf("read: %+v", found)
	}
	if found, err := b.read(ctx, 2, time.Millisecond); len(found) != 0 || err != nil {
		t.Fatalf("read after the last: %+v, %v", found, err)
	}
	v, err = b.renew(ctx, a, 2, 1, 20)
	must(err)
	if m := v.Members[0]; m.Beat != "1:1" || m.Applied != 2 || m.Drained != 1 || v.Generation != 20 || v.Members[1].Applied != 0 {
		t.Fatalf("renewed: %+v", v)
	}
	stale := v.Members[1]
	_, err = b.renew(ctx, c, 2, 2, 0)
	must(err)
	if off, err := b.evict(ctx, v.Incarnation, stale); off || err != nil {
		t.Fatalf("evicted %v, %v, although it has renewed since", off, err)
	}
	stale.Beat = "2:1"
	if off, err := b.evict(ctx, v.Incarnation, stale); !off || err != nil {
		t.Fatalf("evicted %v, %v: want it off", off, err)
	}
	if _, err := b.renew(ctx, c, 2, 2, 0); !errors.Is(err, errGone) {
		t.Fatalf("renewed after it was evicted: %v", err)
	}
	c, _, err = b.join(ctx, "b", "two", time.Second, 0)
	must(err)
	testCaller(t, b, a, c)
	must(b.leave(ctx, c))
	for name, lose := range map[string]func(){"flush": b.flush, "restart": b.restart} {
		before, err := b.look(ctx, 0)
		must(err)
		lose()
		if _, err := b.renew(ctx, a, 2, 2, 20); !errors.Is(err, errGone) {
			t.Fatalf("%s: renewed: %v: want it to be gone", name, err)
		}
		var after View
		a, after, err = b.join(ctx, "a", "one", time.Second, 33)
		must(err)
		if after.Incarnation == before.Incarnation || after.Settled || after.Position != 0 || after.Generation < 33 || len(after.Members) != 1 {
			t.Fatalf("%s: %+v, then %+v", name, before, after)
		}
		if found, err := b.read(ctx, 0, 0); len(found) != 0 || err != nil {
			t.Fatalf("%s: orders of the life before: %+v, %v", name, found, err)
		}
		if v, err := b.lead(ctx, a, 0); v.Caller != "" || err != nil {
			t.Fatalf("%s: a caller before the fleet has settled: %+v, %v", name, v, err)
		}
		must(b.settle(ctx, after.Incarnation))
		v, err := b.lead(ctx, a, 0)
		must(err)
		if v.Caller != "a" || name == "restart" && v.Token < 100 {
			t.Fatalf("%s: %+v: want a as the caller, with a token well above all", name, v)
		}
	}
}

// fakeNode writes down what it is told.
type fakeNode struct {
	sync.Mutex
	generation uint64
	orders     []string
	forgotten  int
	noted      []byte
}

func (n *fakeNode) Generation() uint64 {
	n.Lock()
	defer n.Unlock()
	return n.generation
}

func (n *fakeNode) Apply(order []byte, generation uint64) error {
	n.Lock()
	defer n.Unlock()
	n.generation = max(n.generation, generation)
	n.orders = append(n.orders, string(order))
	return nil
}

func (n *fakeNode) Forget() error {
	n.Lock()
	defer n.Unlock()
	n.forgotten++
	return nil
}

func (n *fakeNode) Draining(uint64) int { return 0 }

func (n *fakeNode) Note(place []byte) error {
	n.Lock()
	defer n.Unlock()
	n.noted = place
	return nil
}

func (n *fakeNode) has(order string) bool {
	n.Lock()
	defer n.Unlock()
	return slices.Contains(n.orders, order)
}

func (s *redisServer) member(name string, node *fakeNode) *Member {
	s.t.Helper()
	c := Config{URL: "unix://" + s.Socket, Password: "s3cret", Node: name, Lease: unit.Duration(time.Second), Keep: 1000}
	if err := c.Validate(); err != nil {
		s.t.Fatal(err)
	}
	m, err := Open(c, "host", node, node.noted, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func TestMembersShareOrders(t *testing.T) {
	s := newRedisServer(t)
	nodes := []*fakeNode{{generation: 5}, {generation: 9}, {}}
	var members []*Member
	for i, n := range nodes {
		members = append(members, s.member("node-"+string(rune('a'+i)), n))
	}
	for _, m := range members {
		eventually(t, "trusted", m.Holds)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	generation, err := members[0].Next(ctx, nodes[0].Generation())
	if err != nil || generation != 10 {
		t.Fatalf("generation %d, %v: want 10, above every node's", generation, err)
	}
	n, err := members[0].Announce(ctx, generation, []byte(`"one"`))
	if n != 3 || err != nil {
		t.Fatalf("%d members, %v", n, err)
	}
	if !nodes[1].has(`"one"`) || !nodes[2].has(`"one"`) || nodes[0].has(`"one"`) {
		t.Error("want the order applied at the two others when it is acknowledged")
	}
	eventually(t, "the others have drained", func() bool {
		d, err := members[0].Undrained(ctx, generation)
		return d == 0 && err == nil
	})

	// Who has left is not waited for, and applies what it missed when it is back.
	members[2].Close()
	if n, err := members[1].Announce(ctx, 11, []byte(`"two"`)); n != 2 || err != nil {
		t.Fatalf("%d members, %v: want 2", n, err)
	}
	forgotten := nodes[2].forgotten
	members[2] = s.member("node-c", nodes[2])
	eventually(t, "back", members[2].Holds)
	if !nodes[2].has(`"two"`) || nodes[2].forgotten != forgotten {
		t.Error("want what was missed to be applied, and nothing given up")
	}

	// Redis loses everything: nothing that is held is given up, and it goes on.
	s.Say("FLUSHALL")
	if n, err := members[0].Announce(ctx, 12, []byte(`"three"`)); n != 3 || err != nil {
		t.Fatalf("after a flush: %d members, %v", n, err)
	}
	if g, err := members[1].Next(ctx, 0); err != nil || g <= 12 {
		t.Errorf("generation %d, %v: want more than 12", g, err)
	}
	for i, m := range members {
		if nodes[i].forgotten != 1 {
			t.Errorf("node %d gave everything up %d times: want once, at its first start", i, nodes[i].forgotten)
		}
		m.Close()
	}
}

func TestRedisThatHangsCostsTrustAndNothingElse(t *testing.T) {
	s := newRedisServer(t)
	node := &fakeNode{}
	m := s.member("node-a", node)
	defer m.Close()
	eventually(t, "trusted", m.Holds)
	s.signal(syscall.SIGSTOP)
	eventually(t, "distrusted", func() bool { return !m.Holds() })
	if st := m.Status(); st.Trusted || st.Left != 0 {
		t.Errorf("status %+v", st)
	}
	eventually(t, "the fault shows", func() bool { return m.Status().Fault != "" })
	s.signal(syscall.SIGCONT)
	eventually(t, "trusted again", m.Holds)
	if node.forgotten != 1 {
		t.Errorf("everything was given up %d times: want once, at the start", node.forgotten)
	}

	s.Kill()
	eventually(t, "distrusted", func() bool { return !m.Holds() })
	s.again()
	eventually(t, "trusted again", m.Holds)
	if node.forgotten != 2 {
		t.Errorf("given up %d times: want twice, since another server knows nothing of the time between", node.forgotten)
	}
}
