package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache"
	otlp "github.com/edgegw/edge/internal/otlp/standin"
)

// startCollector is where the spans of the gateway go that is started next.
func startCollector(t *testing.T) *otlp.Server {
	t.Helper()
	took := otlp.New()
	server := httptest.NewServer(took)
	t.Cleanup(func() {
		server.Close()
		for _, refusal := range took.Refusals() {
			t.Errorf("the collector refused: %s", refusal)
		}
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // milliseconds
	return took
}

// tracedSite is the pages with Caddy's tracing in front.
const tracedSite = "tracing {\n\tspan visit\n}\n" + pagesSite

// parentOf is the traceparent of a caller, a trace of its own for each number.
func parentOf(n int, flags string) (field, trace, span string) {
	trace, span = fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n), fmt.Sprintf("00f067aa0ba9%04x", n)
	return "00-" + trace + "-" + span + "-" + flags, trace, span
}

// traceOf waits for the spans of a trace, by their names, until a span of this
// name is among them.
func traceOf(t *testing.T, from *otlp.Server, trace, last string) (spans map[string]otlp.Span) {
	t.Helper()
	eventually(t, "the collector has the span "+last+" of "+trace, func() bool {
		spans = make(map[string]otlp.Span)
		for _, span := range from.Spans() {
			if span.Trace == trace {
				spans[span.Name] = span
			}
		}
		_, there := spans[last]
		return there
	})
	return spans
}

// hearing is an origin that notes the traceparent that it was given, by path.
type hearing struct {
	mu    sync.Mutex
	heard map[string]string
}

func (h *hearing) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.heard == nil {
		h.heard = make(map[string]string)
	}
	h.heard[r.URL.Path] = strings.Join(r.Header["Traceparent"], ",")
	fmt.Fprint(w, "page")
}

func (h *hearing) of(path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heard[path]
}

func TestATraceTellsWhatBecameOfARequest(t *testing.T) {
	for name, c := range map[string]struct{ global, site, visit string }{
		"which Caddy's directive traces": {"", tracedSite, "visit"},
		"which edge traces itself":       {"tracing {\n\trequests 100%\n}\n", pagesSite, "edge visit"},
	} {
		t.Run(name, func(t *testing.T) { testTraceOfRequest(t, c.global, c.site, c.visit) })
	}
}

func testTraceOfRequest(t *testing.T, global, site, visitName string) {
	took := startCollector(t)
	var origin hearing
	address, _ := counting(t, origin.serve)
	e := startEdge(t, global+staticPool(address), site)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	id := e.poolStatus().Replicas[0].ID
	e.get("/stored")

	for i, c := range []struct {
		name, path string
		status     string
		reason     string
		rule       string
		fetch      string // the span of it; empty for none
	}{
		{"a miss", "/first", "miss", "", "page /*", "edge fill"},
		{"a hit", "/stored", "hit", "", "page /*", ""},
		{"a bypass", "/account", "bypass", "rule", "private /api/* /account", "edge fetch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			field, trace, parent := parentOf(i, "01")
			answer := e.get(c.path, "Traceparent", field)
			spans := traceOf(t, took, trace, visitName)
			if c.fetch != "" {
				spans = traceOf(t, took, trace, c.fetch)
			}
			visit := spans[visitName]
			if visit.Parent != parent || visit.Service != "edge under test" {
				t.Errorf("the visit's span is below %q, of %q: want the caller's, %q", visit.Parent, visit.Service, parent)
			}
			want := map[string]any{
				"edge.cache.status": c.status, "edge.cache.reason": c.reason, "edge.rule": c.rule, "edge.replica": id, "edge.version": "v1",
				"edge.request_id": answer.Header.Get("X-Request-Id"),
			}
			for name, value := range want {
				if visit.Attributes[name] != value {
					t.Errorf("the visit has %s %q: want %q", name, visit.Attributes[name], value)
				}
			}
			if judge := spans["edge judge"]; judge.Parent != visit.ID || judge.Attributes["edge.rule"] != c.rule {
				t.Errorf("judge: %+v: want it below the visit, with the rule", judge)
			}
			if look := spans["edge look-up"]; look.Parent != visit.ID || look.Attributes["edge.cache.status"] != c.status || look.Attributes["edge.cache.reason"] != c.reason {
				t.Errorf("look-up: %+v: want it below the visit, with what came of it", look)
			}
			if c.fetch == "" {
				if len(spans) != 3 {
					t.Errorf("%d spans: want those of the visit, its judgement and its look-up", len(spans))
				}
				return
			}
			fetch, attempt := spans[c.fetch], spans["edge attempt"]
			if fetch.Parent != visit.ID || fetch.Attributes["edge.replica"] != id || fetch.Attributes["edge.version"] != "v1" {
				t.Errorf("%s: %+v: want it below the visit, with replica and version", c.fetch, fetch)
			}
			if attempt.Parent != fetch.ID || attempt.Attributes["edge.replica"] != id || attempt.Attributes["edge.version"] != "v1" ||
				attempt.Attributes["http.response.status_code"] != int64(200) || attempt.Attributes["server.address"] != address {
				t.Errorf("attempt: %+v: want it below the fetch, with replica, version and status", attempt)
			}
			if heard, want := origin.of(c.path), "00-"+trace+"-"+attempt.ID+"-01"; heard != want {
				t.Errorf("the replica got traceparent %q: want %q, the attempt's", heard, want)
			}
		})
	}
}

func TestEachTryIsASpanOfItsOwn(t *testing.T) {
	took := startCollector(t)
	var heard sync.Map // what replicas were given, by traceparent
	replica := func(status int) string {
		address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
			heard.Store(r.Header.Get("Traceparent"), status)
			w.WriteHeader(status)
			fmt.Fprint(w, "answer")
		})
		return address
	}
	block := strings.Replace(staticPool(replica(http.StatusOK), replica(http.StatusServiceUnavailable)), "health /healthz", "policy round_robin\n\tbreaker {\n\t\tmin_requests 1000\n\t}\n\thealth /healthz", 1)
	e := startEdge(t, block, tracedSite)
	eventually(t, "both replicas are up", func() bool { return e.replicasUp() == 2 })

	for i := range 2 { // one of two at least begins at the replica that refuses
		field, _, _ := parentOf(i, "01")
		if got := e.get(fmt.Sprintf("/page/%d", i), "Traceparent", field); got.StatusCode != http.StatusOK {
			t.Fatalf("%d: want the other replica's 200", got.StatusCode)
		}
	}
	for i := range 2 {
		_, trace, _ := parentOf(i, "01")
		traceOf(t, took, trace, "edge fill")
	}
	var tries []otlp.Span
	for _, span := range took.Spans() {
		if span.Name == "edge attempt" {
			tries = append(tries, span)
		}
	}
	failed := 0
	for _, try := range tries {
		status, known := heard.Load("00-" + try.Trace + "-" + try.ID + "-01")
		if !known || try.Attributes["http.response.status_code"] != int64(status.(int)) {
			t.Errorf("%+v: its replica was told of it: %t, and answered %v", try, known, status)
		}
		if try.Failed {
			failed++
		}
	}
	if failed == 0 || len(tries) != 2+failed {
		t.Errorf("%d tries, of which %d failed: want one more for each that failed, and one at least", len(tries), failed)
	}
}

func TestATraceThatIsNotSampledGoesOnAndIsNotTold(t *testing.T) {
	took := startCollector(t)
	var origin hearing
	address, _ := counting(t, origin.serve)
	e := startEdge(t, staticPool(address), tracedSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	quiet, trace, _ := parentOf(1, "00")
	e.get("/quiet", "Traceparent", quiet)
	loud, sampled, _ := parentOf(2, "01")
	e.get("/loud", "Traceparent", loud)
	traceOf(t, took, sampled, "visit")
	for _, span := range took.Spans() {
		if span.Trace == trace {
			t.Errorf("%+v: want no span of a trace that is not sampled", span)
		}
	}
	if heard := origin.of("/quiet"); !strings.HasPrefix(heard, "00-"+trace+"-") || !strings.HasSuffix(heard, "-00") {
		t.Errorf("the replica got traceparent %q: want the same trace, not sampled", heard)
	}
}

func TestACollectorThatFailsIsNoMatterToVisitors(t *testing.T) {
	took := startCollector(t)
	took.Fail(http.StatusBadRequest, 1<<30)
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, "tracing\n"+staticPool(address), tracedSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	for i := range 50 {
		if got := e.get(fmt.Sprintf("/page/%d", i)); got.StatusCode != http.StatusOK || got.Text != "page" {
			t.Fatalf("%d %q: want the page", got.StatusCode, got.Text)
		}
	}
	if state := e.purge(map[string]any{"everything": true}); state != "done" {
		t.Errorf("purge: %s: want done", state)
	}
}

func TestAPurgeIsATraceWithItsSteps(t *testing.T) {
	for name, c := range map[string]struct {
		site  string
		below func(spans map[string]otlp.Span, caller string) string
	}{
		"given by a caller that traces": {pagesSite, func(_ map[string]otlp.Span, caller string) string { return caller }},
		"through a site that traces":    {tracedSite, func(spans map[string]otlp.Span, _ string) string { return spans["visit"].ID }},
	} {
		t.Run(name, func(t *testing.T) {
			took := startCollector(t)
			address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
			e := startEdge(t, "tracing\n"+staticPool(address), c.site)
			field, trace, caller := parentOf(1, "01")
			got := e.do(http.MethodPost, "/.edge/purge", strings.NewReader(`{"tags":["pages"],"reason":"a test"}`),
				"Authorization", "Bearer "+testToken, "Content-Type", "application/json", "Traceparent", field)
			if got.StatusCode != http.StatusAccepted {
				t.Fatalf("%d %s", got.StatusCode, got.Text)
			}
			traceOf(t, took, trace, "edge purge")
			if c.site == tracedSite {
				traceOf(t, took, trace, "visit")
			}
			spans := traceOf(t, took, trace, "edge purge fleet")
			order := spans["edge purge"]
			if want := c.below(spans, caller); order.Parent != want {
				t.Errorf("the purge's span is below %q: want %q", order.Parent, want)
			}
			if order.Attributes["edge.purge.state"] != "done" || order.Attributes["edge.purge.reason"] != "a test" || order.Failed {
				t.Errorf("the purge's span: %+v: want it done", order)
			}
			for _, step := range []string{"generation", "node", "fleet"} {
				span, there := spans["edge purge "+step]
				if !there || span.Parent != order.ID || span.Start.Before(order.Start) || span.End.After(order.End) {
					t.Errorf("step %s: %+v: want it within the purge", step, span)
				}
			}
		})
	}
}

func TestTracingThatIsOffCostsNothing(t *testing.T) {
	server := new(caddyhttp.Server)
	r := httptest.NewRequest(http.MethodGet, "/page", nil)
	r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	ctx := context.WithValue(context.WithValue(r.Context(), caddyhttp.ServerCtxKey, server), caddyhttp.VarsCtxKey, map[string]any{})
	r = r.WithContext(ctx)
	h := new(Rules)
	h.compiled, _ = cacherules.Compile(nil, nil) // no rules are no mistake
	ex := new(exchange)
	fetched := 0
	next := func() error { fetched++; return nil }
	allocated := testing.AllocsPerRun(1000, func() {
		ex.traceVisit(r)
		ex.judge(r, h)
		ex.spans.lookUp()
		ex.spans.decided()
		ex.spans = ex.spans.detached()
		_ = ex.fetch(next) // which fails never
		ex.traceTries("app")
		ex.spans.lookedUp(new(httpcache.Result))
		ex.spans.tell(ex)
	})
	if allocated != 0 || ex.spans != nil || ex.trace.Try != nil || fetched == 0 {
		t.Errorf("%v allocations, spans %v, %d fetches: want none of the first two", allocated, ex.spans, fetched)
	}
}

func TestWithoutTracingTheTraceOfTheClientGoesThrough(t *testing.T) {
	var origin hearing
	address, _ := counting(t, origin.serve)
	e := startEdge(t, staticPool(address), pagesSite)
	field, _, _ := parentOf(1, "01")
	for _, path := range []string{"/page", "/account"} {
		e.get(path, "Traceparent", field)
		if heard := origin.of(path); heard != field {
			t.Errorf("%s: the replica got traceparent %q: want %q as the client sent it", path, heard, field)
		}
	}
}
