package caddymodule

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/purge/standin"
)

// rolling is three gateways, each with a list of replicas of its own, so that a
// test says which of them notices what, and when.
type rolling struct {
	*fleetWorld
	api   *standin.Server
	lists []string
}

func newRolling(t *testing.T) *rolling {
	t.Helper()
	const token, zone = "cf-4f1d7a90b2c34e58a6d1e2f3", "0123456789abcdef0123456789abcdef"
	api, err := standin.New(standin.Options{Token: token, Plan: "business", Zones: []standin.Zone{{ID: zone, Name: "example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rolling{fleetWorld: newFleet(t), api: api}
	address := startOrigin(t, api.ServeHTTP)
	for i := range 3 {
		list := filepath.Join(r.redis.Dir, fmt.Sprint("replicas-", i))
		if err := os.WriteFile(list, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.lists = append(r.lists, list)
		r.add("3s", fmt.Sprintf(`pool app {
	discover file %q
	health /healthz {
		interval 100ms
		version_header X-App-Version
	}
	slow_start 1ms
	drain 100ms
}
cloudflare {
	zone_id %s
	api_token %s
	plan business
	api_url http://%s/client/v4
}`, list, zone, token, address), sampleSite)
	}
	return r
}

// see changes what a node looks up.
func (r *rolling) see(node int, replicas ...replica) {
	r.t.Helper()
	var text strings.Builder
	for _, one := range replicas {
		text.WriteString(one.address + "\n")
	}
	if err := os.WriteFile(r.lists[node], []byte(text.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rolling) all(see func(node int)) {
	for i := range r.nodes {
		see(i)
	}
}

// last is a node's newest deploy.
func (n *fleetProcess) last() deploy.Record {
	var answer struct{ Deploys []deploy.Record }
	n.control(http.MethodGet, "deploys?limit=1", nil, &answer)
	if len(answer.Deploys) == 0 {
		return deploy.Record{}
	}
	return answer.Deploys[0]
}

// awaitDeploy waits until a node's newest deploy is done with a version.
func (r *rolling) awaitDeploy(node int, version string) deploy.Record {
	r.t.Helper()
	var last deploy.Record
	eventually(r.t, fmt.Sprintf("edge-%d is done with %s", node, version), func() bool {
		last = r.nodes[node].last()
		return last.Version == version && last.Stage == deploy.Done
	})
	return last
}

// stores waits until a node answers with a version from its cache.
func (r *rolling) stores(node int, version string) {
	r.t.Helper()
	eventually(r.t, fmt.Sprintf("edge-%d stores %s", node, version), func() bool {
		got := r.nodes[node].get("/contacts")
		return got.Header.Get("X-App-Version") == version && strings.Contains(got.cacheStatus(), "hit")
	})
}

// calls are what Cloudflare was told about versions.
func (r *rolling) calls() (tags []string) {
	for _, call := range r.api.Calls() {
		tags = append(tags, strings.Join(call.Items, ","))
	}
	return tags
}

// Nobody calls; each node notices for itself that the last old replica is gone.
func TestAFleetNoticesARolloutOnce(t *testing.T) {
	r := newRolling(t)
	one, two := startReplica(t, "v1"), startReplica(t, "v2")
	r.all(func(i int) { r.see(i, one) })
	for _, n := range r.nodes {
		n.awaitTrustAt("/contacts")
	}
	r.all(func(i int) { r.stores(i, "v1") })
	r.all(func(i int) { r.see(i, one, two) })
	r.all(func(i int) {
		eventually(t, fmt.Sprintf("edge-%d sees both", i), func() bool { return r.nodes[i].last().Stage == deploy.Rolling })
	})

	// One notices; the others see the old replica still, ask it, and keep nothing.
	r.see(0, two)
	first := r.awaitDeploy(0, "v2")
	for _, i := range []int{1, 2} {
		old := 0
		for range 40 {
			got := r.nodes[i].get("/contacts")
			if strings.Contains(got.cacheStatus(), "hit") {
				t.Fatalf("edge-%d: %s of %s after its purge", i, got.cacheStatus(), got.Header.Get("X-App-Version"))
			}
			if got.Header.Get("X-App-Version") == "v1" {
				old++
			}
		}
		if old == 0 {
			t.Errorf("edge-%d did not ask the old replica: nothing is shown", i)
		}
	}
	for _, i := range []int{1, 2} {
		r.see(i, two)
		if got := r.awaitDeploy(i, "v2"); got.Purge != first.Purge {
			t.Errorf("edge-%d ordered %s: want %s, the one of all", i, got.Purge, first.Purge)
		}
	}
	r.all(func(i int) { r.stores(i, "v2") })
	if want := []string{"v-v1", "v-v1"}; !slices.Equal(r.calls(), want) {
		t.Fatalf("Cloudflare was told %v: want %v", r.calls(), want)
	}

	// All at once, back, and then the same rollout as before: another purge.
	purges := map[string]bool{first.Purge: true}
	want := []string{"v-v1", "v-v1"}
	for _, step := range []struct {
		to      replica
		version string
		tag     string
	}{{one, "v1", "v-v2"}, {two, "v2", "v-v1"}} {
		r.all(func(i int) { r.see(i, step.to) })
		r.all(func(i int) { purges[r.awaitDeploy(i, step.version).Purge] = true })
		r.all(func(i int) { r.stores(i, step.version) })
		if want = append(want, step.tag, step.tag); !slices.Equal(r.calls(), want) {
			t.Fatalf("Cloudflare was told %v: want %v", r.calls(), want)
		}
	}
	for _, n := range r.nodes {
		var listed struct{ Purges []purge.Record }
		n.control(http.MethodGet, "purge", nil, &listed)
		for _, p := range listed.Purges {
			if !purges[p.ID] || !strings.HasPrefix(p.Node, "edge-") {
				t.Errorf("%s lists %s of %q: want the three of the fleet", n.name, p.ID, p.Node)
			}
		}
		if len(listed.Purges) != 3 {
			t.Errorf("%s lists %d purges: want 3", n.name, len(listed.Purges))
		}
	}
	if len(purges) != 3 {
		t.Errorf("%d purges for three rollouts: %v", len(purges), purges)
	}
}
