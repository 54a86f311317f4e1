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

func TestStatus(t *testing.T) {
	rollout := State{On: true, From: "b", To: "c", Since: at(5), Replicas: map[string]int{"b": 1, "c": 1}, Unknown: 1}
	want := Status{
		Tracking: true, Current: "b", Since: at(2), Rollout: rollout,
		Replicas: []Replica{{ID: "r1", Version: "b"}, {ID: "r2", Version: "c"}, {ID: "r3"}},
	}
	got := rolled().Status()
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
	if want := `{"tracking":false,"rollout":{"on":false},"replicas":[]}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v: want %s", text, err, want)
	}
	tracker := rolled()
	tracker.Observe(at(6), replicas("?"))
	status := tracker.Status()
	if status.Tracking || status.Current != "" || !status.Since.IsZero() || status.Rollout.On || status.Rollout.Unknown != 1 {
		t.Errorf("got %+v", status)
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
	// The rest of the rollout went by while nobody looked.
	change := after.Observe(at(9), replicas("d"))
	if change.Kind != Finished || strings.Join(change.Retired, " ") != "b c" {
		t.Errorf("got %+v", change)
	}
}

func TestSnapshotIsACopy(t *testing.T) {
	tracker := rolled()
	want := tracker.Snapshot()
	taken := tracker.Snapshot()
	taken.Seen[0] = "changed"
	status := tracker.Status()
	status.Replicas[0].ID = "changed"
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
		"all of it, and one report of it all": {Snapshot{Seen: []string{""}}, 2},
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
	}
	var tracker Tracker
	if err := tracker.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	if got := tracker.Snapshot(); len(got.Seen) != 100 {
		t.Errorf("%d seen: want 100", len(got.Seen))
	}
}
