package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/history"
	"github.com/edgegw/edge/internal/purge/standin/cdn"
)

// watched is a rollout that visitors see through a CDN of two tiers. Whatever
// they read is recorded, and judged at the end.
type watched struct {
	*rolling
	sites []string // URLs of the data centres

	mu      sync.Mutex
	history history.History
	stop    chan struct{}
	readers sync.WaitGroup
}

// The CDN's times are bounds that it keeps by its clock, however busy the
// machine is; the pause between edge's two passes is above their sum, and a
// third of it above the spread.
const settles = "settle 1500ms"

var slowCDN = cdn.Options{Spread: 400 * time.Millisecond, Travel: 300 * time.Millisecond}

// pages are what is cached of what visitors ask for; besides, they ask for
// uncached, which every request gets from a replica.
var pages = []string{"/", "/contacts", "/contacts/1", "/contacts/2"}

const uncached = "/api/contacts"

// watch starts a rollout of n replicas, and visitors.
func watch(t *testing.T, n int, o cdn.Options) *watched {
	t.Helper()
	x := &watched{rolling: rollout(t, n, "SETTLES"), stop: make(chan struct{})}
	o.Origins = []string{x.url}
	c, err := cdn.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	accepted := c.Purge
	x.accepted.Store(&accepted)
	for i := range c.Sites() {
		site := httptest.NewServer(c.Site(i))
		t.Cleanup(site.Close)
		x.sites = append(x.sites, site.URL)
	}
	for i := range x.sites {
		for visitor := range 2 {
			x.readers.Go(func() { x.visit(i, visitor) })
		}
	}
	t.Cleanup(func() { // before the sites close
		select {
		case <-x.stop:
		default:
			close(x.stop)
		}
		x.readers.Wait()
	})
	return x
}

// visit has a visitor ask for one page after the other.
func (x *watched) visit(site, visitor int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	paths := append(slices.Clone(pages), uncached)
	for i := visitor; ; i++ {
		select {
		case <-x.stop:
			return
		case <-tick.C:
		}
		r := history.Ask(client, x.sites[site], paths[i%len(paths)])
		x.mu.Lock()
		x.history.Reads = append(x.history.Reads, r)
		x.mu.Unlock()
	}
}

// cached is for history.Kept: which copy a read was given, if it was one.
func cached(r history.Read) (place string, is bool) {
	place, rest, _ := strings.Cut(r.Where, ", ")
	return place, strings.HasPrefix(rest, "HIT")
}

// seenBy waits until every data centre has given what is wanted, to readers who
// come from now on.
func (x *watched) seenBy(what string, wanted func(history.Read) bool) {
	x.t.Helper()
	from := time.Now()
	x.eventually(what, func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		seen := make(map[string]bool)
		for _, r := range x.history.Reads {
			if r.Start.After(from) && r.URL != uncached && wanted(r) {
				place, _ := cached(r)
				seen[place+r.URL] = true
			}
		}
		return len(seen) == len(x.sites)*len(pages)
	})
}

// acknowledged notes that from now on nobody may see another version.
func (x *watched) acknowledged(version string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.history.Deploys = append(x.history.Deploys, history.Deploy{Version: version, Acknowledged: time.Now()})
}

// begin notes that replicas of another version start.
func (x *watched) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := len(x.history.Deploys); n > 0 {
		x.history.Deploys[n-1].Until = time.Now()
	}
}

// judge ends the visits and reports every promise that was broken.
func (x *watched) judge() {
	x.t.Helper()
	close(x.stop)
	x.readers.Wait()
	found := x.history.Violations()
	for i, v := range found {
		if i == 10 {
			x.t.Errorf("and %d more", len(found)-i)
			break
		}
		x.t.Error(v)
	}
	from := make(map[string]int)
	for _, r := range x.history.Reads {
		if fields := strings.Split(r.Where, ", "); len(fields) > 2 {
			from[fields[1]+" from "+strings.TrimRight(fields[2], "-0123456789")]++
		}
	}
	x.t.Logf("%d reads, %v", len(x.history.Reads), from)
}

// calls complains unless as many calls were accepted at Cloudflare.
func (x *watched) calls(when string, want int) {
	x.t.Helper()
	if calls := x.cloudflare.Calls(); len(calls) != want {
		x.t.Errorf("%s: %d calls at Cloudflare, %+v: want %d", when, len(calls), calls, want)
	}
}

// deploy rolls a version out while CI waits for it; midway says what happens
// when some replicas run it.
func (x *watched) deploy(to string, atOnce int, midway func()) {
	x.t.Helper()
	calls := len(x.cloudflare.Calls())
	called := make(chan ran)
	go func() { called <- x.edge("deploy", "--version", to, "--json", "--verify", x.sites[0]+"/contacts") }()
	x.eventually("the call is taken", func() bool {
		last := x.seen().Deploys.Last
		return len(last) > 0 && last[0].Version == to
	})
	x.calls("before the rollout", calls)
	x.begin()
	if midway != nil {
		x.add(to)
		midway()
	}
	x.roll(to, atOnce)
	r := <-called
	var report deployed
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != 0 || report.State != "done" {
		x.t.Fatalf("exit %d, %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
	}
	x.acknowledged(to)
	x.calls("a deploy", calls+2)
}

func TestRollingDeploys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		replicas, atOnce int
		lowerFirst       bool
	}{{1, 1, false}, {3, 1, true}, {10, 5, false}} {
		t.Run(fmt.Sprint(c.replicas, " replicas"), func(t *testing.T) {
			t.Parallel()
			o := slowCDN
			o.LowerFirst = c.lowerFirst
			x := watch(t, c.replicas, o)
			of := func(version string) func(history.Read) bool {
				return func(r history.Read) bool {
					_, hit := cached(r)
					return hit && r.Version == version
				}
			}
			x.seenBy("pages of v1 are hits", of("v1"))
			began := time.Now()
			x.deploy("v2", c.atOnce, x.crash)
			x.seenBy("pages of v2 are hits", of("v2"))
			// Called again, late: done, and no call more.
			if r := x.edge("deploy", "--version", "v2"); r.code != 0 {
				t.Errorf("called again: exit %d\n%s", r.code, r.stderr)
			}
			if c.replicas < 10 {
				x.roll("v2", c.atOnce)
			}
			x.calls("called again, and the same version restarted", 2)
			ended := time.Now()

			// A purge by tag, of pages that have not changed.
			if r := x.edge("purge", "--tag", "pages"); r.code != 0 {
				t.Errorf("purge: exit %d\n%s", r.code, r.stderr)
			}
			x.mu.Lock()
			x.history.Purges = append(x.history.Purges, history.Purge{Called: ended, Acknowledged: time.Now()})
			x.mu.Unlock()
			x.calls("a purge", 4)
			x.seenBy("the pages are hits again", of("v2"))

			// A rollback, of which CI says nothing.
			x.begin()
			x.roll("v1", c.atOnce)
			x.eventually("the rollback is done", func() bool {
				last := x.seen().Deploys.Last[0]
				return last.Version == "v1" && last.State == "done"
			})
			x.acknowledged("v1")
			x.calls("a rollback", 6)
			x.seenBy("pages of v1 are hits again", of("v1"))
			if last := x.seen().Deploys.Last; len(last) != 2 || last[0].Actor != "edge" || last[0].Traffic["v1"].Requests == 0 || last[0].Traffic["v2"].Requests == 0 {
				t.Errorf("history: %+v", last)
			}
			x.judge()
			kept := x.history.Kept("v2", began, ended, cached)
			if kept.Hits < 10 || len(kept.Lost) > 0 {
				t.Errorf("of v2, %d reads, %d hits; copies that the purge of v1 took away: %+v", kept.Reads, kept.Hits, kept.Lost)
			}
		})
	}
}

// crash kills the newest replica; an orchestrator notices when it is dead.
func (x *watched) crash() {
	x.t.Helper()
	crashed := x.replicas[len(x.replicas)-1]
	x.eventually("the new replica is up", func() bool { return x.state(crashed.address) == "up" })
	if err := crashed.process.Process.Signal(syscall.SIGKILL); err != nil && err != os.ErrProcessDone {
		x.t.Fatal(err)
	}
	x.replicas = x.replicas[:len(x.replicas)-1]
	x.name()
}
