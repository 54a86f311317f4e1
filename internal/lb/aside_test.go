package lb

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// twoVersions is a pool of two replicas that run v1 and one that runs v2.
func twoVersions(t *testing.T) (*Pool, []*app) {
	t.Helper()
	apps := []*app{newApp(t, say("v1")), newApp(t, say("v1")), newApp(t, say("v2"))}
	for i, version := range []string{"v1", "v1", "v2"} {
		apps[i].version.Store(version)
	}
	p, _ := upPool(t, testConfig(apps...), apps...)
	return p, apps
}

func addressesIn(list []ReplicaStatus) []string {
	var all []string
	for _, r := range list {
		all = append(all, r.Address)
	}
	slices.Sort(all)
	return all
}

func TestAVersionIsSetAsideAndTakenBack(t *testing.T) {
	p, apps := twoVersions(t)
	want := []string{apps[0].address, apps[1].address}
	slices.Sort(want)
	list, err := p.SetAside(Selection{Version: "v1"}, false)
	if err != nil || !slices.Equal(addressesIn(list), want) {
		t.Fatalf("%v, %v: want both that run v1", addressesIn(list), err)
	}
	for range 20 {
		if code, text, _ := mustGet(t, p); code != 200 || text != "v2" {
			t.Fatalf("%d %q: want v2 alone to answer", code, text)
		}
	}
	for _, a := range apps[:2] {
		eventually(t, "drained", func() bool { r, _ := replicaOf(p, a.address); return r.State == "drained" })
	}
	if list, err := p.SetAside(Selection{Version: "v1"}, false); err != nil || len(list) != 2 {
		t.Errorf("once more: %v, %v: want the same", list, err)
	}
	back, err := p.TakeBack(Selection{Version: "v1"})
	if err != nil || !slices.Equal(addressesIn(back), want) {
		t.Fatalf("%v, %v: want both back", addressesIn(back), err)
	}
	for _, a := range apps[:2] {
		eventually(t, "up again", func() bool { r, _ := replicaOf(p, a.address); return r.State == "up" })
	}
	if list, err := p.TakeBack(Selection{Version: "v1"}); err != nil || len(list) != 0 {
		t.Errorf("once more: %v, %v: want nobody", list, err)
	}
}

func TestTheLastReplicasAreNotSetAsideUnlessForced(t *testing.T) {
	p, apps := twoVersions(t)
	if _, err := p.SetAside(Selection{Version: "v1"}, false); err != nil {
		t.Fatal(err)
	}
	for name, which := range map[string]Selection{
		"by version": {Version: "v2"}, "by address": {Replica: apps[2].address},
	} {
		list, err := p.SetAside(which, false)
		if !errors.Is(err, ErrLastReplica) || !strings.Contains(err.Error(), apps[2].address) || list != nil {
			t.Errorf("%s: %v, %v: want that it is refused, and who it is", name, list, err)
		}
	}
	if r, _ := replicaOf(p, apps[2].address); r.State != "up" {
		t.Errorf("it is %s: want nothing done", r.State)
	}
	if _, err := p.SetAside(Selection{Version: "v2"}, true); err != nil {
		t.Errorf("forced: %v", err)
	}
	if code, _, _ := mustGet(t, p); code != 503 {
		t.Errorf("%d from a pool whose replicas are all set aside: want 503", code)
	}
}

func TestASickReplicaIsSetAsideBesideOthers(t *testing.T) {
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	p, seen := upPool(t, testConfig(a, b), a, b)
	for _, one := range []*app{a, b} {
		one.healthy.Store(false)
		seen.await(t, ReplicaSick, one.address)
	}
	if _, err := p.SetAside(Selection{Replica: a.address}, false); err != nil {
		t.Errorf("%v: want it done, nothing is worse for it", err)
	}
	if _, err := p.SetAside(Selection{Replica: b.address}, false); !errors.Is(err, ErrLastReplica) {
		t.Errorf("%v: want the last one refused", err)
	}
}

func TestWhoIsNotThereIsNotSetAside(t *testing.T) {
	p, _ := twoVersions(t)
	for _, do := range []func(Selection) ([]ReplicaStatus, error){
		p.TakeBack, func(s Selection) ([]ReplicaStatus, error) { return p.SetAside(s, true) },
	} {
		if _, err := do(Selection{Replica: "nobody"}); !errors.Is(err, ErrUnknownReplica) {
			t.Errorf("%v: want ErrUnknownReplica", err)
		}
		if _, err := do(Selection{Version: "v9"}); !errors.Is(err, ErrUnknownReplica) || !strings.Contains(err.Error(), "v1, v2") {
			t.Errorf("%v: want ErrUnknownReplica, and which versions there are", err)
		}
	}
}

func TestAReplicaIsSetAsideBeforeItIsFound(t *testing.T) {
	apps := []*app{newApp(t, say("v1")), newApp(t, say("v2"))}
	p := NewPool("app", nil)
	t.Cleanup(func() { _ = p.Close() })
	p.KeepAside([]string{apps[0].address, "no address"})
	if got := p.Aside(); !slices.Equal(got, []string{apps[0].address}) {
		t.Errorf("%v: want the one that is meant", got)
	}
	if err := p.Configure(testConfig(apps...)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other is up", func() bool { r, _ := replicaOf(p, apps[1].address); return r.State == "up" })
	for range 20 {
		if code, text, _ := mustGet(t, p); code != 200 || text != "v2" {
			t.Fatalf("%d %q: want v2 alone to answer", code, text)
		}
	}
	eventually(t, "drained", func() bool { r, _ := replicaOf(p, apps[0].address); return r.State == "drained" })
	if got := p.Aside(); !slices.Equal(got, []string{apps[0].address}) {
		t.Errorf("%v: want the one that is there", got)
	}
	p.KeepAside([]string{apps[1].address}) // whoever would be left
	eventually(t, "both are drained", func() bool { r, _ := replicaOf(p, apps[1].address); return r.State == "drained" })
	for _, a := range apps {
		if _, err := p.TakeBack(Selection{Replica: a.address}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "up again", func() bool { r, _ := replicaOf(p, a.address); return r.State == "up" })
	}
	if got := p.Aside(); len(got) != 0 {
		t.Errorf("%v: want nobody", got)
	}
}
