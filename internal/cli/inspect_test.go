package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// busy is a status with something in every part of it.
func busy() control.Status {
	then := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return control.Status{
		Version: "1.2.3", Caddy: "v2.11.9", Node: "node-a", Uptime: unit.Duration(90 * time.Minute), Generation: 18, ConfigLoaded: then,
		Pools: []map[string]any{{
			"name": "app", "policy": "least_time", "panic": true, "in_flight": 7, "queued": 2,
			"autoscale": map[string]any{"desired_replicas": 3, "why": "more", "concurrency": 161.25, "target": 70, "min": 1, "max": 10, "utilisation": 1.151,
				"driver": map[string]any{"driver": "webhook", "told": 4, "draining": []string{"10.0.0.9:3000"}, "problem": "webhook: status 502", "next_try": then}},
			"sources": []map[string]any{{"source": "dns app:3000", "problem": "no such host"}, {"source": "static"}},
			"replicas": []map[string]any{
				{"id": "r1", "address": "10.0.0.1:3000", "instance": "i1", "version": "v2", "state": "up", "since": then, "ejections": 2, "ejected_until": then, "ejected_for": "5 gateway failures in a row", "in_flight": 4, "ewma_ms": 12.34, "breaker": "closed"},
				{"id": "r2", "address": "10.0.0.2:3000", "state": "sick", "why": "503 Service\tUnavailable\x1b[31m", "breaker": "half-open"},
			},
		}, {"name": "empty"}},
		Cache: map[string]any{"entries": 4, "max_bytes": 512},
		Purges: control.PurgeStatus{Pending: 1, Last: []purge.Record{
			{Order: purge.Order{ID: "p2", Selectors: purge.Selectors{Everything: true}, Created: then}, State: purge.Running},
			{Order: purge.Order{ID: "p1", Selectors: purge.Selectors{Tags: []string{"a", "b"}}, Created: then}, State: purge.Partial, Exit: 4, Generation: 18, Error: "half done"},
		}},
		Dependencies: []control.Dependency{{Name: "cloudflare", OK: true}, {Name: "redis", Detail: "connection refused", Since: then}},
	}
}

func TestStatusShowsWhatMatters(t *testing.T) {
	g := newGateway()
	g.status = busy()
	s := newSite(t, g)
	var stdout, stderr bytes.Buffer
	if code := Status(t.Context(), StatusConfig{Connection: s.connection()}, &stdout, &stderr); code != ExitDone {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	// The columns' widths follow from the longest cell of each.
	want := []string{
		"edge 1.2.3 (Caddy v2.11.9) on node-a, up 1h30m, generation 18, configured 2026-01-02T03:04:05Z",
		"pool app: least_time, 7 in flight, 2 queued, PANIC: most look sick, all are tried",
		"  autoscale: 3 wanted of 1 to 10 (more), 161.2 requests at a time for 70 each, 115% used",
		"  driver webhook: told 4, draining 10.0.0.9:3000; FAILING: webhook: status 502; next try 2026-01-02T03:04:05Z",
		"  dns app:3000: no such host",
		"  REPLICA        INSTANCE  VERSION  STATE        SINCE                 IN FLIGHT  EWMA    BREAKER    EJECTIONS  WHY",
		"  10.0.0.1:3000  i1        v2       up, ejected  2026-01-02T03:04:05Z  4          12.3ms  closed     2          until 2026-01-02T03:04:05Z: 5 gateway failures in a row",
		"  10.0.0.2:3000  -         -        sick         -                     0          -       half-open  0          503 Service\ufffdUnavailable\ufffd[31m",
		"pool empty: no policy, 0 in flight, 0 queued",
		"  no replicas",
		"  entries    4",
		"  max bytes  512",
		"purges: 1 pending",
		"  ID  STATE    EXIT  GENERATION  ITEMS       CREATED               WHY",
		"  p2  running  -     0           everything  2026-01-02T03:04:05Z  -",
		"  p1  partial  4     18          2           2026-01-02T03:04:05Z  half done",
		"  redis       DOWN   -        2026-01-02T03:04:05Z  connection refused",
	}
	lines := strings.Split(stdout.String(), "\n")
	next := 0
	for _, line := range lines {
		if next < len(want) && line == want[next] {
			next++
		}
	}
	if next < len(want) {
		t.Errorf("line %q is missing, or out of order, in\n%s", want[next], &stdout)
	}
}

func TestStatusOfAGatewayThatHasNothing(t *testing.T) {
	s := newSite(t, newGateway())
	var stdout, stderr bytes.Buffer
	if code := Status(t.Context(), StatusConfig{Connection: s.connection()}, &stdout, &stderr); code != ExitDone || !strings.Contains(stdout.String(), "purges: 0 pending") {
		t.Errorf("exit %d: %s%s", code, &stdout, &stderr)
	}
}

func TestStatusAsJSONIsTheGatewaysOwn(t *testing.T) {
	g := newGateway()
	g.status = busy()
	s := newSite(t, g)
	var stdout, stderr bytes.Buffer
	code := Status(t.Context(), StatusConfig{Connection: s.connection(), JSON: true}, &stdout, &stderr)
	var got control.Status
	if err := json.Unmarshal(stdout.Bytes(), &got); code != ExitDone || err != nil || got.Schema != control.StatusSchema || got.Generation != 18 {
		t.Errorf("exit %d, %v: %s", code, err, &stdout)
	}
}

func TestInspectingWhatDoesNotAnswerRight(t *testing.T) {
	s := newSite(t, newGateway())
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	elsewhere := func(body string) Connection {
		return Connection{Server: "http://edge.test", Getenv: environment(nil), Transport: canned(body)}
	}
	for name, tc := range map[string]struct {
		ctx    context.Context
		config Connection
		exit   int
	}{
		"no token":        {t.Context(), Connection{Server: s.url, Getenv: environment(nil)}, ExitNotAllowed},
		"bad server":      {t.Context(), Connection{Server: "edge"}, ExitUsage},
		"interrupted":     {interrupted, s.connection(), ExitInterrupted},
		"other JSON":      {t.Context(), elsewhere(`{"pools":"x"}`), ExitUnreachable},
		"no schema":       {t.Context(), elsewhere(`{}`), ExitUnreachable},
		"a list":          {t.Context(), elsewhere(`[]`), ExitUnreachable},
		"cache is a list": {t.Context(), elsewhere(`{"schema":1,"cache":[1]}`), ExitUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := Status(tc.ctx, StatusConfig{Connection: tc.config}, &stdout, &stderr); code != tc.exit || stderr.Len() == 0 {
				t.Errorf("exit %d, said %q: want %d and why", code, &stderr, tc.exit)
			}
		})
	}
}

// canned is a transport that answers everything alike.
type canned string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Status: "200 OK", Header: http.Header{"Content-Type": {"application/json"}},
		Body: http.MaxBytesReader(nil, readCloser{strings.NewReader(string(c))}, 1<<20), Request: r,
	}, nil
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestExplainReadsInTheGatewaysOrder(t *testing.T) {
	g := newGateway()
	g.explanation = json.RawMessage(`{"verdict":{"rule":"page /*","tags":["pages","v-2"]},"key":"GET a\u001b[2J","entry":null,
		"fresh_for":57,"why":"","none":[],"list":[{"address":"10.0.0.1:3000","up":true}],
		"pick":{"replica":"r1","address":"10.0.0.1:3000","why":"random: one of 1 that may have it"},
		"pools":[{"name":"app","policy":"random","replicas":[{"id":"r1","address":"10.0.0.1:3000","state":"up"}]}]}`)
	s := newSite(t, g)
	var stdout, stderr bytes.Buffer
	c := ExplainConfig{Connection: s.connection(), URL: "https://a.example/x?q=1&r", Method: "HEAD", Header: []string{"Cookie: a=b; c=d", "Cookie: e=f"}}
	if code := Explain(t.Context(), c, &stdout, &stderr); code != ExitDone {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	want := strings.Join([]string{
		"verdict",
		"  rule  page /*",
		"  tags  pages, v-2",
		"key        GET a\ufffd[2J",
		"entry      none",
		"fresh for  57",
		`why        ""`,
		"none       none",
		"list",
		"  1",
		"    address  10.0.0.1:3000",
		"    up       true",
		"",
		"pool app: random, 0 in flight, 0 queued",
		"  REPLICA        INSTANCE  VERSION  STATE  SINCE  IN FLIGHT  EWMA  BREAKER  EJECTIONS  WHY",
		"  10.0.0.1:3000  -         -        up     -      0          -     -        0          -",
		"",
		"a request that goes to a replica: 10.0.0.1:3000 (random: one of 1 that may have it)",
		"",
	}, "\n")
	if stdout.String() != want {
		t.Errorf("printed\n%s, want\n%s", &stdout, want)
	}
	query := control.ExplainQuery{URL: c.URL, Method: "HEAD", Header: http.Header{"Cookie": {"a=b; c=d", "e=f"}}}
	if !reflect.DeepEqual(g.query, query) {
		t.Errorf("asked %+v, want %+v", g.query, query)
	}
}

func TestExplainRefusals(t *testing.T) {
	s := newSite(t, newGateway())
	for name, tc := range map[string]struct {
		url  string
		exit int
	}{
		"no URL":                   {"", ExitUsage},
		"a path":                   {"/x", ExitUsage},
		"a gateway with a fault":   {"https://a.example/", ExitUnreachable},
		"what the gateway refuses": {"https://u@a.example/", ExitUsage},
	} {
		var stdout, stderr bytes.Buffer
		if code := Explain(t.Context(), ExplainConfig{Connection: s.connection(), URL: tc.url}, &stdout, &stderr); code != tc.exit || stderr.Len() == 0 {
			t.Errorf("%s: exit %d, said %q: want %d and why", name, code, &stderr, tc.exit)
		}
	}
}

func FuzzOutlineHoldsAnyJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":[[[]]],"b":{"c":null}}`, `{"a":[1,{"b":2}]}`, `[]`, `{"a":"\u0000"}`, `{"a":` + strings.Repeat("[", 50)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		err := outline(&console{w: &out}, text, 0)
		var object map[string]json.RawMessage
		if valid := json.Unmarshal(text, &object) == nil && object != nil; valid && err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for line := range strings.Lines(out.String()) {
			if cleaned := printable(strings.TrimSuffix(line, "\n")) + "\n"; cleaned != line {
				t.Fatalf("%q printed %q", text, line)
			}
		}
	})
}
