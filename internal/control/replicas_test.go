package control

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestAReplicaRegistersDrainsAndLeaves(t *testing.T) {
	g, seen := newFakeGateway(), new(events)
	h := New(Config{Gateway: g, Trusted: true, Event: seen.add})
	register := func(body string, lease time.Duration) {
		t.Helper()
		got := decode[map[string]string](t, ask(h, "POST", "/replicas", body), 200)
		if got["id"] != "app/10.0.0.7:3000" || g.lease != lease {
			t.Errorf("%v, lease %v: want the id app/10.0.0.7:3000, lease %v", got, g.lease, lease)
		}
	}
	register(`{"pool":"app","address":"10.0.0.7:3000"}`, 30*time.Second)
	register(`{"pool":"app","address":"10.0.0.7:3000","lease":"1m"}`, time.Minute)

	// An id may hold a slash: it is escaped in the path.
	got := decode[map[string]string](t, ask(h, "POST", "/replicas/app%2F10.0.0.7:3000/drain", ""), 200)
	if got["state"] != "draining" || len(g.drained) != 1 {
		t.Errorf("drain: %v, drained %v", got, g.drained)
	}
	if status := ask(h, "DELETE", "/replicas/app%2F10.0.0.7:3000", "").StatusCode; status != http.StatusNoContent || len(g.replicas) != 0 {
		t.Errorf("status %d, left %v: want 204 and none", status, g.replicas)
	}
	for _, kind := range []Kind{Registered, Drained, Deregistered} {
		if seen.count(kind) == 0 {
			t.Errorf("no event %s", kind)
		}
	}
}

func TestRegistrationsThatAreRefused(t *testing.T) {
	const (
		wantAddress = "host:port such as 10.0.0.7:3000"
		wantLease   = "a duration from 1s to 24h, such as 30s"
	)
	cases := map[string]struct {
		body   string
		status int
		want   []Mistake
	}{
		"all wrong at once": {`{"address":"10.0.0.7","lease":"soon"}`, 422,
			[]Mistake{{"pool", "", "the name of a pool"}, {"address", "10.0.0.7", wantAddress}, {"lease", "soon", wantLease}}},
		"port 0":              {`{"pool":"app","address":"a:0"}`, 422, []Mistake{{"address", "a:0", wantAddress}}},
		"port 65536":          {`{"pool":"app","address":"a:65536"}`, 422, []Mistake{{"address", "a:65536", wantAddress}}},
		"no host":             {`{"pool":"app","address":":80"}`, 422, []Mistake{{"address", ":80", wantAddress}}},
		"a URL":               {`{"pool":"app","address":"http://a:80"}`, 422, []Mistake{{"address", "http://a:80", wantAddress}}},
		"credentials":         {`{"pool":"app","address":"u@a:80"}`, 422, []Mistake{{"address", "u@a:80", wantAddress}}},
		"lease under 1s":      {`{"pool":"app","address":"a:80","lease":"999ms"}`, 422, []Mistake{{"lease", "999ms", wantLease}}},
		"lease above 24h":     {`{"pool":"app","address":"a:80","lease":"1441m"}`, 422, []Mistake{{"lease", "1441m", wantLease}}},
		"lease as a number":   {`{"pool":"app","address":"a:80","lease":30}`, 400, []Mistake{{"lease", "number", "a JSON string"}}},
		"unknown pool":        {`{"pool":"api","address":"a:80"}`, 404, nil},
		"pool that is broken": {`{"pool":"broken","address":"a:80"}`, 500, nil},
		"too large":           {`{"pool":"` + strings.Repeat("p", maxRegistration) + `"}`, 413, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newFakeGateway()
			p := decode[Problem](t, ask(trusted(g), "POST", "/replicas", tc.body), tc.status)
			if !reflect.DeepEqual(p.Mistakes, tc.want) {
				t.Errorf("mistakes %+v: want %+v", p.Mistakes, tc.want)
			}
			if len(g.replicas) != 0 {
				t.Errorf("registered: %v, want none", g.replicas)
			}
		})
	}
	for _, request := range [][2]string{{"POST", "/replicas/x/drain"}, {"DELETE", "/replicas/x"}} {
		if p := decode[Problem](t, ask(trusted(newFakeGateway()), request[0], request[1], ""), 404); p.Code != CodeUnknown {
			t.Errorf("%v: code %q, want unknown", request, p.Code)
		}
	}
}

func TestARequestToBeExplained(t *testing.T) {
	g := newFakeGateway()
	target := "/explain?url=https%3A%2F%2Fa.example%2Fx%3Fq&method=HEAD&header=Accept-Encoding:+gzip&header=cookie:session=1"
	got := decode[map[string]string](t, ask(trusted(g), "GET", target, ""), 200)
	if got["verdict"] != "page /*" {
		t.Errorf("answer %v: want what the gateway said", got)
	}
	want := ExplainQuery{URL: "https://a.example/x?q", Method: "HEAD", Header: http.Header{"Accept-Encoding": {"gzip"}, "Cookie": {"session=1"}}}
	if !reflect.DeepEqual(g.query, want) {
		t.Errorf("query %+v: want %+v", g.query, want)
	}
	decode[map[string]string](t, ask(trusted(g), "GET", "/explain?url=http://a.example/", ""), 200)
	if g.query.Method != "GET" {
		t.Errorf("method %q: want GET unless said", g.query.Method)
	}
}

func TestRequestsThatCannotBeExplained(t *testing.T) {
	for target, fields := range map[string]string{
		"/explain":                                             "url",
		"/explain?url=/path":                                   "url",
		"/explain?url=ftp://a/":                                "url",
		"/explain?url=https://u:p@a/":                          "url",
		"/explain?url=x&method=G%20T":                          "url method",
		"/explain?url=http://a/&header=x":                      "header",
		"/explain?url=http://a/&header=x%20y:z&header=a:b%0Ac": "header header",
		"/explain?url=http://a/&method=%00&header=" + "a:b&header=c%0A:d":  "method header",
		"/explain?url=http://a/" + strings.Repeat("&header=a:b", 51) + "&": "header",
	} {
		g := newFakeGateway()
		var got []string
		for _, m := range decode[Problem](t, ask(trusted(g), "GET", target, ""), 422).Mistakes {
			got = append(got, m.Field)
		}
		if strings.Join(got, " ") != fields {
			t.Errorf("%s: mistakes in %v, want %s", target, got, fields)
		}
	}
}
