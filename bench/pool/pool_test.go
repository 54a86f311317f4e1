package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAReplicaDoesAsItIsTold(t *testing.T) {
	server := httptest.NewServer(newWorker("r1").routes())
	defer server.Close()
	r := &replica{name: "r1", address: server.Listener.Addr().String()}
	s := &stand{client: server.Client()}
	work := load{url: server.URL + "/work"}
	tell := func(m manners) {
		t.Helper()
		if err := s.tell(t.Context(), m, r); err != nil {
			t.Fatal(err)
		}
	}

	tell(manners{Mean: time.Millisecond, Workers: 2})
	for range 3 {
		if a := ask(t.Context(), s.client, work); !a.good() || a.replica != "r1" {
			t.Errorf("got %+v: want an answer of r1", a)
		}
	}
	seen, err := s.seen(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if c := seen[0]; c.Requests != 3 || c.Done != 3 || c.Failed != 0 || c.Most != 1 || c.Took <= 0 || c.Mean <= 0 {
		t.Errorf("counted %+v: want three, one at a time", c)
	}

	tell(manners{Workers: 1, Fails: always, Status: http.StatusTooManyRequests})
	if a := ask(t.Context(), s.client, work); a.status != http.StatusTooManyRequests {
		t.Errorf("got %+v: want 429", a)
	}
	tell(manners{Workers: 1, Spikes: 1, Spike: 50 * time.Millisecond})
	if a := ask(t.Context(), s.client, work); !a.good() || a.took < 50*time.Millisecond {
		t.Errorf("got %+v: want an answer after 50 ms", a)
	}
	if seen, err = s.seen(t.Context(), r); err != nil || seen[0].Requests != 1 || seen[0].Failed != 0 {
		t.Errorf("counted %+v, %v: want one since it was told", seen, err)
	}
	if err := s.tell(t.Context(), manners{}, r); err == nil {
		t.Error("a replica without workers: want an error")
	}
}

func TestWhoFailsWhen(t *testing.T) {
	for name, c := range map[string]struct {
		fails  failing
		share  float64
		second int64
		want   bool
	}{
		"fine":         {fine, 0, 2, false},
		"always":       {always, 0, 3, true},
		"even second":  {everyOther, 0, 2, true},
		"odd second":   {everyOther, 0, 3, false},
		"all of some":  {some, 1, 2, true},
		"none of some": {some, 0, 2, false},
	} {
		if got := (manners{Fails: c.fails, Share: c.share}).fails(time.Unix(c.second, 0)); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}

func TestAnswersAreReckoned(t *testing.T) {
	var all answers
	for i := range 100 {
		a := answer{sent: time.Duration(i) * time.Second, took: time.Duration(i+1) * time.Millisecond, status: 200, replica: "r1"}
		if i >= 90 {
			a.status = 503
		}
		if i < 18 {
			a.replica = "r2"
		}
		all = append(all, a)
	}
	if got := all.bad(); got != 10 {
		t.Errorf("%d bad: want 10", got)
	}
	if got := all.share("r2"); got != 0.2 {
		t.Errorf("share %v: want 0.2, of the good ones", got)
	}
	if got := all.quantile(0.5); got != 51*time.Millisecond {
		t.Errorf("median %v: want 51ms", got)
	}
	if got := all.inTime(50 * time.Millisecond); got != 50 {
		t.Errorf("%d in time: want 50", got)
	}
	if from, until := all.from(60*time.Second), all.until(60*time.Second); len(from) != 40 || len(until) != 60 {
		t.Errorf("%d from, %d until the sixtieth second: want 40 and 60", len(from), len(until))
	}
}

func TestALoadAsksWhateverComesOfIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer server.Close()
	for method, bad := range map[string]bool{"": false, http.MethodPost: true} {
		all, err := load{url: server.URL, method: method, rate: 200, duration: time.Second}.run(t.Context())
		// Poisson: 200, with a deviation of 14.
		if err != nil || len(all) < 100 || len(all) > 300 {
			t.Errorf("%q: %d requests, %v: want about 200", method, len(all), err)
		}
		if got := all.bad(); (got == len(all)) != bad || (got == 0) == bad {
			t.Errorf("%q: %d of %d are bad", method, got, len(all))
		}
	}
}

// TestWhatIsNotHeldIsSaid: of what is not held the run fails, and
// the page says it.
func TestWhatIsNotHeldIsSaid(t *testing.T) {
	found := map[string][]row{
		"slow": {{Criterion: "quick", Bound: "≤ 1", Numbers: map[string]string{"edge": "2"}}},
		"kill": {{Criterion: "safe", Virtual: "TestSafe", Numbers: map[string]string{"edge": "0", "nginx": "3"}, Held: true}},
	}
	if err := verdict(found); err == nil || !strings.Contains(err.Error(), "quick: 2: want ≤ 1") || strings.Contains(err.Error(), "safe") {
		t.Errorf("verdict %v", err)
	}
	text := page(map[string]string{"edge": "of today"}, found)
	for _, part := range []string{"**NOT kept**", "| quick |  | ≤ 1 | 2 | **no** |", "| 0 | yes | – | 3 | – |", "| safe | TestSafe |", "edge of today", "**Not played: failing, outage"} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q:\n%s", part, text)
		}
	}
	text2, err := json.Marshal(found)
	if err != nil || !strings.Contains(string(text2), `"Held":true`) {
		t.Errorf("kept as %s, %v", text2, err)
	}
}

func TestConfigurationsNameWhatIsWished(t *testing.T) {
	w := wish{replicas: []string{"127.0.0.2:81", "127.0.0.3:81"}, listen: "127.0.0.1:80", dir: "/d", most: 16}
	for _, c := range contestants {
		got := c.configure(w)
		for _, part := range []string{"127.0.0.1:80", "127.0.0.2:81", "127.0.0.3:81", "16"} {
			if !strings.Contains(got.text, part) {
				t.Errorf("%s lacks %q:\n%s", c.name, part, got.text)
			}
		}
		named := w
		named.resolver = "127.0.0.1:53"
		got = c.configure(named)
		if !strings.Contains(got.text, name) || !strings.Contains(got.text, "127.0.0.1:53") || strings.Contains(got.text, "127.0.0.2") {
			t.Errorf("%s does not ask the resolver alone:\n%s", c.name, got.text)
		}
	}
}

func TestTrialsAreChosenByName(t *testing.T) {
	got, err := options{only: "kill,slow"}.chosen()
	if err != nil || len(got) != 2 || got[0].key != "kill" || got[1].key != "slow" {
		t.Errorf("chosen %+v, %v", got, err)
	}
	if _, err := (options{only: "kil"}).chosen(); err == nil || !strings.Contains(err.Error(), "want one of slow,") {
		t.Errorf("got %v: want the names", err)
	}
	if all, err := (options{}).chosen(); err != nil || len(all) != len(trials) {
		t.Errorf("%d of %d, %v", len(all), len(trials), err)
	}
}
