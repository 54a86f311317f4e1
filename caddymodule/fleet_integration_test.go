package caddymodule

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"
)

func decoded[T any](t *testing.T, text string) *T {
	t.Helper()
	value := new(T)
	if err := json.Unmarshal([]byte(text), value); err != nil {
		t.Errorf("%v in %s", err, text)
	}
	return value
}

// within polls until the condition holds.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-tick.C {
		if holds() {
			return
		}
	}
	t.Fatalf("not within %s: %s", limit, what)
}

// Three gateways, each a process, and a real Redis. Whatever happens to them, a
// purge that is acknowledged at one holds at all, and no visitor is left alone.
func TestFleetOfProcesses(t *testing.T) {
	w := newFleetWorld(t, "1s")
	for _, n := range w.nodes {
		for i := range 2 {
			w.visit(n, fmt.Sprint("/page/", i))
		}
	}
	defer w.judged()
	a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
	must := func(n *fleetProcess, why string) {
		t.Helper()
		if id, done := w.deploy(n, time.Minute); !done {
			t.Errorf("%s: purge %q was not acknowledged", why, id)
		}
	}
	for _, n := range w.nodes {
		must(n, "in calm")
	}

	b.signal(syscall.SIGSTOP)
	began := time.Now()
	must(a, "while a node is stopped")
	if waited := time.Since(began); waited < 500*time.Millisecond {
		t.Errorf("the purge was acknowledged after %s: want it to wait for the stopped node's lease", waited)
	}
	b.signal(syscall.SIGCONT)
	must(c, "when it is resumed")
	b.awaitTrust()

	// Cut off, a node serves its visitors, and nothing that may be old.
	b.line.Cut()
	must(c, "while a node is cut off")
	within(t, time.Minute, "the others have taken it off", func() bool { return len(a.status().Fleet.Members) == 2 })
	if s := b.status(); s == nil || s.Fleet.Trusted {
		t.Errorf("%+v: want a node that is cut off to know it", s)
	}
	b.line.Mend()
	b.awaitTrust()

	// Redis hangs: the purge is not acknowledged, and is once Redis goes on.
	succeeds := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	succeeds(w.redis.Signal(syscall.SIGSTOP))
	id, done := w.deploy(a, 2*time.Second)
	if done || id == "" {
		t.Errorf("purge %q, acknowledged %v, while Redis hangs: want it accepted only", id, done)
	}
	within(t, time.Minute, "nobody is trusted", func() bool {
		for _, n := range w.nodes {
			if s := n.status(); s == nil || s.Fleet.Trusted {
				return false
			}
		}
		return true
	})
	succeeds(w.redis.Signal(syscall.SIGCONT))
	within(t, time.Minute, "the purge is carried out once Redis is back", func() bool {
		var record struct{ State string }
		a.control("GET", "purge/"+id, nil, &record)
		return record.State == "done"
	})

	before := a.status().Generation
	w.redis.Say("FLUSHALL")
	must(b, "after a flush")
	if s := b.status(); s.Generation <= before {
		t.Errorf("generation %d after a flush: was %d", s.Generation, before)
	}
	w.redis.Kill()
	succeeds(w.redis.Start())
	must(c, "after Redis was killed, and started with nothing")

	// The one with a disk is killed, misses a purge, and is back.
	c.signal(syscall.SIGKILL)
	must(a, "while a node is dead")
	c.again()
	must(b, "when it is back")
	for _, n := range w.nodes {
		within(t, time.Minute, n.name+" sees three members", func() bool {
			s := n.status()
			return s != nil && len(s.Fleet.Members) == 3 && s.Fleet.Trusted && s.Fleet.Lag == 0
		})
	}
}
