package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/redistest"
)

// newSharing is three gateways with a cache in common, and an origin that counts.
func newSharing(t *testing.T) (w *fleetWorld, asked *atomic.Int64) {
	t.Helper()
	w, asked = newFleet(t), new(atomic.Int64)
	origin := startOrigin(t, func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/page/") {
			asked.Add(1)
		}
		rw.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(rw, w.version.Load())
	})
	for range 3 {
		// Longer than by default: the machine is busy, and what is held here is not
		// how fast it is.
		n := w.add("3s", staticPool(origin)+"\ncache {\n\tshared 16MiB {\n\t\ttimeout 100ms\n\t}\n}\n", fleetSite)
		n.host = "127.0.0.1" // without the port, by which they differ
	}
	for _, n := range w.nodes {
		n.awaitTrust()
	}
	return w, asked
}

// inCommon waits until a node has a page from the cache in common, which another
// stores under a new name each time: a look may be too late on a busy machine, and
// then the node stores what the origin has given it.
func (w *fleetWorld) inCommon(name string, from, to *fleetProcess) response {
	w.t.Helper()
	var got response
	i := 0
	eventually(w.t, to.name+" finds what "+from.name+" has stored", func() bool {
		i++
		path, before := fmt.Sprintf("/page/%s-%d", name, i), keysOf(w.redis)
		from.get(path)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for tries := 0; tries < 50 && keysOf(w.redis) == before; tries++ {
			<-tick.C // it may not come at all: then Redis was given a rest
		}
		got = to.get(path)
		return strings.Contains(got.cacheStatus(), "detail=shared")
	})
	return got
}

func TestNodesHaveACacheInCommon(t *testing.T) {
	w, _ := newSharing(t)
	a, b, c := w.nodes[0], w.nodes[1], w.nodes[2]
	w.inCommon("first", a, b)

	// What is purged at one node is gone for one that has never had it in memory,
	// and for one that starts afterwards.
	for i := range 20 {
		a.get(fmt.Sprint("/page/old-", i))
	}
	eventually(t, "all of it is there", func() bool { return keysOf(w.redis) >= 20 })
	c.signal(syscall.SIGKILL)
	if id, done := w.deploy(b, time.Minute); !done {
		t.Fatalf("purge %s was not acknowledged", id)
	}
	c.again()
	for i := range 20 {
		for _, n := range w.nodes {
			if got := n.get(fmt.Sprint("/page/old-", i)); got.Text != "1" {
				t.Errorf("%s gave version %s, %s, after the purge", n.name, got.Text, got.cacheStatus())
			}
		}
	}
	if got := w.inCommon("new", a, c); got.Text != "1" {
		t.Errorf("version %s: want 1", got.Text)
	}

	// A Redis that hangs costs nobody an answer.
	if err := w.redis.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if got := b.get(fmt.Sprint("/page/slow-", i)); got.StatusCode != http.StatusOK {
			t.Errorf("%d while Redis hangs", got.StatusCode)
		}
	}
	if err := w.redis.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, n := range w.nodes {
		n.awaitTrust()
	}
	w.inCommon("again", b, a)
}

// keysOf counts what is in the cache in common.
func keysOf(r *redistest.Server) int {
	return len(strings.Fields(r.Say("KEYS", "edge:cache:*")))
}

// The history of visits and purges, with everybody's cache in common: as
// TestFleetOfProcesses, with nodes killed and stopped meanwhile.
func TestAFleetWithACacheInCommonForgetsWhatIsPurged(t *testing.T) {
	w, asked := newSharing(t)
	for _, n := range w.nodes {
		for i := range 3 {
			w.visit(n, fmt.Sprint("/page/", i))
		}
	}
	defer w.judged()
	purge := func(n *fleetProcess) {
		t.Helper()
		if id, done := w.deploy(n, time.Minute); !done {
			t.Errorf("purge %q was not acknowledged", id)
		}
	}
	for round := range 4 {
		for _, n := range w.nodes {
			purge(n)
		}
		victim := w.nodes[round%3]
		if round%2 == 0 {
			victim.signal(syscall.SIGSTOP)
			purge(w.nodes[(round+1)%3])
			victim.signal(syscall.SIGCONT)
			purge(w.nodes[(round+2)%3])
		} else {
			victim.signal(syscall.SIGKILL)
			purge(w.nodes[(round+1)%3])
			victim.again()
		}
		purge(victim)
	}
	w.redis.Say("FLUSHALL")
	purge(w.nodes[0])
	w.stopping.Store(true)
	w.visitors.Wait()
	borrowed := int64(0)
	for _, n := range w.nodes {
		var s struct {
			Cache struct{ Shared struct{ Hits int64 } }
		}
		n.control(http.MethodGet, "status", nil, &s)
		borrowed += s.Cache.Shared.Hits
	}
	t.Logf("the origin was asked %d times, and the cache in common gave %d answers", asked.Load(), borrowed)
	if borrowed == 0 {
		t.Error("nothing came from the cache in common: nothing is shown")
	}
}
