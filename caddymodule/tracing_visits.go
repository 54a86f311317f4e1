package caddymodule

import (
	"context"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/rawhit"
	"github.com/edgegw/edge/internal/sampling"
)

// traceparentField tells the trace of a request (W3C Trace Context, 3.2).
const traceparentField = "Traceparent"

// visitTracing makes the spans of requests that no other handler traces. Which
// are traced is decided before anything is made: the others cost a coin.
type visitTracing struct {
	tracer trace.Tracer
	// below is what a random number of 64 bits must be below, for a request to
	// be traced whose caller does not say.
	below uint64
	all   bool
	// bound is nil for none.
	bound *sampling.Sampler
}

// newVisitTracing is nil when none is to be traced. Perhaps there is a bound on
// how many are in a second, whose caller does not say; zero is none.
func newVisitTracing(tracer trace.Tracer, share float64, perSecond int) *visitTracing {
	if tracer == nil || share <= 0 {
		return nil
	}
	v := &visitTracing{tracer: tracer, below: uint64(math.Ldexp(min(share, 0.999), 64)), all: share >= 1}
	if perSecond > 0 {
		v.bound = sampling.New(sampling.RateOf(perSecond, 0))
	}
	return v
}

// tossed reports whether a request is traced whose caller does not say.
func (v *visitTracing) tossed() bool {
	return (v.all || rand.Uint64() < v.below) && (v.bound == nil || v.bound.Keep(time.Now()))
}

// chosen reports whether a request is traced: as its caller said, else by chance.
func (v *visitTracing) chosen(r *http.Request) (chosen, said bool) {
	if given := r.Header[traceparentField]; len(given) == 1 {
		if sampled, valid := sampledParent(given[0]); valid {
			return sampled, true
		}
	}
	// W3C Trace Context, 4.3: an invalid one is as good as none.
	return rawhit.Chosen(r) || v.tossed(), false
}

// sampledParent reads the flag of a traceparent of version 00. Who goes on with
// the trace reads the rest.
func sampledParent(field string) (sampled, valid bool) {
	if len(field) != 55 || !strings.HasPrefix(field, "00-") || field[35] != '-' || field[52] != '-' {
		return false, false
	}
	var flags [1]byte
	if _, err := hex.Decode(flags[:], []byte(field[53:])); err != nil {
		return false, false
	}
	return trace.TraceFlags(flags[0]).IsSampled(), true
}

// begin starts the span of a request, and below it those of what edge does. It
// is nil for a request that is not traced.
func (v *visitTracing) begin(r *http.Request, ex *exchange) *spans {
	if chosen, said := v.chosen(r); !chosen {
		ex.untraced = !said
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	ctx, span := v.tracer.Start(ctx, "edge visit", trace.WithTimestamp(ex.began), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("url.scheme", scheme),
		attribute.String("url.path", r.URL.Path), attribute.String("server.address", r.Host),
	))
	if ex.vars != nil {
		ex.vars["trace_id"], ex.vars["span_id"] = span.SpanContext().TraceID().String(), span.SpanContext().SpanID().String()
	}
	return &spans{tracer: v.tracer, below: ctx, visit: span}
}

// unknownStatus is that of an answer of the control API.
const unknownStatus = -1

// visited ends the span of a request, if it is edge's own. A status of 0 is that
// of an answer that was cut off.
func (s *spans) visited(status int, err error) {
	if s == nil || s.visit == nil {
		return
	}
	if status > 0 {
		s.visit.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if status == 0 || status >= http.StatusInternalServerError {
		s.visit.SetStatus(codes.Error, http.StatusText(status))
	}
	ended(s.visit, err)
}

// fields of the access log, as Caddy's tracing has them.
func (s *spans) fields() []zap.Field {
	if s == nil || s.visit == nil {
		return nil
	}
	c := s.visit.SpanContext()
	return []zap.Field{zap.String("traceID", c.TraceID().String()), zap.String("spanID", c.SpanID().String())}
}

// leaveUntraced tells a replica that the request is not traced. Without a word it
// would decide anew, and trace what nobody else does.
func leaveUntraced(header http.Header) {
	const text = "00-00000000000000000000000000000000-0000000000000000-00"
	field := []byte(text)
	id := rawhit.NewID()
	copy(field[3:], id)
	copy(field[36:], id[:16])
	field[3], field[36] = '1'+field[3]%8, '1'+field[36]%8 // an id of zeros is none
	header[traceparentField] = []string{string(field)}
}
