package deploy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// stage is a pool app with a book that may be closed and opened again.
type stage struct {
	t       *testing.T
	book    *Book
	tracker *Tracker
	answers *Answers
	now     time.Time
	saved   []byte
	full    error // what save answers
	events  []Event
	purges  map[string]Order // by id, as ordered
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, now: noon, purges: make(map[string]Order)}
	s.open()
	return s
}

// open begins anew with what was saved.
func (s *stage) open() {
	s.tracker = new(Tracker)
	s.book = OpenBook(s.saved, func(text []byte) error {
		if s.full == nil {
			s.saved = text
		}
		return s.full
	}, func(e Event) { s.events = append(s.events, e) })
	s.answers = new(Answers)
	s.book.Adopt("app", s.tracker, s.answers)
}

// see shows replicas, one for each word: a version, and after a colon a state
// other than up.
func (s *stage) see(text string) Findings {
	sight := Sight{Pool: "app"}
	for i, word := range strings.Fields(text) {
		version, state, found := strings.Cut(word, ":")
		if !found {
			state = "up"
		}
		r := Replica{ID: fmt.Sprintf("r%d", i+1), Name: fmt.Sprintf("app/r%d", i+1), Version: strings.Trim(version, "?"), State: state, Fresh: state == "joining"}
		sight.Replicas = append(sight.Replicas, r)
	}
	s.now = s.now.Add(time.Second)
	return s.book.Look(s.now, sight)
}

// carry orders what was found, once, and lets it succeed.
func (s *stage) carry(found Findings) {
	for _, o := range found.Orders {
		s.purges["deploy-"+o.Deploy] = o
		s.book.Ordered(o.Deploy, "deploy-"+o.Deploy)
		s.book.Purged(s.now, o.Deploy, Outcome{Final: true, State: "done"})
	}
}

func (s *stage) call(version string, retire ...string) Record {
	s.t.Helper()
	r, err := s.book.Call(s.now, Call{Pool: "app", Version: version, Retire: retire, Timeout: time.Minute, Actor: "ci"})
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *stage) get(id string) Record {
	s.t.Helper()
	r, ok := s.book.Get(id)
	if !ok {
		s.t.Fatalf("deploy %s is not known", id)
	}
	return r
}

func TestWhatBecomesOfADeploy(t *testing.T) {
	for name, c := range map[string]struct {
		// steps are sights, but "call V", "restart" and "later", which is two
		// minutes later.
		steps string
		// want is each deploy, the oldest first: version, stage, exit, what it
		// retired, and the actor.
		want []string
		// purged is what was ordered to be purged, in any order.
		purged string
	}{
		"nobody calls: the last old replica goes":  {"v1 v1|v1 v2|v2 v2", []string{"v2 done 0 v1 edge"}, "v1"},
		"CI calls early: held, then done":          {"v1 v1|call v2|v1 v1|v1 v2|v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"CI calls while it rolls":                  {"v1 v1|v1 v2|call v2|v1 v2|v2 v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"CI calls late: done, no second purge":     {"v1|v2|call v2|v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"CI calls twice, late":                     {"v1|v2|call v2|v2|call v2|v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"a plain restart of replicas":              {"v1 v1|v1 v1:joining|v1|v1 v1", nil, ""},
		"edge restarts, nothing else":              {"v1 v1|restart|v1 v1", nil, ""},
		"a deploy while edge was down":             {"v1 v1|restart|v2 v2", []string{"v2 done 0 v1 edge"}, "v1"},
		"edge restarts in the middle":              {"v1 v1|call v2|v1 v2|restart|v1 v2|v2 v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"a rollback purges what it must":           {"v1|v2|v1 v2|v1", []string{"v2 done 0 v1 edge", "v1 done 0 v2 edge"}, "v1 v2"},
		"turned back half way: nothing was stored": {"v1 v1|v1 v2|v1 v1", []string{"v2 abandoned 7  edge"}, ""},
		"the rollout does not arrive":              {"v1 v1|call v2|v1 v2|later|v1 v2", []string{"v2 failed 7  ci"}, ""},
		"it arrives after the time is up":          {"v1 v1|call v2|v1 v2|later|v1 v2|v2 v2", []string{"v2 failed 7  ci", "v2 done 0 v1 edge"}, "v1"},
		"a replica is not healthy: held":           {"v1 v1|call v2|v2 v2:sick|v2 v2:sick", []string{"v2 rolling 7  ci"}, ""},
		"it is healthy in the end":                 {"v1 v1|call v2|v2 v2:sick|v2 v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"nobody waits: health is no matter":        {"v1 v1|v2 v2:sick", []string{"v2 done 0 v1 edge"}, "v1"},
		"old ones drain, CI waits: it may go on":   {"v1 v1|call v2|v2 v2 v1:draining", []string{"v2 done 0 v1 ci"}, "v1"},
		"old ones drain, nobody waits":             {"v1 v1|v2 v2 v1:draining", []string{"v2 rolling 7  edge"}, ""},
		"a new one is not checked yet":             {"v1|call v2|v2 ?:joining", []string{"v2 rolling 7  ci"}, ""},
		"overtaken by a third version":             {"v1 v1|v1 v2|v2 v3|v3 v3", []string{"v3 done 0 v1 v2 edge"}, "v1,v2"},
		"CI waits for what was overtaken":          {"v1 v1|call v2|v1 v2|v3 v3|later|v3 v3", []string{"v2 failed 7  ci", "v3 done 0 v1 v2 edge"}, "v1,v2"},
		"called for what runs, nothing known":      {"v2 v2|call v2|v2 v2", []string{"v2 done 0  ci"}, ""},
		"called for what runs, with a version":     {"v2 v2|call v2 v1|v2 v2", []string{"v2 done 0 v1 ci"}, "v1"},
		"a version besides, after it is done":      {"v1|v2|call v2 v0|v2", []string{"v2 done 0 v1 edge", "v2 done 0 v0 v1 ci"}, "v1 v0,v1"},
		"a version besides, in time":               {"v1|call v2 v0|v1 v2|v2", []string{"v2 done 0 v0 v1 ci"}, "v0,v1"},
		"the same deploy again, after a rollback":  {"v1|v2|v1|call v2|v2", []string{"v2 done 0 v1 edge", "v1 done 0 v2 edge", "v2 done 0 v1 ci"}, "v1 v2 v1"},
		"no replica is no news":                    {"v1|call v2||v2", []string{"v2 done 0 v1 ci"}, "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			var purged []string
			for _, step := range strings.Split(c.steps, "|") {
				words := strings.Fields(step)
				switch {
				case step == "restart":
					s.open()
				case step == "later":
					s.now = s.now.Add(2 * time.Minute)
				case len(words) > 1 && words[0] == "call":
					s.call(words[1], words[2:]...)
				default:
					found := s.see(step)
					for _, o := range found.Orders {
						purged = append(purged, strings.Join(o.Versions, ","))
					}
					s.carry(found)
				}
			}
			var got []string
			for _, r := range slices.Backward(s.book.List("app", -1)) {
				got = append(got, strings.Join([]string{r.Version, string(r.Stage), fmt.Sprint(r.Exit), strings.Join(r.Retired, " "), r.Actor}, " "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q: want %q", got, c.want)
			}
			if got := strings.Join(purged, " "); got != c.purged {
				t.Errorf("purged %q: want %q", got, c.purged)
			}
		})
	}
}

func TestAStartingGatewayWaitsForReplicasItHasNotSeen(t *testing.T) {
	s := newStage(t)
	s.see("v1 v1")
	s.see("v1 v2")
	s.open()
	young := func(starting bool, fresh bool) Findings {
		replicas := []Replica{{ID: "r2", Version: "v2", State: "up"}, {ID: "r1", State: "joining", Fresh: fresh}}
		if !fresh {
			replicas[1] = Replica{ID: "r1", Version: "v1", State: "up"}
		}
		return s.book.Look(s.now, Sight{Pool: "app", Replicas: replicas, Starting: starting})
	}
	if found := young(true, true); len(found.Orders) > 0 || !found.Active || s.tracker.Current() != "v1" {
		t.Fatalf("%+v, current %s: want v1 held", found, s.tracker.Current())
	}
	if found := young(false, false); len(found.Orders) > 0 || s.tracker.Current() != "v1" {
		t.Errorf("%+v, current %s: the rollout is still on", found, s.tracker.Current())
	}
}

func TestACallIsDurableOrNotTaken(t *testing.T) {
	s := newStage(t)
	s.see("v1")
	s.full = errors.New("disk full")
	if _, err := s.book.Call(s.now, Call{Pool: "app", Version: "v2", Timeout: time.Minute, Actor: "ci"}); !errors.Is(err, ErrJournal) {
		t.Fatalf("%v: want that it was not taken", err)
	}
	if got := s.book.List("", -1); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	// What is seen is acted upon all the same.
	if found := s.see("v2"); len(found.Orders) != 1 {
		t.Errorf("%+v: want the purge", found)
	}
	if !slices.ContainsFunc(s.events, func(e Event) bool { return e.Kind == EventJournal && e.Err != nil }) {
		t.Error("nobody was told")
	}
}

func TestKeysAndCancelling(t *testing.T) {
	s := newStage(t)
	s.see("v1")
	c := Call{Pool: "app", Version: "v2", Timeout: time.Minute, Actor: "ci", IdempotencyKey: "k"}
	first, err := s.book.Call(s.now, c)
	if err != nil {
		t.Fatal(err)
	}
	if err := second(s.book.Cancel(s.now, first.ID)); err != nil {
		t.Fatal(err)
	}
	s.open()
	if again, err := s.book.Call(s.now, c); err != nil || again.ID != first.ID || again.Stage != Canceled || again.Exit != 7 {
		t.Errorf("the key after a restart: %+v, %v", again, err)
	} else if strings.Contains(again.Error, "cancel") || !strings.Contains(again.Error, "caller") {
		t.Errorf("is %s: %s: want what the stage does not say", again.Stage, again.Error)
	}
	c.Version = "v3"
	if _, err := s.book.Call(s.now, c); !errors.Is(err, ErrConflict) {
		t.Errorf("%v: want a conflict", err)
	}
	if again, err := s.book.Call(s.now.Add(25*time.Hour), c); err != nil || again.ID == first.ID {
		t.Errorf("a day later: %+v, %v", again, err)
	}
	for id, want := range map[string]error{first.ID: ErrFinished, "none": ErrUnknown} {
		if err := second(s.book.Cancel(s.now, id)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", id, err, want)
		}
	}
	// Withdrawn, and the replicas go over all the same.
	found := s.see("v2")
	if len(found.Orders) != 1 {
		t.Fatalf("%+v", found)
	}
	id := found.Orders[0].Deploy
	s.book.Ordered(id, "p7")
	if purge, err := s.book.Cancel(s.now, id); purge != "p7" || err != nil {
		t.Errorf("%q, %v: want the purge's id", purge, err)
	}
	s.book.Purged(s.now, id, Outcome{Final: true, State: "canceled", Exit: 4})
	if r := s.get(id); r.Stage != Canceled || r.Exit != 4 {
		t.Errorf("%+v", r)
	}
	// What was not purged whole is purged again when somebody calls.
	again := s.call("v2")
	if found := s.see("v2"); again.ID == id || len(found.Orders) != 1 || found.Orders[0].Deploy != again.ID || !slices.Equal(found.Orders[0].Versions, []string{"v1"}) {
		t.Errorf("%+v", found)
	}
}

func second[T any](_ T, err error) error { return err }

func TestADryRunSaysWhatWouldBePurged(t *testing.T) {
	s := newStage(t)
	s.see("v1 v1")
	s.see("v1 v2")
	before := string(s.saved)
	r, err := s.book.Call(s.now, Call{Pool: "app", Version: "v3", Retire: []string{"v0"}, DryRun: true, Actor: "ci"})
	if err != nil || r.Stage != Planned || r.Exit != 0 || strings.Join(r.Retired, " ") != "v0 v1 v2" || len(r.Behind) != 2 || r.ID != "" {
		t.Errorf("%+v, %v", r, err)
	}
	if string(s.saved) != before {
		t.Error("a dry run was journaled")
	}
	s.carry(s.see("v2"))
	if r, err := s.book.Call(s.now, Call{Pool: "app", Version: "v2", DryRun: true}); err != nil || r.Purge == "" || !strings.Contains(r.Note, "nothing would be done") {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTrafficIsCountedByVersionWhileItRolls(t *testing.T) {
	s := newStage(t)
	look := func(replicas ...Replica) {
		s.now = s.now.Add(time.Second)
		s.carry(s.book.Look(s.now, Sight{Pool: "app", Replicas: replicas}))
	}
	one := Replica{ID: "1", Version: "v1", State: "up", Requests: 1000, Failures: 10}
	two := Replica{ID: "2", Version: "v2", State: "up"}
	look(one)
	look(one, two)
	one.Requests, one.Failures, two.Requests = 1100, 11, 50
	look(one, two)
	// The old process at the address of the new one counts for itself, and a
	// new one begins at 0.
	two.Requests, two.Failures = 30, 3
	look(one, two)
	look(two)
	r := s.book.List("app", 1)[0]
	if r.Traffic["v1"] != (Traffic{100, 1}) || r.Traffic["v2"] != (Traffic{80, 3}) || r.Stage != Done {
		t.Errorf("%+v", r)
	}
}

func TestHistoryIsBoundedAndSurvives(t *testing.T) {
	s := newStage(t)
	for i := range 3 * keepFinished {
		s.carry(s.see(fmt.Sprint("v", i)))
	}
	s.open()
	all := s.book.List("", -1)
	if len(all) != keepFinished || all[0].Version != fmt.Sprint("v", 3*keepFinished-1) || s.tracker.Current() != all[0].Version {
		t.Errorf("%d, the newest %+v, current %s", len(all), all[0], s.tracker.Current())
	}
	if n := len(s.saved); n > 200<<10 {
		t.Errorf("%d bytes on disk", n)
	}
	for range maxOpen {
		s.call("v" + fmt.Sprint(rand.Int()))
	}
	if _, err := s.book.Call(s.now, Call{Pool: "app", Version: "one more", Timeout: time.Minute}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v: want that it is busy", err)
	}
	s.book.Keep(s.now, nil)
	if r := s.book.List("", 1)[0]; r.Stage != Failed || !strings.Contains(r.Error, "gone") {
		t.Errorf("%+v", r)
	}
}

// Whatever stands in the file, the book opens; and what it saved, it reads.
func FuzzOpenBook(f *testing.F) {
	s := newStage(&testing.T{})
	s.see("v1")
	s.see("v1 v2")
	f.Add(s.saved)
	f.Add([]byte(`{"schema":1,"pools":{"app":{"seen":["a"]}},"deploys":[{"id":"x","state":"purging"},{}]}`))
	f.Add([]byte(`{"schema":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &stage{t: t, now: noon, saved: text, purges: make(map[string]Order)}
		s.open()
		s.carry(s.see("v1"))
		s.carry(s.see("v1 v2"))
		s.carry(s.see("v2"))
		if current := s.tracker.Current(); current != "v2" {
			t.Errorf("current %q", current)
		}
		want := s.book.List("", -1)
		s.events = nil
		s.open()
		if len(s.events) > 0 {
			t.Errorf("what was saved is not read: %v", s.events[0].Err)
		}
		if got := s.book.List("", -1); len(got) != len(want) || s.tracker.Current() != "v2" {
			t.Errorf("%d deploys, current %q: want %d, v2", len(got), s.tracker.Current(), len(want))
		}
	})
}
