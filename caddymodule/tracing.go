package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
)

// tracerName names edge among those who make spans.
const tracerName = "github.com/edgegw/edge"

// The attributes of spans are called as the placeholders are.
const (
	attrRequestID = attribute.Key("edge.request_id")
	attrRule      = attribute.Key("edge.rule")
	attrStatus    = attribute.Key("edge.cache.status")
	attrReason    = attribute.Key("edge.cache.reason")
	attrReplica   = attribute.Key("edge.replica")
	attrVersion   = attribute.Key("edge.version")
	attrAttempts  = attribute.Key("edge.attempts")
	attrPool      = attribute.Key("edge.pool")
)

// spans makes the spans of one exchange, below the one in which another handler,
// such as Caddy's tracing, has put the request, or below its own. Nil makes none. Nothing about
// it is in the request: its context, of which others keep copies, stays as it is.
type spans struct {
	tracer trace.Tracer
	below  context.Context //nolint:containedctx // of the span that is the parent of what follows
	lookup lookup
	visit  trace.Span // the request's own, if edge has made it
}

// traceVisit begins to trace the request, unless nobody does, or its trace is not
// sampled.
func (ex *exchange) traceVisit(r *http.Request) {
	span := trace.SpanFromContext(r.Context())
	if span.IsRecording() {
		ex.spans = &spans{tracer: span.TracerProvider().Tracer(tracerName), below: trace.ContextWithSpan(context.Background(), span)}
		return
	}
	if a := live.Load(); a != nil && a.visits != nil && !span.SpanContext().IsValid() {
		ex.spans = a.visits.begin(r, ex)
	}
}

// detached makes those of a fetch, which may outlast its client.
func (s *spans) detached() *spans {
	if s == nil {
		return nil
	}
	return &spans{tracer: s.tracer, below: s.below}
}

// start is nil when nobody traces the request.
func (s *spans) start(name string, options ...trace.SpanStartOption) trace.Span {
	if s == nil {
		return nil
	}
	_, span := s.tracer.Start(s.below, name, options...)
	return span
}

// into has what follows stand below a span, until the result is called.
func (s *spans) into(span trace.Span) (back func()) {
	before := s.below
	s.below = trace.ContextWithSpan(context.Background(), span)
	return func() { s.below = before }
}

// ended ends a span whose work came to err.
func ended(span trace.Span, err error, at ...trace.SpanEndOption) {
	if err != nil && !errors.Is(err, context.Canceled) {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End(at...)
}

// judge is the verdict on a request, which a trace tells.
func (ex *exchange) judge(r *http.Request, h *Rules) *cacherules.Verdict {
	span := ex.spans.start("edge judge")
	verdict := h.judge(r)
	if span != nil {
		span.SetAttributes(attrRule.String(verdict.Rule), attribute.String("edge.rule.kind", verdict.Kind))
		span.End()
	}
	return verdict
}

// lookup is the span of a cache's decision. It ends when the answer begins or a
// fetch does, and is told of once it is known what came of it.
type lookup struct {
	span  trace.Span
	until time.Time
}

// lookUp begins it.
func (s *spans) lookUp() {
	if s != nil {
		s.lookup = lookup{span: s.start("edge look-up")}
	}
}

// decided notes the end of the look-up, once. Only the client's goroutine may.
func (s *spans) decided() {
	if s != nil && s.lookup.until.IsZero() {
		s.lookup.until = time.Now()
	}
}

// lookedUp ends the span with what came of the look-up.
func (s *spans) lookedUp(result *httpcache.Result) {
	if s == nil || s.lookup.span == nil {
		return
	}
	s.decided()
	l := s.lookup
	s.lookup.span = nil
	l.span.SetAttributes(
		attrStatus.String(string(result.Status)), attrReason.String(string(result.Reason)),
		attribute.Bool("edge.cache.stored", result.Stored), attribute.Bool("edge.cache.collapsed", result.Collapsed),
		attribute.Int64("edge.cache.generation", int64(min(result.Generation, 1<<63-1))), //nolint:gosec // bounded
	)
	l.span.End(trace.WithTimestamp(l.until))
}

// fetch answers a cache's request by the next handler, which a trace tells: as a
// fill when it may become an entry.
func (ex *exchange) fetch(next func() error) (err error) {
	if ex.spans == nil {
		return next()
	}
	name := "edge fetch"
	if ex.shared {
		name = "edge fill"
	}
	span := ex.spans.start(name)
	back := ex.spans.into(span)
	err = errCutOff // what stands if it ends with a panic
	defer func() {
		back()
		span.SetAttributes(attrAttempts.Int(ex.trace.Attempts), attrReplica.String(ex.trace.Replica), attrVersion.String(ex.trace.Version))
		ended(span, err)
	}()
	err = next()
	return err
}

// traceTries has a span for each replica that is asked, of which the replica
// gets to know (W3C Trace Context): what it traces stands below.
func (ex *exchange) traceTries(pool string) {
	if ex.spans == nil {
		return
	}
	s := *ex.spans // as it is now: tries may outlast what they stand below
	ex.trace.Try = func(try lb.Try, header http.Header) func(int, error) {
		ctx, span := s.tracer.Start(s.below, "edge attempt", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attrPool.String(pool), attrReplica.String(try.Replica), attrVersion.String(try.Version),
			attribute.String("server.address", try.Address), attribute.Int("edge.attempt", try.Number), attribute.Bool("edge.hedge", try.Hedge),
		))
		propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(header))
		return func(status int, err error) {
			if err == nil {
				span.SetAttributes(attribute.Int("http.response.status_code", status))
				if status >= http.StatusInternalServerError {
					span.SetStatus(codes.Error, http.StatusText(status))
				}
			}
			ended(span, err)
		}
	}
}

// tell puts what edge knows of the request into its span.
func (s *spans) tell(ex *exchange) {
	if s == nil {
		return
	}
	attributes := []attribute.KeyValue{attrRequestID.String(ex.id), attrAttempts.Int(ex.attempts())}
	if ex.verdict != nil {
		attributes = append(attributes, attrRule.String(ex.verdict.Rule))
	}
	if ex.cached {
		status, reason := ex.outcome()
		attributes = append(attributes, attrStatus.String(status), attrReason.String(reason))
	}
	if ex.pool != nil {
		attributes = append(attributes, attrPool.String(ex.pool.name))
	}
	if replica := ex.replica(); replica != "" {
		attributes = append(attributes, attrReplica.String(replica))
	}
	if version := ex.version(); version != "" {
		attributes = append(attributes, attrVersion.String(version))
	}
	trace.SpanFromContext(s.below).SetAttributes(attributes...)
}
