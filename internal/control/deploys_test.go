package control

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/deploy"
)

// look shows the pool app, with one healthy replica of each version.
func (g *fakeGateway) look(versions ...string) deploy.Findings {
	s := deploy.Sight{Pool: "app"}
	for _, version := range versions {
		s.Replicas = append(s.Replicas, deploy.Replica{ID: version, Name: "app/" + version, Version: version, State: "up"})
	}
	return g.book.Look(time.Now(), s)
}

func TestADeployIsCalledWaitedForAndListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, seen := newFakeGateway(), new(events)
		h := New(Config{Gateway: g, Trusted: true, Event: seen.add})
		g.look("v1")
		response := ask(h, "POST", "/deploy", `{"version":"v2","timeout":"1m","reason":"release 7"}`, "Idempotency-Key", "ci-7")
		r := decode[deploy.Record](t, response, 202)
		if r.Stage != deploy.Waiting || r.Exit != 7 || r.Pool != "app" || r.Previous != "v1" || r.Reason != "release 7" || !r.Deadline.Equal(r.Created.Add(time.Minute)) {
			t.Errorf("%+v", r)
		}
		if got := response.Header.Get("Location"); got != "deploys/"+r.ID {
			t.Errorf("Location %q", got)
		}
		if again := decode[deploy.Record](t, ask(h, "POST", "/deploy", `{"version":"v2"}`, "Idempotency-Key", "ci-7"), 202); again.ID != r.ID {
			t.Errorf("repeated: %s, want %s", again.ID, r.ID)
		}
		if p := decode[Problem](t, ask(h, "POST", "/deploy", `{"version":"v3"}`, "Idempotency-Key", "ci-7"), 409); p.Code != CodeConflict {
			t.Errorf("another deploy: %+v", p)
		}
		go func() {
			time.Sleep(5 * time.Second)
			g.look("v1", "v2")
			found := g.look("v2")
			g.book.Ordered(found.Orders[0].Deploy, "p1")
			g.book.Purged(time.Now(), r.ID, deploy.Outcome{Final: true, State: "done"})
		}()
		began := time.Now()
		r = decode[deploy.Record](t, ask(h, "GET", "/deploys/"+r.ID+"?wait=30s", ""), 200)
		if r.Stage != deploy.Done || r.Exit != 0 || r.Purge != "p1" || strings.Join(r.Retired, " ") != "v1" || time.Since(began) != 5*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), r)
		}
		list := decode[map[string][]deploy.Record](t, ask(h, "GET", "/deploys?pool=app&limit=5", ""), 200)["deploys"]
		if len(list) != 1 || list[0].ID != r.ID {
			t.Errorf("listed: %+v", list)
		}
		if p := decode[Problem](t, ask(h, "POST", "/deploys/"+r.ID+"/cancel", ""), 409); p.Code != CodeFinished {
			t.Errorf("%+v", p)
		}
		if seen.count(DeployCalled) != 2 {
			t.Errorf("%d calls reported", seen.count(DeployCalled))
		}
	})
}

func TestADeployIsCancelled(t *testing.T) {
	g := newFakeGateway()
	g.look("v1")
	r := decode[deploy.Record](t, ask(trusted(g), "POST", "/deploy", `{"version":"v2"}`), 202)
	if got := decode[deploy.Record](t, ask(trusted(g), "POST", "/deploys/"+r.ID+"/cancel", ""), 200); got.Stage != deploy.Canceled || got.Exit != 7 {
		t.Errorf("%+v", got)
	}
	for _, target := range []string{"/deploys/none", "/deploys/none?wait=1s"} {
		if p := decode[Problem](t, ask(trusted(g), "GET", target, ""), 404); p.Code != CodeUnknown {
			t.Errorf("%s: %+v", target, p)
		}
	}
	if p := decode[Problem](t, ask(trusted(g), "POST", "/deploys/none/cancel", ""), 404); p.Code != CodeUnknown {
		t.Errorf("%+v", p)
	}
}

func TestADeployNamesItsMistakes(t *testing.T) {
	many, err := json.Marshal(make([]string, maxRetire+1))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body   string
		status int
		want   string // fields
	}{
		"no version":            {`{}`, 422, "version"},
		"an unknown field":      {`{"version":"v2","everything":true}`, 400, "body"},
		"all of them at once":   {`{"timeout":"25h","retire":` + string(many) + `,"reason":"` + strings.Repeat("x", 501) + `"}`, 422, "version timeout retire reason"},
		"a timeout of no kind":  {`{"version":"v2","timeout":"soon"}`, 400, ""},
		"a key that is no key":  {`{"version":"v2","idempotency_key":"a b"}`, 422, "idempotency_key"},
		"a pool that is no one": {`{"version":"v2","pool":"none"}`, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := decode[Problem](t, ask(trusted(newFakeGateway()), "POST", "/deploy", c.body), c.status)
			var fields []string
			for _, m := range p.Mistakes {
				fields = append(fields, m.Field)
			}
			if got := strings.Join(fields, " "); got != c.want {
				t.Errorf("%q: %+v: want %q", got, p, c.want)
			}
		})
	}
}
