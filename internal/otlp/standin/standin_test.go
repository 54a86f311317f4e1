package standin

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

// good is an export of one span, and that span.
func good() (*traces.ExportTraceServiceRequest, *wire.Span) {
	span := &wire.Span{
		TraceId: bytes.Repeat([]byte{7}, 16), SpanId: bytes.Repeat([]byte{5}, 8), ParentSpanId: bytes.Repeat([]byte{3}, 8),
		Name: "edge attempt", Kind: wire.Span_SPAN_KIND_CLIENT, StartTimeUnixNano: 10, EndTimeUnixNano: 20,
		Attributes: []*common.KeyValue{text("edge.version", "v1")},
	}
	return &traces.ExportTraceServiceRequest{ResourceSpans: []*wire.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "shop")}},
		ScopeSpans: []*wire.ScopeSpans{{Scope: &common.InstrumentationScope{Name: "edge"}, Spans: []*wire.Span{span}}},
	}}}, span
}

func post(s *Server, change func(*http.Request), body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/traces", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/x-protobuf")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestAGoodSpanIsKept(t *testing.T) {
	export, _ := good()
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(marshal(t, export)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	s := New()
	if w := post(s, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, packed.Bytes()); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	spans := s.Spans()
	if len(spans) != 1 || spans[0].Trace != strings.Repeat("07", 16) || spans[0].Parent != strings.Repeat("03", 8) ||
		spans[0].Attributes["edge.version"] != "v1" || spans[0].Service != "shop" || spans[0].Scope != "edge" {
		t.Errorf("kept %+v: want the span as it was sent", spans)
	}
	if w := post(s, nil, marshal(t, export)); w.Code != http.StatusBadRequest || len(s.Refusals()) != 1 {
		t.Errorf("the same span again: status %d, refusals %q: want 400 and one", w.Code, s.Refusals())
	}
}

func TestWhatIsNotATraceIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		request func(*http.Request)
		change  func(*traces.ExportTraceServiceRequest, *wire.Span)
		status  int
	}{
		"another path":         {request: func(r *http.Request) { r.URL.Path = "/v1/logs" }, status: 404},
		"another method":       {request: func(r *http.Request) { r.Method = http.MethodPut }, status: 405},
		"another content type": {request: func(r *http.Request) { r.Header.Set("Content-Type", "application/protobuf") }, status: 415},
		"another coding":       {request: func(r *http.Request) { r.Header.Set("Content-Encoding", "br") }, status: 400},
		"a coding that is not": {request: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, status: 400},
		"a short trace id":     {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.TraceId = s.TraceId[:8] }, status: 400},
		"a trace id of zeros":  {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.TraceId = make([]byte, 16) }, status: 400},
		"a span id of zeros":   {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.SpanId = make([]byte, 8) }, status: 400},
		"a long parent id":     {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.ParentSpanId = s.TraceId }, status: 400},
		"its own parent":       {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.ParentSpanId = s.SpanId }, status: 400},
		"no name":              {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.Name = "" }, status: 400},
		"no kind":              {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.Kind = 0 }, status: 400},
		"an end before":        {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.EndTimeUnixNano = 9 }, status: 400},
		"an attribute twice": {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) {
			s.Attributes = append(s.Attributes, s.Attributes[0])
		}, status: 400},
		"an attribute of none": {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) { s.Attributes[0].Value = nil }, status: 400},
		"an event without time": {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) {
			s.Events = []*wire.Span_Event{{Name: "target"}}
		}, status: 400},
		"no service": {change: func(e *traces.ExportTraceServiceRequest, _ *wire.Span) { e.ResourceSpans[0].Resource = nil }, status: 400},
		"no spans":   {change: func(e *traces.ExportTraceServiceRequest, _ *wire.Span) { e.ResourceSpans = nil }, status: 400},
		"an unknown field": {change: func(_ *traces.ExportTraceServiceRequest, s *wire.Span) {
			s.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 1}) // field 127, a number
		}, status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			export, span := good()
			if c.change != nil {
				c.change(export, span)
			}
			s := New()
			if w := post(s, c.request, marshal(t, export)); w.Code != c.status || len(s.Refusals()) != 1 || len(s.Spans()) != 0 {
				t.Errorf("status %d, refusals %q, %d spans: want %d, one and none", w.Code, s.Refusals(), len(s.Spans()), c.status)
			}
		})
	}
	s := New()
	if w := post(s, nil, []byte("not a message")); w.Code != http.StatusBadRequest {
		t.Errorf("a body that is no message: status %d: want 400", w.Code)
	}
}
