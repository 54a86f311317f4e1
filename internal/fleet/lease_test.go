package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

func TestGrants(t *testing.T) {
	sent := time.Now()
	g := &grant{sent: sent, lasts: trustFor(10 * time.Second)}
	if (*grant)(nil).left(sent) != 0 {
		t.Error("no grant lasts")
	}
	for after, want := range map[time.Duration]bool{
		0: true, 8999 * time.Millisecond: true, 9 * time.Second: false, time.Hour: false,
	} {
		if got := g.left(sent.Add(after)) > 0; got != want {
			t.Errorf("after %s: lasts %v", after, got)
		}
	}
	// A machine that slept: the time of day went on alone.
	slept := &grant{sent: sent.Add(-time.Minute).Round(0), lasts: g.lasts}
	if slept.left(sent) > 0 {
		t.Error("a grant outlasts the sleep of its machine")
	}
}

func TestWhoIsOverdue(t *testing.T) {
	lease := 10 * time.Second
	start := time.Now()
	view := func(beats ...string) (v View) {
		for i, beat := range beats {
			if beat != "" {
				v.Members = append(v.Members, Seen{ID: string(rune('a' + i)), Beat: beat})
			}
		}
		return v
	}
	w := make(watch)
	for _, step := range []struct {
		after time.Duration
		view  View
		want  string
	}{
		{0, view("1:0", "2:0", "3:0"), ""},
		{5 * time.Second, view("1:0", "2:1", "3:0"), ""},
		{9999 * time.Millisecond, view("1:0", "2:1", "3:0"), ""},
		{10 * time.Second, view("1:0", "2:1", "3:0"), "c"},
		{11 * time.Second, view("1:0", "2:1", ""), ""},
		{12 * time.Second, view("1:0", "2:1", "4:0"), ""}, // back again: another lease
		{15 * time.Second, view("1:0", "2:1", "4:0"), "b"},
	} {
		got := ""
		for _, m := range w.observe(step.view, "a", lease, start.Add(step.after)) {
			got += m.ID
		}
		if got != step.want {
			t.Errorf("after %s: %q has ended: want %q", step.after, got, step.want)
		}
	}
}

func TestWhereToResume(t *testing.T) {
	v := View{Incarnation: "i", Position: 7}
	for name, c := range map[string]struct {
		at      place
		trusted bool
		from    uint64
		forget  bool
	}{
		"a new node gives up what it has":                           {place{}, false, 7, true},
		"back in the same log: from where it was":                   {place{"i", 3}, false, 3, false},
		"nothing missed":                                            {place{"i", 7}, false, 7, false},
		"a place that is not there yet: the log is not the same":    {place{"i", 8}, false, 7, true},
		"another log, and the lease has ended: orders may be lost":  {place{"h", 3}, false, 7, true},
		"another log, and the lease lasts: none was missed":         {place{"h", 3}, true, 0, false},
		"the same log, and the lease lasts: as without one, and so": {place{"i", 3}, true, 3, false},
	} {
		if from, forget := resume(c.at, v, c.trusted); from != c.from || forget != c.forget {
			t.Errorf("%s: from %d, forget %v", name, from, forget)
		}
	}
}

func TestWhoAcknowledges(t *testing.T) {
	v := View{Members: []Seen{{ID: "a", Name: "one", Applied: 4, Drained: 2}, {ID: "b", Name: "two", Applied: 3, Drained: 3}}}
	for position, want := range map[uint64]string{3: "", 4: "two", 5: "one two"} {
		applied, waiting := acknowledged(v, position)
		if got := strings.Join(waiting, " "); got != want || applied+len(waiting) != 2 {
			t.Errorf("order %d: %d have applied it, waiting for %q: want %q", position, applied, got, want)
		}
	}
	if undrained(v, "a", 3) != 0 || undrained(v, "b", 3) != 1 || undrained(v, "", 4) != 2 {
		t.Error("want who has not drained, but for oneself")
	}
}

func TestConfigMistakesAllAtOnce(t *testing.T) {
	c := Config{URL: "redis://x:hunter2@h", Name: "a b", Node: "ü", Lease: unit.Duration(time.Millisecond), Keep: -1}
	err := c.Validate()
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{"holds a password", `fleet name "a b"`, `fleet node "ü"`, "fleet lease 1ms: want 1s to 5m", "fleet keep -1: want 1 to 100000"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password shows")
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add([]byte(`{"incarnation":"i","position":3}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, noted []byte) {
		p := readPlace(noted)
		if again := readPlace(p.text()); again != p {
			t.Errorf("%+v, then %+v", p, again)
		}
	})
}
