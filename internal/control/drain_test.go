package control

import (
	"net/http"
	"reflect"
	"testing"
)

func TestDrainOrders(t *testing.T) {
	const want = "one of them: the id or address of a replica, or a version"
	g, seen := newFakeGateway(), new(events)
	h := New(Config{Gateway: g, Trusted: true, Event: seen.add})
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"nobody":                   {"/pools/app/drain", `{}`, 422, CodeInvalid},
		"both":                     {"/pools/app/drain", `{"replica":"a","version":"v1"}`, 422, CodeInvalid},
		"nobody to take back":      {"/pools/app/undrain", `{"force":true}`, 422, CodeInvalid},
		"an unknown pool":          {"/pools/shop/drain", `{"replica":"a"}`, 404, CodeUnknown},
		"an unknown replica":       {"/pools/app/drain", `{"replica":"a"}`, 404, CodeUnknown},
		"the last ones":            {"/pools/app/drain", `{"version":"v1"}`, 409, CodeLastReplica},
		"a force of its own":       {"/replicas/a/drain?force=yes", ``, 400, CodeInvalid},
		"a replica that is gone":   {"/replicas/a/drain?force=true", ``, 404, CodeUnknown},
		"a word that is not known": {"/pools/app/drain", `{"versions":["v1"]}`, 400, CodeInvalid},
	} {
		got := decode[Problem](t, ask(h, http.MethodPost, c.path, c.body), c.status)
		if got.Code != c.code {
			t.Errorf("%s: code %s: want %s", name, got.Code, c.code)
		}
		if c.status == 422 && (len(got.Mistakes) != 1 || got.Mistakes[0].Want != want) {
			t.Errorf("%s: %+v: want what would be right", name, got.Mistakes)
		}
	}
	answer := decode[drainAnswer](t, ask(h, http.MethodPost, "/pools/app/drain", `{"version":"v1","force":true}`), 200)
	if answer.Pool != "app" || len(answer.Replicas) != 2 || answer.Replicas[1].State != "drained" || seen.count(Drained) != 2 {
		t.Errorf("%+v, %d events: want both replicas, and an event for each", answer, seen.count(Drained))
	}
	undone := decode[map[string]any](t, ask(h, http.MethodPost, "/pools/app/undrain", `{"version":"v1"}`), 200)
	if list, ok := undone["replicas"].([]any); !ok || len(list) != 0 {
		t.Errorf("%v: want an empty list", undone)
	}
	if last := g.drainOrders[len(g.drainOrders)-1]; !reflect.DeepEqual(last, DrainOrder{Version: "v1"}) {
		t.Errorf("%+v: want the version", last)
	}
}
