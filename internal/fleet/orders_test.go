package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// testOrders holds what two members may do with orders.
func testOrders(t *testing.T, a, b *Member) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hold, other, err := a.Offer(ctx, "0002", "key", "0001", []byte("one"))
	if must(err); hold == "" || len(other) != 0 {
		t.Fatalf("hold %q, other %q: want it to be a's", hold, other)
	}
	if again, other, err := a.Offer(ctx, "0002", "key", "0001", []byte("one")); again != hold || len(other) != 0 || err != nil {
		t.Fatalf("%q %q %v: want the same hold", again, other, err)
	}
	if hold, other, err := b.Offer(ctx, "0003", "key", "0001", []byte("two")); hold != "" || string(other) != "one" || err != nil {
		t.Fatalf("%q %q %v: want the order that the key means", hold, other, err)
	}
	if hold, other, err := b.Offer(ctx, "0002", "", "", []byte("two")); hold != "" || string(other) != "one" || err != nil {
		t.Fatalf("%q %q %v: want the order to stay a's", hold, other, err)
	}
	late, other, err := b.Offer(ctx, "0004", "key", "0003", []byte("late"))
	if must(err); late == "" || len(other) != 0 {
		t.Fatalf("%q %q: want a key that is too old to mean nothing", late, other)
	}
	must(b.Withdraw(ctx, "0004", late, "key"))
	if text, _, err := a.Find(ctx, "0004"); text != nil || err != nil {
		t.Fatalf("%q, %v: want it withdrawn", text, err)
	}

	// What is not held is not written, and what is held by a node that is there is
	// not taken.
	if held, _, err := b.Keep(ctx, "0002", "b:1", "key", []byte("bad"), true); held || err != nil {
		t.Fatalf("kept %v, %v: want it refused", held, err)
	}
	if text, own, err := b.Find(ctx, "0002"); string(text) != "one" || own != "" || err != nil {
		t.Fatalf("%q %q %v", text, own, err)
	}
	for _, m := range []*Member{a, b} {
		holds, err := m.Claim(ctx)
		must(err)
		if _, has := holds["0002"]; has != (m == a) {
			t.Fatalf("%s claims %v", m.name, holds)
		}
	}
	if asked, err := b.Cancel(ctx, "0002"); !asked || err != nil {
		t.Fatalf("%v %v", asked, err)
	}
	if held, canceled, err := a.Keep(ctx, "0002", hold, "key", []byte("three"), false); !held || !canceled || err != nil {
		t.Fatalf("%v %v %v: want it kept, and to be cancelled", held, canceled, err)
	}

	// Handed to the caller, by the one that has it.
	caller, sender := a, b
	if _, calling := b.Token(); calling {
		caller, sender = b, a
	}
	given, _, err := sender.Offer(ctx, "0005", "", "", []byte("given"))
	must(err)
	if held, mine, err := sender.Hand(ctx, "0005", given, []byte("given on")); held || mine || err != nil {
		t.Fatalf("%v %v %v: want it handed over", held, mine, err)
	}
	if held, _, err := sender.Keep(ctx, "0005", given, "", []byte("bad"), false); held || err != nil {
		t.Fatalf("%v %v: want the hold to be gone", held, err)
	}
	text, own, err := caller.Find(ctx, "0005")
	if must(err); string(text) != "given on" || own == "" {
		t.Fatalf("%q %q: want the caller to have it", text, own)
	}
	if held, mine, err := caller.Hand(ctx, "0005", own, text); !held || !mine || err != nil {
		t.Fatalf("%v %v %v: want it to stay", held, mine, err)
	}
	if held, _, err := caller.Keep(ctx, "0005", own, "", []byte("end"), true); !held || err != nil {
		t.Fatalf("%v %v", held, err)
	}
	if asked, err := sender.Cancel(ctx, "0005"); asked || err != nil {
		t.Fatalf("%v %v: want nothing to cancel", asked, err)
	}
	if text, own, err := sender.Find(ctx, "0005"); string(text) != "end" || own != "" || err != nil {
		t.Fatalf("%q %q %v", text, own, err)
	}

	for _, m := range []*Member{a, b} {
		texts, err := m.List(ctx, 5)
		if must(err); len(texts) != 2 || string(texts[0]) != "end" || string(texts[1]) != "three" {
			t.Fatalf("%s lists %q: want the finished one, and the one that is not", m.name, texts)
		}
	}

	token, _ := caller.Token()
	if ok, err := caller.Calling(ctx, token, "cdn", []byte("some left")); !ok || err != nil {
		t.Fatalf("%v %v", ok, err)
	}
	if ok, err := sender.Calling(ctx, token, "cdn", nil); ok || err != nil {
		t.Fatalf("%v %v: want the token to count for its member only", ok, err)
	}
	if left, ago, err := sender.Budget(ctx, "cdn"); string(left) != "some left" || ago < 0 || ago > time.Minute || err != nil {
		t.Fatalf("%q %s %v", left, ago, err)
	}
	if left, _, err := sender.Budget(ctx, "another"); len(left) != 0 || err != nil {
		t.Fatalf("%q %v", left, err)
	}
}

// testRoster holds what one member hears of replicas that register at another.
func testRoster(t *testing.T, a, b *Member) {
	t.Helper()
	ctx := t.Context()
	found := func() string {
		list, err := b.shelf.roster(ctx, b.id)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	for _, step := range []struct {
		what string
		do   func() error
		want string
	}{
		{"registered", func() error { return a.Enroll(ctx, "app", "h:1", time.Minute) }, "[{app h:1 1m0s false false false false 60000:1:" + a.id + ":0}]"},
		{"renewed here", func() error { return b.Enroll(ctx, "app", "h:1", time.Minute) }, "[{app h:1 1m0s true false false false 60000:2:" + b.id + ":0}]"},
		{"set aside", func() error { return a.SetAside(ctx, "app", "h:1", true) }, "[{app h:1 1m0s false true false false 60000:3:" + a.id + ":1}]"},
		{"held, which is for others", func() error { return b.Hold(ctx, "app", "h:1") }, "[{app h:1 1m0s false true false false 60000:3:" + a.id + ":1}]"},
		{"registered again", func() error { return a.Enroll(ctx, "app", "h:1", time.Second) }, "[{app h:1 1s false false false false 1000:4:" + a.id + ":0}]"},
		{"dismissed", func() error { return b.Dismiss(ctx, "app", "h:1") }, "[{app h:1 1s true false false true 1000:1:" + b.id + ":4}]"},
		{"registered anew", func() error { return a.Enroll(ctx, "app", "h:1", time.Second) }, "[{app h:1 1s false false false false 1000:1:" + a.id + ":0}]"},
		{"dismissed again", func() error { return a.Dismiss(ctx, "app", "h:1") }, "[{app h:1 1s false false false true 1000:2:" + a.id + ":4}]"},
		{"dismissed though Redis has lost it", func() error { return a.Dismiss(ctx, "app", "h:1") }, "[{app h:1 10m0s false false false true 600000:3:" + a.id + ":4}]"},
		{"forgotten in time", func() error {
			return a.shelf.run(ctx, "expire", 0, "app h:1", "600000:3:"+a.id+":4").Error()
		}, "[]"},
		{"one that has not registered is set aside", func() error { return a.SetAside(ctx, "app", "h:2", true) }, "[{app h:2 1m0s false true true false 60000:1:" + a.id + ":2}]"},
		{"held", func() error { return b.Hold(ctx, "app", "h:2") }, "[{app h:2 1m0s true true true false 60000:2:" + b.id + ":2}]"},
		{"taken back", func() error { return a.SetAside(ctx, "app", "h:2", false) }, "[{app h:2 24h0m0s false false true false 86400000:3:" + a.id + ":3}]"},
		{"held by one that has not heard of that", func() error { return b.Hold(ctx, "app", "h:2") }, "[{app h:2 24h0m0s false false true false 86400000:3:" + a.id + ":3}]"},
		{"gone", func() error { return b.Dismiss(ctx, "app", "h:2") }, "[{app h:2 24h0m0s true false false true 86400000:4:" + b.id + ":4}]"},
		{"held, though Redis has lost it", func() error { return b.Hold(ctx, "app", "h:2") }, "[{app h:2 1m0s true true true false 60000:1:" + b.id + ":2}]"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if got := found(); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
}

// hostNode is a node that wants to know who registers.
type hostNode struct {
	fakeNode
	roster    string
	dismissed string
}

func (n *hostNode) Roster(found []Replica, _ time.Time) {
	n.Lock()
	defer n.Unlock()
	n.roster = ""
	for _, r := range found {
		n.roster += r.key() + " "
	}
}

func (n *hostNode) Dismiss(pool, address string) {
	n.Lock()
	defer n.Unlock()
	n.dismissed = pool + " " + address
}

func (n *hostNode) heard() (roster, dismissed string) {
	n.Lock()
	defer n.Unlock()
	return n.roster, n.dismissed
}

func TestMembersHearOfReplicas(t *testing.T) {
	s := newRedisServer(t)
	a := s.member("a", &fakeNode{})
	defer a.Close()
	node := &hostNode{}
	b, err := Open(Config{URL: "unix://" + s.Socket, Password: "s3cret", Node: "b", Lease: unit.Duration(time.Second)}, "host", node, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	eventually(t, "both are trusted, and one calls", func() bool { return a.Holds() && b.Holds() && a.Status().Caller != "" && b.Status().Caller != "" })
	for address, lease := range map[string]time.Duration{"h:1": time.Hour, "h:2": 50 * time.Millisecond} {
		if err := a.Enroll(t.Context(), "app", address, lease); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "it hears of both", func() bool { r, _ := node.heard(); return r == "app h:1 app h:2 " })
	eventually(t, "one that says nothing is forgotten", func() bool { r, _ := node.heard(); return r == "app h:1 " })
	if err := a.Dismiss(t.Context(), "app", "h:1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it hears who was deregistered", func() bool { _, d := node.heard(); return d == "app h:1" })
	if node.forgotten != 1 {
		t.Errorf("everything was given up %d times: want once, at the start", node.forgotten)
	}
	testOrders(t, a, b)
}

func TestWhoseRegistrationIsOverdue(t *testing.T) {
	start := time.Now()
	w := make(roster)
	one := Replica{Pool: "app", Address: "h:1", Lease: 10 * time.Second, Mark: "1"}
	renewed := one
	renewed.Mark = "2"
	for _, step := range []struct {
		after time.Duration
		found []Replica
		want  int
	}{
		{0, []Replica{one}, 0},
		{14 * time.Second, []Replica{one}, 0},
		{14500 * time.Millisecond, []Replica{renewed}, 0},
		{29 * time.Second, []Replica{renewed}, 0},
		{29500 * time.Millisecond, []Replica{renewed}, 1},
		{30 * time.Second, nil, 0},
		{31 * time.Second, []Replica{renewed}, 0}, // back again
	} {
		if got := len(w.overdue(step.found, 5*time.Second, start.Add(step.after))); got != step.want {
			t.Errorf("after %s: %d overdue, want %d", step.after, got, step.want)
		}
	}
}

func FuzzReadReplica(f *testing.F) {
	f.Add("app h:1", "1000:1:ABC:0")
	f.Add("app", "1:1:1")
	f.Add(" ", "-1:::")
	f.Fuzz(func(t *testing.T, key, mark string) {
		r, err := readReplica(key, mark, "self")
		if err == nil && (r.key() != key || r.Mark != mark || r.Lease <= 0) {
			t.Errorf("%q %q: %+v", key, mark, r)
		}
	})
}
