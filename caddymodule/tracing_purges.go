package caddymodule

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/edgegw/edge/internal/purge"
)

// flushFor bounds how long the end of a configuration waits for the last spans
// to be taken.
const flushFor = 5 * time.Second

// provider makes and exports the spans of purges, and those of requests that
// edge traces itself: Caddy's own belongs to the requests that its tracing
// directive sees. Both read the same variables (OTEL_TRACES_EXPORTER,
// OTEL_EXPORTER_OTLP_…). Whoever makes a span here has decided that it is wanted.
// It outlives configurations.
type provider struct{ *sdk.TracerProvider }

// Destruct sends what is left.
func (p provider) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushFor)
	defer cancel()
	return p.Shutdown(ctx)
}

type providerKey struct{}

// acquireProvider finds or starts the provider, if anything is to be traced.
func (a *App) acquireProvider() error {
	if !a.Tracing {
		return nil
	}
	found, _, err := shared.LoadOrNew(providerKey{}, func() (caddy.Destructor, error) {
		exporter, err := autoexport.NewSpanExporter(context.Background())
		if err != nil {
			return nil, fmt.Errorf("tracing: want OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_… as OpenTelemetry has them: %w", err)
		}
		return provider{sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithSampler(sdk.AlwaysSample()))}, nil
	})
	if err != nil {
		return err
	}
	a.tracer = found.(provider).Tracer(tracerName)
	a.visits = newVisitTracing(a.tracer, float64(a.TraceRequests), a.TracePerSecond)
	return nil
}

func (a *App) releaseProvider() error {
	if a.tracer == nil {
		return nil
	}
	_, err := shared.Delete(providerKey{})
	return err
}

// tracePurge tells of a purge that is over: the order as one span, below that of
// the call that gave it, and each step in it.
func tracePurge(e purge.Event) {
	a := live.Load()
	if e.Kind != purge.OrderFinished || a == nil || a.tracer == nil {
		return
	}
	r := e.Record
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": r.Traceparent})
	ctx, span := a.tracer.Start(ctx, "edge purge", trace.WithTimestamp(r.Created), trace.WithAttributes(
		attribute.String("edge.purge.id", r.ID), attribute.String("edge.purge.state", string(r.State)),
		attribute.Bool("edge.purge.soft", r.Soft), attribute.Int64("edge.purge.generation", int64(min(r.Generation, 1<<63-1))), //nolint:gosec // bounded
		attribute.String("edge.purge.reason", r.Reason),
	))
	for _, step := range r.Steps {
		_, child := a.tracer.Start(ctx, "edge purge "+string(step.Name), trace.WithTimestamp(step.Started))
		if step.Detail != "" {
			child.SetAttributes(attribute.String("edge.purge.detail", step.Detail))
		}
		child.End(trace.WithTimestamp(step.Finished))
	}
	for _, target := range r.Targets {
		span.AddEvent("target", trace.WithTimestamp(r.Finished), trace.WithAttributes(targetFacts(target)...))
	}
	if r.State != purge.Done {
		span.SetStatus(codes.Error, r.Error)
	}
	span.End(trace.WithTimestamp(r.Finished))
}

func targetFacts(t purge.TargetState) []attribute.KeyValue {
	facts := []attribute.KeyValue{
		attribute.String("edge.purge.target", t.Name), attribute.String("edge.purge.state", string(t.State)),
		attribute.Int("edge.purge.batches", t.Batches), attribute.Int("edge.purge.attempts", t.Attempts),
	}
	if t.Error != nil {
		facts = append(facts, attribute.String("edge.purge.error", t.Error.Message))
	}
	return facts
}

// parseTracing reads
//
//	tracing {
//	    requests   <share>
//	    per_second <count>
//	}
//
// Alone it is about purges.
func (a *App) parseTracing(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("tracing: spare argument %q: want it alone, or with a block; where spans go is said by OTEL_EXPORTER_OTLP_ENDPOINT", d.Val())
	}
	a.Tracing = true
	if err := readBlock(d, words{"requests": ratio(&a.TraceRequests), "per_second": count(&a.TracePerSecond)}); err != nil {
		return err
	}
	if a.TracePerSecond > 0 && a.TraceRequests == 0 {
		return d.Errf("tracing per_second %d: want requests, such as 1%%, besides: it bounds those", a.TracePerSecond)
	}
	return nil
}
