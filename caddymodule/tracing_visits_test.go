package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// hardlyAny traces as good as no request whose caller does not say so.
const hardlyAny = "tracing {\n\trequests 0.0000001%\n}\n"

func TestAReplicaHearsOfARequestThatIsNotTraced(t *testing.T) {
	took := startCollector(t)
	var origin hearing
	address, _ := counting(t, origin.serve)
	e := startEdge(t, hardlyAny+staticPool(address), pagesSite)
	e.get("/first")
	e.get("/account")
	for _, path := range []string{"/first", "/account"} {
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": origin.of(path)})
		if span := trace.SpanContextFromContext(ctx); !span.IsValid() || span.IsSampled() {
			t.Errorf("%s: the replica got traceparent %q: want a valid one that is not sampled", path, origin.of(path))
		}
	}
	unsampled, _, _ := parentOf(1, "00")
	e.get("/second", "Traceparent", unsampled)
	if heard := origin.of("/second"); heard != unsampled {
		t.Errorf("the replica got traceparent %q: want %q as the client sent it", heard, unsampled)
	}
	sampled, id, _ := parentOf(2, "01")
	e.get("/third", "Traceparent", sampled)
	traceOf(t, took, id, "edge visit")
	for _, span := range took.Spans() {
		if span.Trace != id {
			t.Errorf("span %q of trace %s: want none but of the caller's trace", span.Name, span.Trace)
		}
	}
}

func TestRepliesOnTheConnectionAndTracesShareTheRequests(t *testing.T) {
	took := startCollector(t)
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite, "tracing {\n\trequests 50%\n}\n")
	c := e.rawClient()
	c.learned(streams.Get("/a"))
	hits := func() (n int64) {
		for _, span := range took.Spans() {
			if span.Name == "edge visit" && span.Attributes["edge.cache.status"] == "hit" {
				n++
			}
		}
		return n
	}
	eventually(t, "hits on the connection, and hits with a trace", func() bool {
		c.ask(streams.Get("/a"))
		return replies() > 5 && hits() > 5
	})
	field, id, parent := parentOf(1, "01")
	c.ask(streams.Get("/a", "Traceparent: "+field))
	if visit := traceOf(t, took, id, "edge visit")["edge visit"]; visit.Parent != parent {
		t.Errorf("the visit's span is below %q: want the caller's, %q", visit.Parent, parent)
	}
}

func TestARequestThatIsNotTracedCostsNothing(t *testing.T) {
	v := newVisitTracing(sdk.NewTracerProvider().Tracer(tracerName), 1e-18, 0)
	if v == nil {
		t.Fatal("not made")
	}
	unsampled, _, _ := parentOf(1, "00")
	for name, given := range map[string][]string{"nobody traces": nil, "the caller leaves it out": {unsampled}} {
		r := httptest.NewRequest(http.MethodGet, "/page", nil)
		if given != nil {
			r.Header[traceparentField] = given
		}
		ex := new(exchange)
		if n := testing.AllocsPerRun(1000, func() { ex.spans = v.begin(r, ex) }); n != 0 || ex.spans != nil {
			t.Errorf("%s: %v allocations, spans %v: want none", name, n, ex.spans)
		}
	}
}

func TestTheShareOfTracedRequests(t *testing.T) {
	const tosses = 200_000
	for _, share := range []float64{0.01, 0.5, 0.9, 1} {
		v, n := newVisitTracing(sdk.NewTracerProvider().Tracer(tracerName), share, 0), 0
		for range tosses {
			if v.tossed() {
				n++
			}
		}
		// Six standard deviations of a binomial distribution are less than 0.007.
		if got := float64(n) / tosses; got < share-0.007 || got > share+0.007 {
			t.Errorf("share %v: %v are traced", share, got)
		}
	}
	if newVisitTracing(sdk.NewTracerProvider().Tracer(tracerName), 0, 9) != nil || newVisitTracing(nil, 1, 0) != nil {
		t.Error("requests are traced though none is wanted")
	}
}

func TestTracesAreBoundedWhenTheirCallersDoNotSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitTracing(sdk.NewTracerProvider().Tracer(tracerName), 1, 20)
		for second := range 3 {
			var traced, said int
			sampled, _, _ := parentOf(1, "01")
			for range 1000 {
				if v.tossed() {
					traced++
				}
				r := httptest.NewRequest(http.MethodGet, "/page", nil)
				r.Header[traceparentField] = []string{sampled}
				if chosen, _ := v.chosen(r); chosen {
					said++
				}
			}
			if traced != 20 || said != 1000 {
				t.Errorf("second %d: %d are traced, and %d whose caller said so: want 20 and 1000", second, traced, said)
			}
			time.Sleep(time.Second)
		}
	})
}

// What we take for a sampled parent must be one for the library that goes on
// with it, but for ids of zeros, which it takes for none.
func FuzzSampledParent(f *testing.F) {
	for _, flags := range []string{"00", "01", "03", "ff", "0g", "1"} {
		field, _, _ := parentOf(1, flags)
		f.Add(field)
	}
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Fuzz(func(t *testing.T, field string) {
		sampled, valid := sampledParent(field)
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": field})
		span := trace.SpanContextFromContext(ctx)
		if span.IsValid() && field[:2] == "00" && (!valid || sampled != span.IsSampled()) {
			t.Errorf("%q: sampled %v, valid %v: want it as the library, sampled %v", field, sampled, valid, span.IsSampled())
		}
	})
}

func TestWhatIsLeftUntracedIsWellFormed(t *testing.T) {
	for range 1000 {
		header := make(http.Header)
		leaveUntraced(header)
		if sampled, valid := sampledParent(header.Get("Traceparent")); sampled || !valid {
			t.Fatalf("%q: want a valid one that is not sampled", header.Get("Traceparent"))
		}
	}
}
