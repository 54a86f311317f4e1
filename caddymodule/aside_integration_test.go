package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// stateOf is what a gateway says of a replica of its only pool.
func stateOf(e *edge, address string) string {
	var s struct {
		Pools []struct {
			Replicas []struct{ Address, State string }
		}
	}
	e.control(http.MethodGet, "status", nil, &s)
	for _, p := range s.Pools {
		for _, r := range p.Replicas {
			if r.Address == address {
				return r.State
			}
		}
	}
	return ""
}

// neverAsks holds that a gateway sends nothing to a replica with a version.
func neverAsks(e *edge, version string) {
	e.t.Helper()
	for range 30 {
		if got := e.get("/api/contacts").Header.Get("X-App-Version"); got == version {
			e.t.Fatalf("a request went to the replica with %s, which was set aside", version)
		}
	}
}

func TestADrainByHandReachesTheFleetAndOutlivesRestarts(t *testing.T) {
	r := newRolling(t)
	one, two := startReplica(t, "v1"), startReplica(t, "v2")
	r.all(func(i int) { r.see(i, one, two) })
	for _, n := range r.nodes {
		n.awaitTrustAt("/contacts")
		eventually(t, n.name+" has both", func() bool { return stateOf(n.edge, one.address) == "up" && stateOf(n.edge, two.address) == "up" })
	}
	drained := func(n *fleetProcess) {
		t.Helper()
		eventually(t, n.name+" has set it aside", func() bool { return stateOf(n.edge, one.address) == "drained" })
		neverAsks(n.edge, "v1")
	}
	if code := r.nodes[0].control(http.MethodPost, "pools/app/drain", map[string]string{"replica": one.address}, nil); code != http.StatusOK {
		t.Fatalf("drain: %d", code)
	}
	for _, n := range r.nodes {
		drained(n)
	}

	// The node that was asked is killed, and another one, which loses its state.
	for _, i := range []int{0, 1} {
		n := r.nodes[i]
		n.signal(syscall.SIGKILL)
		_ = n.command.Wait() // it was killed
		if i == 1 {
			if err := os.RemoveAll(n.stateDir); err != nil {
				t.Fatal(err)
			}
		}
		n.start()
		n.awaitTrustAt("/contacts")
		drained(n)
	}
	r.redis.Say("FLUSHALL")
	for _, n := range r.nodes {
		n.awaitTrustAt("/contacts")
	}
	eventually(t, "the fleet knows it again", func() bool { return r.redis.Say("HEXISTS", "edge:fleet:{edge}:replicas", "app "+one.address) == "1" })
	for _, n := range r.nodes {
		drained(n)
	}

	// Taken back at a third node, while one is dead that has it in its state.
	r.nodes[0].signal(syscall.SIGKILL)
	_ = r.nodes[0].command.Wait() // it was killed
	if code := r.nodes[2].control(http.MethodPost, "pools/app/undrain", map[string]string{"replica": one.address}, nil); code != http.StatusOK {
		t.Fatalf("undrain: %d", code)
	}
	r.nodes[0].start()
	for _, n := range r.nodes {
		n.awaitTrustAt("/contacts")
		eventually(t, n.name+" has taken it back", func() bool { return stateOf(n.edge, one.address) == "up" })
	}
}

func TestADrainByHandOutlivesARestartOfOneNode(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v2")
	e := newEdge(t)
	block := staticPool(one.address, two.address)
	both := func(state string) {
		t.Helper()
		eventually(t, "the first is "+state, func() bool { return stateOf(e, one.address) == state && stateOf(e, two.address) == "up" })
	}
	restart := func() {
		t.Helper()
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := e.load(block, sampleSite); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.load(block, sampleSite); err != nil {
		t.Fatal(err)
	}
	both("up")
	for _, step := range []struct{ word, state string }{{"drain", "drained"}, {"undrain", "up"}} {
		if code := e.control(http.MethodPost, "pools/app/"+step.word, map[string]string{"replica": one.address}, nil); code != http.StatusOK {
			t.Fatalf("%s: %d", step.word, code)
		}
		both(step.state)
		for range 2 {
			restart()
			both(step.state)
			if step.word == "drain" {
				neverAsks(e, "v1")
			}
		}
	}
	text, err := os.ReadFile(fmt.Sprint(e.stateDir, "/", asideName))
	if err != nil || string(text) != "{}" {
		t.Errorf("%s, %v: want nobody", text, err)
	}
}
