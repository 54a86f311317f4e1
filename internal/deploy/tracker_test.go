package deploy

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// replicas makes one replica of each version in the text; "?" reports none.
func replicas(text string) []Replica {
	var live []Replica
	for i, version := range strings.Fields(text) {
		live = append(live, Replica{ID: "r" + strconv.Itoa(i+1), Version: strings.TrimPrefix(version, "?")})
	}
	return live
}

func TestObserve(t *testing.T) {
	type step struct {
		live     string
		kind     Kind
		current  string
		retired  string // separated by blanks
		storable string // of "a", "b", "c" and "?"
	}
	for name, steps := range map[string][]step{
		"a rollout": {
			{"a a", First, "a", "", "a"},
			{"a a b", Began, "a", "", "a"},
			{"a b", Unchanged, "a", "", "a"},
			{"b", Finished, "b", "a", "b"},
			{"b b", Unchanged, "b", "", "b"},
		},
		"a restart changes nothing": {
			{"a", First, "a", "", "a"},
			{"", Unchanged, "a", "", "a"},
			{"a", Unchanged, "a", "", "a"},
		},
		"everything replaced at once": {
			{"a a", First, "a", "", "a"},
			{"", Unchanged, "a", "", "a"},
			{"b b", Finished, "b", "a", "b"},
		},
		"a rollback is a change": {
			{"a", First, "a", "", "a"},
			{"b", Finished, "b", "a", "b"},
			{"b a", Began, "b", "", "b"},
			{"a", Finished, "a", "b", "a"},
		},
		"an abandoned rollout retires nothing": {
			{"a a", First, "a", "", "a"},
			{"a b", Began, "a", "", "a"},
			{"a a", Abandoned, "a", "", "a"},
			{"a a", Unchanged, "a", "", "a"},
		},
		"two rollouts on top of each other": {
			{"a", First, "a", "", "a"},
			{"a b", Began, "a", "", "a"},
			{"a b c", Unchanged, "a", "", "a"},
			{"b c", Unchanged, "a", "", "a"},
			{"c", Finished, "c", "a b", "c"},
		},
		"a replica that reports nothing may be an old one": {
			{"a a", First, "a", "", "a"},
			{"b ?", Began, "a", "", "a"},
			{"b b", Finished, "b", "a", "b"},
		},
		"a replica that reports nothing begins no rollout": {
			{"a a", First, "a", "", "a"},
			{"a ?", Unchanged, "a", "", "a"},
			{"a a", Unchanged, "a", "", "a"},
		},
		"no versions: off": {
			{"? ?", Unchanged, "", "", "a b c ?"},
			{"", Unchanged, "", "", "a b c ?"},
		},
		"before anything was seen: off": {
			{"", Unchanged, "", "", "a b c ?"},
		},
		"versions go and come back the same": {
			{"a", First, "a", "", "a"},
			{"?", Unchanged, "", "", "a b c ?"},
			{"a", Unchanged, "a", "", "a"},
		},
		"versions go and come back different": {
			{"a", First, "a", "", "a"},
			{"a b", Began, "a", "", "a"},
			{"?", Unchanged, "", "", "a b c ?"},
			{"c", Finished, "c", "a b", "c"},
		},
		"started in the middle of a rollout: nothing is current": {
			{"a b", Began, "", "", ""},
			{"a b ?", Unchanged, "", "", ""},
			{"b", First, "b", "a", "b"},
		},
		"started with one unknown: nothing is current": {
			{"a ?", Began, "", "", ""},
			{"a a", First, "a", "", "a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var tracker Tracker
			for i, s := range steps {
				got := tracker.Observe(noon.Add(time.Duration(i)*time.Minute), replicas(s.live))
				if got.Kind != s.kind || got.Current != s.current || strings.Join(got.Retired, " ") != s.retired {
					t.Errorf("step %d, %q: got %+v: want %+v", i+1, s.live, got, s)
				}
				if current := tracker.Current(); current != s.current {
					t.Errorf("step %d, %q: current %q: want %q", i+1, s.live, current, s.current)
				}
				var storable []string
				for _, version := range []string{"a", "b", "c", "?"} {
					if tracker.Storable(strings.TrimPrefix(version, "?")) {
						storable = append(storable, version)
					}
				}
				if got := strings.Join(storable, " "); got != s.storable {
					t.Errorf("step %d, %q: storable %q: want %q", i+1, s.live, got, s.storable)
				}
			}
		})
	}
}

func TestAHeldVersionDoesNotBecomeCurrent(t *testing.T) {
	var tracker Tracker
	tracker.Observe(noon, replicas("a a"))
	tracker.Hold("b")
	for _, live := range []string{"a b", "b b", "b b"} {
		tracker.Observe(noon, replicas(live))
	}
	if tracker.Current() != "a" || tracker.Storable("b") || !tracker.Rollout().On {
		t.Fatalf("current %q: want the old version, and the rollout on", tracker.Current())
	}
	tracker.Hold("")
	if got := tracker.Observe(noon, replicas("b b")); got.Kind != Finished || got.Current != "b" || !slices.Equal(got.Retired, []string{"a"}) {
		t.Errorf("let go: %+v: want it finished, with a retired", got)
	}
	tracker.Hold("b")
	tracker.Observe(noon, replicas("b c"))
	if got := tracker.Observe(noon, replicas("b b")); got.Kind != Abandoned {
		t.Errorf("held, and current already: %+v: want the rollout abandoned", got)
	}
}

// Whatever comes and goes: a version becomes current only when every replica
// runs it, the version replaced is always retired, and the new one never.
func TestAnyOrderOfReplicas(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var tracker Tracker
	remembered := ""
	for i := range 20_000 {
		live := make([]Replica, random.IntN(4))
		for k := range live {
			live[k] = Replica{ID: fmt.Sprint(k), Version: []string{"", "a", "b", "c"}[random.IntN(4)]}
		}
		given := slices.Clone(live)
		change := tracker.Observe(noon.Add(time.Duration(i)*time.Second), live)
		if !reflect.DeepEqual(live, given) {
			t.Fatalf("the caller's slice became %v", live)
		}
		moved := change.Kind == Finished || change.Kind == First
		for _, replica := range live {
			if moved && replica.Version != change.Current {
				t.Fatalf("%v made %q current", live, change.Current)
			}
		}
		if moved != (len(live) > 0 && change.Current != "" && change.Current != remembered) {
			t.Fatalf("%v after %q: %+v", live, remembered, change)
		}
		if change.Kind == Finished && !slices.Contains(change.Retired, remembered) || slices.Contains(change.Retired, change.Current) {
			t.Fatalf("%v after %q: %+v", live, remembered, change)
		}
		if moved {
			remembered = change.Current
		}
		if got := tracker.Current(); got != "" && got != remembered {
			t.Fatalf("current %q: want %q", got, remembered)
		}
	}
}

func TestManyVersionsInOneRolloutAreBounded(t *testing.T) {
	var tracker Tracker
	tracker.Observe(noon, replicas("a"))
	for i := range 500 {
		tracker.Observe(noon, replicas("a v"+strconv.Itoa(i)))
	}
	change := tracker.Observe(noon, replicas("b"))
	// 100 of the rollout, of which b is one, and a.
	if len(change.Retired) != 100 || change.Retired[0] != "a" {
		t.Errorf("%d retired, the first %q", len(change.Retired), change.Retired[0])
	}
}

func TestConcurrentUse(t *testing.T) {
	var tracker Tracker
	var parallel sync.WaitGroup
	var finished [8]int
	for worker := range finished {
		parallel.Go(func() {
			for i := range 200 {
				if tracker.Observe(noon, replicas([]string{"a a", "a b", "b b"}[i%3])).Kind == Finished {
					finished[worker]++
				}
				tracker.Storable("a")
				tracker.Current()
				status := tracker.Status()
				status.Replicas = append(status.Replicas[:0], Replica{})
				if err := new(Tracker).Restore(tracker.Snapshot()); err != nil {
					t.Error(err)
				}
				tracker.Hold("c")
			}
		})
	}
	parallel.Wait()
	if all := slices.Max(finished[:]); all == 0 {
		t.Error("no rollout finished")
	}
}
