package deploy

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

// rolled has seen a, then b, and is on the way to c.
func rolled() *Tracker {
	tracker := new(Tracker)
	tracker.Observe(at(0), replicas("a a"))
	tracker.Observe(at(1), replicas("a b"))
	tracker.Observe(at(2), replicas("b b"))
	tracker.Observe(at(3), replicas("b x"))
	tracker.Observe(at(4), replicas("b b"))
	tracker.Observe(at(5), replicas("b c ?"))
	return tracker
}

var rolledHistory = []Deployment{
	{Version: "x", Previous: "b", Began: at(3), Finished: at(4), Abandoned: true},
	{Version: "b", Previous: "a", Began: at(1), Finished: at(2), Retired: []string{"a"}},
	{Version: "a", Began: at(0), Finished: at(0)},
}

func TestStatus(t *testing.T) {
	rollout := State{On: true, From: "b", To: "c", Since: at(5), Replicas: map[string]int{"b": 1, "c": 1}, Unknown: 1}
	want := Status{
		Tracking: true, Current: "b", Since: at(2), Rollout: rollout,
		Replicas: []Replica{{"r1", "b"}, {"r2", "c"}, {"r3", ""}}, History: rolledHistory,
	}
	got := rolled().Status()
	for i := range got.History {
		if len(got.History[i].Retired) == 0 {
			got.History[i].Retired = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := rolled().Rollout(); !reflect.DeepEqual(got, rollout) {
		t.Errorf("\n got %+v\nwant %+v", got, rollout)
	}
	text, err := json.Marshal(got)
	var again Status
	if err == nil {
		err = json.Unmarshal(text, &again)
	}
	if err != nil || !reflect.DeepEqual(again, want) {
		t.Errorf("%s\nis read as %+v, %v", text, again, err)
	}
}

func TestStatusWhileOff(t *testing.T) {
	text, err := json.Marshal(new(Tracker).Status())
	if want := `{"tracking":false,"rollout":{"on":false},"replicas":[],"history":[]}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v: want %s", text, err, want)
	}
	tracker := rolled()
	tracker.Observe(at(6), replicas("?"))
	status := tracker.Status()
	if status.Tracking || status.Current != "" || !status.Since.IsZero() || status.Rollout.On || status.Rollout.Unknown != 1 {
		t.Errorf("got %+v", status)
	}
}

func TestRetiredSince(t *testing.T) {
	tracker := rolled()
	tracker.Observe(at(6), replicas("c"))
	tracker.Observe(at(7), replicas("a"))
	for name, c := range map[string]struct {
		since time.Time
		want  string
	}{
		"all but the current one, to which it was rolled back": {at(0), "b c"},
		"from the minute on": {at(7), "c"},
		"nothing since":      {at(8), ""},
	} {
		if got := strings.Join(tracker.RetiredSince(c.since), " "); got != c.want {
			t.Errorf("%s: got %q: want %q", name, got, c.want)
		}
	}
}

func TestSnapshotSurvivesARestart(t *testing.T) {
	before := rolled()
	text, err := json.Marshal(before.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var snapshot Snapshot
	if err := json.Unmarshal(text, &snapshot); err != nil {
		t.Fatal(err)
	}
	var after Tracker
	if err := after.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if !after.Storable("b") || after.Storable("c") || after.Storable("") {
		t.Error("a restart forgets what is current")
	}
	if after.Gate("b") == nil {
		t.Error("the gate is open before any replica was seen")
	}
	// The rest of the rollout went by while nobody looked.
	change := after.Observe(at(9), replicas("d"))
	if change.Kind != Finished || strings.Join(change.Retired, " ") != "b c" {
		t.Errorf("got %+v", change)
	}
	if last := after.Status().History[0]; last.Version != "d" || last.Previous != "b" || !last.Began.Equal(at(5)) {
		t.Errorf("got %+v", last)
	}
	if n := len(after.Status().History); n != len(rolledHistory)+1 {
		t.Errorf("%d deployments", n)
	}
}

func TestSnapshotIsACopy(t *testing.T) {
	tracker := rolled()
	want := tracker.Snapshot()
	taken := tracker.Snapshot()
	taken.Seen[0], taken.History[1].Retired[0] = "changed", "changed"
	status := tracker.Status()
	status.History[1].Retired[0], status.Replicas[0].ID = "changed", "changed"
	if got := tracker.Snapshot(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v: want %+v", got, want)
	}
}

func TestRestoreRefusesContradictions(t *testing.T) {
	for name, c := range map[string]struct {
		snapshot Snapshot
		want     int // mistakes
	}{
		"nothing":                             {Snapshot{}, 0},
		"the current version in the rollout":  {Snapshot{Current: "a", Began: noon, Seen: []string{"a"}}, 1},
		"no version in the rollout":           {Snapshot{Current: "a", Began: noon, Seen: []string{""}}, 1},
		"a rollout without a beginning":       {Snapshot{Current: "a", Seen: []string{"b"}}, 1},
		"a beginning without a rollout":       {Snapshot{Current: "a", Began: noon}, 1},
		"a deployment without a version":      {Snapshot{History: []Deployment{{Version: "a"}, {}}}, 1},
		"all of it, and one report of it all": {Snapshot{Seen: []string{""}, History: []Deployment{{}}}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			tracker := rolled()
			before := tracker.Status()
			err := tracker.Restore(c.snapshot)
			mistakes := 0
			if err != nil {
				mistakes = strings.Count(err.Error(), "\n") + 1
				if after := tracker.Status(); !reflect.DeepEqual(after, before) {
					t.Errorf("a refused snapshot made it %+v", after)
				}
			}
			if mistakes != c.want {
				t.Errorf("%d mistakes: %v", mistakes, err)
			}
		})
	}
}

func TestRestoreBoundsWhatItTakes(t *testing.T) {
	snapshot := Snapshot{Current: "a", Began: noon}
	for range 300 {
		snapshot.Seen = append(snapshot.Seen, "b")
		snapshot.History = append(snapshot.History, Deployment{Version: "a"})
	}
	var tracker Tracker
	if err := tracker.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if got := tracker.Snapshot(); len(got.Seen) != 100 || len(got.History) != 100 {
		t.Errorf("%d seen, %d deployments: want 100 of each", len(got.Seen), len(got.History))
	}
}
