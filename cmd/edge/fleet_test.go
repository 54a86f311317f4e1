package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/edgegw/edge/internal/purge/standin"
	"github.com/edgegw/edge/internal/redistest"
)

// fleet is three gateways that meet in a real Redis, and a stand-in of Cloudflare.
type fleet struct {
	t     *testing.T
	redis *redistest.Server
	cdn   *standin.Server
	nodes []*gateway
}

// memberView is a node's status, as far as it is about the fleet.
type memberView struct {
	Fleet struct {
		Node, Caller string
		Fault        string
		Token        uint64
		Trusted      bool
		Members      []struct{ Node string }
	}
	Pools []struct {
		Replicas []struct{ Address, State string }
	}
}

func newFleet(t *testing.T, lines string) *fleet {
	t.Helper()
	return startFleet(t, lines, nil, func(*gateway) {})
}

// startFleet has calls of Cloudflare that are accepted handed on, and each
// node's configuration edited before it starts.
func startFleet(t *testing.T, lines string, accepted func(standin.Call), edit func(*gateway)) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: redistest.New(t)}
	server, cdnLines := cloudflare(t, accepted)
	f.cdn = server
	// Time enough between the passes for things to happen there.
	cdnLines = strings.Replace(cdnLines, "settle 10ms", "settle 3s", 1)
	replica := origin(t)
	for i := range 3 {
		g := configure(t, replica, cdnLines, fmt.Sprintf("fleet unix://%s {\nnode node-%d\nlease 2s\n}", f.redis.Socket, i), lines)
		f.nodes = append(f.nodes, g)
		edit(g)
		g.launch()
	}
	for _, g := range f.nodes {
		g.ready()
	}
	f.whole()
	return f
}

// whole waits until all are trusted members, and agree who calls. It gives the
// caller first, and then the others.
func (f *fleet) whole() []*gateway {
	f.t.Helper()
	var sorted []*gateway
	f.nodes[0].eventually("three members that agree about their caller", func() bool {
		sorted = nil
		callers := make(map[string]bool)
		for _, g := range f.nodes {
			s := g.member()
			if !s.Fleet.Trusted || s.Fleet.Fault != "" || s.Fleet.Caller == "" || len(s.Fleet.Members) != 3 {
				return false
			}
			callers[s.Fleet.Caller] = true
			sorted = append(sorted, g)
			if s.Fleet.Caller == s.Fleet.Node {
				sorted = append([]*gateway{g}, sorted[:len(sorted)-1]...)
			}
		}
		return len(callers) == 1
	})
	return sorted
}

func (g *gateway) member() (s memberView) {
	_ = json.Unmarshal([]byte(g.control(http.MethodGet, "status", "").text), &s) // no answer, no member
	return s
}

func (g *gateway) control(method, path, body string) answer {
	r, err := http.NewRequest(method, g.url+"/.edge/"+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+controlToken)
	r.Header.Set("Content-Type", "application/json")
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(text), err}
}

// order has a tag purged, and gives the purge's id.
func (g *gateway) order(tag, key string) string {
	g.t.Helper()
	a := g.control(http.MethodPost, "purge", fmt.Sprintf(`{"tags":[%q],"idempotency_key":%q}`, tag, key))
	var r report
	if err := json.Unmarshal([]byte(a.text), &r); err != nil || a.code != http.StatusAccepted {
		g.t.Fatalf("%d %v %s\n%s", a.code, a.err, a.text, g.log)
	}
	return r.ID
}

// done waits until a node says that a purge is, wherever it was accepted.
func (g *gateway) done(id string) {
	g.t.Helper()
	var last string
	g.eventually("purge "+id+" is done", func() bool {
		a := g.control(http.MethodGet, "purge/"+id, "")
		last = a.text
		var r report
		if json.Unmarshal([]byte(a.text), &r) != nil {
			return false
		}
		if r.State == "partial" || r.State == "failed" {
			g.t.Fatalf("%s\n%s", last, g.log)
		}
		return r.State == "done" && r.Exit == 0
	})
}

// told counts the calls that named a tag.
func (f *fleet) told(tag string) int {
	n := 0
	for _, c := range f.cdn.Calls() {
		if slices.Contains(c.Items, tag) {
			n++
		}
	}
	return n
}

func (f *fleet) awaitCall(tag string) {
	f.t.Helper()
	f.nodes[0].eventually("the first pass of "+tag, func() bool { return f.told(tag) > 0 })
}

// signal is for a gateway, or Redis.
func (f *fleet) signal(p interface{ Signal(os.Signal) error }, sig syscall.Signal) {
	f.t.Helper()
	if err := p.Signal(sig); err != nil {
		f.t.Fatal(err)
	}
}

func TestOneNodeOfAFleetCallsCloudflare(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "")
	sorted := f.whole()

	id := sorted[1].order("a", "deploy-1")
	if again := sorted[2].order("a", "deploy-1"); again != id {
		t.Errorf("%s, then %s at another node: want one purge for one key", id, again)
	}
	if a := sorted[0].control(http.MethodPost, "purge", `{"tags":["b"],"idempotency_key":"deploy-1"}`); a.code != http.StatusConflict {
		t.Errorf("%d %s: want 409 for another purge under the key", a.code, a.text)
	}
	for _, g := range sorted {
		g.done(id)
	}
	if n := f.told("a"); n != 2 {
		t.Errorf("Cloudflare was told %d times: want twice", n)
	}

	// Each node is asked at once: the caller makes their passes together.
	before := len(f.cdn.Calls())
	ids := make([]string, 3)
	var asked sync.WaitGroup
	for i, g := range sorted {
		asked.Go(func() { ids[i] = g.order(fmt.Sprint("c", i), "") })
	}
	asked.Wait()
	for i, id := range ids {
		sorted[(i+1)%3].done(id)
		if n := f.told(fmt.Sprint("c", i)); n != 2 {
			t.Errorf("Cloudflare was told of c%d %d times: want twice", i, n)
		}
	}
	t.Logf("three purges at once took %d calls", len(f.cdn.Calls())-before)

	if r := sorted[1].edge("status"); !strings.Contains(r.stdout, "CDNs are called by "+sorted[0].member().Fleet.Node) {
		t.Errorf("status does not name the caller:\n%s", r.stdout)
	}
}

func TestACallerThatDiesOrIsPaused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "")
	sorted := f.whole()
	token := sorted[1].member().Fleet.Token

	// Paused between its passes: another one takes over, and what the first one
	// does when it is back does not count.
	id := sorted[1].order("paused", "")
	f.awaitCall("paused")
	f.signal(sorted[0].process.Process, syscall.SIGSTOP)
	sorted[2].done(id)
	f.signal(sorted[0].process.Process, syscall.SIGCONT)
	sorted[0].done(id)
	sorted = f.whole()
	if n := f.told("paused"); n < 2 || n > 3 {
		t.Errorf("Cloudflare was told %d times: want twice, and once more at most", n)
	}
	if later := sorted[1].member().Fleet.Token; later < token {
		t.Errorf("token %d, then %d: want it to grow", token, later)
	}

	// Killed there: the same; its purges end although it does not come back, and
	// it knows of that when it does.
	dead := sorted[0]
	id = dead.order("killed", "key")
	f.awaitCall("killed")
	dead.kill()
	sorted[1].done(id)
	if again := sorted[2].order("killed", "key"); again != id {
		t.Errorf("%s, then %s: want the key to outlive the node", id, again)
	}
	if n := f.told("killed"); n < 2 || n > 3 {
		t.Errorf("Cloudflare was told %d times: want twice, and once more at most", n)
	}
	dead.launch()
	dead.ready()
	dead.done(id)
	f.whole()
	if n := f.told("killed"); n > 3 {
		t.Errorf("Cloudflare was told %d times once the node was back", n)
	}
}

func TestACallerWithoutItsRedis(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "")
	sorted := f.whole()
	id := sorted[1].order("hung", "")
	f.awaitCall("hung")
	// Nobody can be asked: whoever has the purge finishes it.
	f.signal(f.redis, syscall.SIGSTOP)
	sorted[0].done(id)
	sorted[1].done(id)
	if n := f.told("hung"); n < 2 || n > 4 {
		t.Errorf("Cloudflare was told %d times: want twice by one node, and by two at most", n)
	}
	f.signal(f.redis, syscall.SIGCONT)
	sorted = f.whole()
	sorted[2].done(id)

	token := sorted[0].member().Fleet.Token
	id = sorted[1].order("flushed", "")
	f.awaitCall("flushed")
	if said := f.redis.Say("FLUSHALL"); said != "OK" {
		t.Fatal(said)
	}
	sorted[1].done(id)
	sorted = f.whole()
	if later := sorted[0].member().Fleet.Token; later <= token {
		t.Errorf("token %d after a flush: want more than %d", later, token)
	}
	if n := f.told("flushed"); n < 2 || n > 4 {
		t.Errorf("Cloudflare was told %d times", n)
	}
}

// state is what a node says of a replica, "" when it does not know it.
func (g *gateway) state(address string) string {
	for _, p := range g.member().Pools {
		for _, r := range p.Replicas {
			if r.Address == address {
				return r.State
			}
		}
	}
	return ""
}

func TestAReplicaThatRegistersIsKnownToTheFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "")
	sorted := f.whole()
	replica := origin(t)
	post := func(g *gateway, method, path, body string, want int) {
		t.Helper()
		if a := g.control(method, path, body); a.code != want {
			t.Fatalf("%s %s: %d %v %s: want %d", method, path, a.code, a.err, a.text, want)
		}
	}
	everywhere := func(what, want string) {
		t.Helper()
		for i, g := range sorted {
			g.eventually(fmt.Sprintf("%s: node %d says %q of the replica", what, i, want), func() bool {
				return g.state(replica) == want
			})
		}
	}
	body := fmt.Sprintf(`{"pool":"app","address":%q,"lease":"10m"}`, replica)
	post(sorted[1], http.MethodPost, "replicas", body, http.StatusOK)
	everywhere("registered at one node", "up")

	post(sorted[2], http.MethodPost, "pools/app/drain", fmt.Sprintf(`{"replica":%q}`, replica), http.StatusOK)
	everywhere("drained at another", "drained")
	post(sorted[0], http.MethodPost, "pools/app/undrain", fmt.Sprintf(`{"replica":%q}`, replica), http.StatusOK)
	everywhere("taken back at the third", "up")

	// A node that starts later knows it too.
	late := sorted[2]
	late.kill()
	late.launch()
	late.ready()
	f.whole()
	everywhere("after a restart", "up")

	// Redis that loses everything, or is away, takes nobody away.
	if said := f.redis.Say("FLUSHALL"); said != "OK" {
		t.Fatal(said)
	}
	f.whole()
	everywhere("after a flush", "up")
	f.signal(f.redis, syscall.SIGSTOP)
	post(sorted[1], http.MethodPost, "replicas", body, http.StatusOK)
	everywhere("without Redis", "up")
	f.signal(f.redis, syscall.SIGCONT)
	f.whole()

	post(sorted[1], http.MethodPost, "replicas", body, http.StatusOK)
	post(sorted[0], http.MethodDelete, "replicas/"+replica, "", http.StatusNoContent)
	everywhere("deregistered at one node", "")

	// One that says nothing any more is gone everywhere after lease and grace.
	post(sorted[2], http.MethodPost, "replicas", strings.Replace(body, "10m", "2s", 1), http.StatusOK)
	everywhere("registered for a moment", "")
}
