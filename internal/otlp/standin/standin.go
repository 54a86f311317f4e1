// Package standin is a strict stand-in for an OpenTelemetry collector that
// takes traces over OTLP/HTTP. It refuses what the real one refuses, and what it
// would only overlook, and keeps what it took. Tests and measurements use it;
// nothing is shown anywhere.
//
// The protocol: https://opentelemetry.io/docs/specs/otlp/#otlphttp, with the
// messages of opentelemetry-proto.
package standin

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	traces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxBody bounds a request: the real one's default.
const maxBody = 20 << 20

// Span is an accepted span. Ids are hex digits, as in traceparent.
type Span struct {
	Trace, ID  string
	Parent     string // empty for the root of its trace
	Name       string
	Kind       wire.Span_SpanKind
	Start, End time.Time
	Attributes map[string]any // string, bool, int64 or float64
	Events     []string       // their names
	Failed     bool           // its status is an error
	Message    string         // of that
	Scope      string         // who made it
	Service    string         // of the resource
}

// Server is the stand-in: an http.Handler.
type Server struct {
	mu       sync.Mutex
	spans    []Span
	seen     map[string]bool
	refusals []string
	status   int // that the next calls are answered with
	times    int
}

// New is a collector that has nothing yet.
func New() *Server { return &Server{seen: make(map[string]bool)} }

// Fail answers the next calls with a status.
func (s *Server) Fail(status, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.times = status, times
}

// Spans are those that were accepted, in order.
func (s *Server) Spans() []Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Span(nil), s.spans...)
}

// Refusals say what clients did wrong, in order.
func (s *Server) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refusals...)
}

func (s *Server) failing() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times <= 0 {
		return 0
	}
	s.times--
	return s.status
}

// ServeHTTP takes an export.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status := s.failing(); status != 0 {
		w.WriteHeader(status)
		return
	}
	status, err := s.take(r)
	if err != nil {
		s.mu.Lock()
		s.refusals = append(s.refusals, err.Error())
		s.mu.Unlock()
		http.Error(w, err.Error(), status)
		return
	}
	answer, err := proto.Marshal(new(traces.ExportTraceServiceResponse))
	if err != nil {
		panic(err) // an empty message cannot fail
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer) // a client that is gone will not read it
}

func (s *Server) take(r *http.Request) (int, error) {
	switch {
	case r.URL.Path != "/v1/traces":
		return http.StatusNotFound, fmt.Errorf("path %q: want /v1/traces", r.URL.Path)
	case r.Method != http.MethodPost:
		return http.StatusMethodNotAllowed, fmt.Errorf("method %s: want POST", r.Method)
	case r.Header.Get("Content-Type") != "application/x-protobuf":
		return http.StatusUnsupportedMediaType, fmt.Errorf("content type %q: want application/x-protobuf", r.Header.Get("Content-Type"))
	}
	body, err := read(r)
	if err != nil {
		return http.StatusBadRequest, err
	}
	spans, err := parse(body)
	if err != nil {
		return http.StatusBadRequest, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range spans {
		id := span.Trace + span.ID
		if s.seen[id] {
			return http.StatusBadRequest, fmt.Errorf("span %s: came before", id)
		}
		s.seen[id] = true
	}
	s.spans = append(s.spans, spans...)
	return http.StatusOK, nil
}

func read(r *http.Request) ([]byte, error) {
	var source io.Reader = r.Body
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "":
	case "gzip":
		unpacked, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("content encoding gzip: %w", err)
		}
		source = unpacked
	default:
		return nil, fmt.Errorf("content encoding %q: want gzip, or none", coding)
	}
	body, err := io.ReadAll(io.LimitReader(source, maxBody+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("body: %w", err)
	case len(body) > maxBody:
		return nil, fmt.Errorf("body of more than %d bytes", maxBody)
	}
	return body, nil
}

// parse reads an export and judges every span of it.
func parse(body []byte) ([]Span, error) {
	export := new(traces.ExportTraceServiceRequest)
	if err := proto.Unmarshal(body, export); err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	if err := known(export.ProtoReflect()); err != nil {
		return nil, err
	}
	var all []Span
	for _, resource := range export.ResourceSpans {
		about, err := attributes(resource.GetResource().GetAttributes())
		if err != nil {
			return nil, fmt.Errorf("resource: %w", err)
		}
		service, _ := about["service.name"].(string)
		if service == "" {
			return nil, errors.New("resource: want a service.name")
		}
		for _, scope := range resource.ScopeSpans {
			if scope.GetScope().GetName() == "" {
				return nil, errors.New("scope: want a name")
			}
			for _, from := range scope.Spans {
				span, err := judge(from)
				if err != nil {
					return nil, fmt.Errorf("span %q: %w", from.Name, err)
				}
				span.Scope, span.Service = scope.Scope.Name, service
				all = append(all, span)
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("export without spans")
	}
	return all, nil
}

// known refuses fields that the messages do not have, at any depth.
func known(m protoreflect.Message) (err error) {
	if unknown := m.GetUnknown(); len(unknown) > 0 {
		return fmt.Errorf("%s: %d bytes of unknown fields", m.Descriptor().FullName(), len(unknown))
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := 0; i < value.List().Len() && err == nil; i++ {
				err = known(value.List().Get(i).Message())
			}
		default:
			err = known(value.Message())
		}
		return err == nil
	})
	return err
}

func judge(from *wire.Span) (Span, error) {
	span := Span{
		Trace: hex.EncodeToString(from.TraceId), ID: hex.EncodeToString(from.SpanId), Parent: hex.EncodeToString(from.ParentSpanId),
		Name: from.Name, Kind: from.Kind,
		Start: time.Unix(0, int64(from.StartTimeUnixNano)), End: time.Unix(0, int64(from.EndTimeUnixNano)), //nolint:gosec // until 2262
		Failed: from.GetStatus().GetCode() == wire.Status_STATUS_CODE_ERROR, Message: from.GetStatus().GetMessage(),
	}
	switch {
	case !isID(from.TraceId, 16):
		return span, fmt.Errorf("trace id %q: want 16 bytes, not all zero", span.Trace)
	case !isID(from.SpanId, 8):
		return span, fmt.Errorf("span id %q: want 8 bytes, not all zero", span.ID)
	case len(from.ParentSpanId) > 0 && !isID(from.ParentSpanId, 8):
		return span, fmt.Errorf("parent id %q: want 8 bytes, not all zero, or none", span.Parent)
	case span.Parent == span.ID:
		return span, errors.New("parent id: its own")
	case from.Name == "":
		return span, errors.New("name: missing")
	case from.Kind <= wire.Span_SPAN_KIND_UNSPECIFIED || from.Kind > wire.Span_SPAN_KIND_CONSUMER:
		return span, fmt.Errorf("kind %d: want one that there is", from.Kind)
	case from.StartTimeUnixNano == 0 || from.EndTimeUnixNano < from.StartTimeUnixNano:
		return span, fmt.Errorf("from %d to %d: want a start, and no end before it", from.StartTimeUnixNano, from.EndTimeUnixNano)
	case from.GetStatus().GetCode() > wire.Status_STATUS_CODE_ERROR:
		return span, fmt.Errorf("status %d: want one that there is", from.GetStatus().GetCode())
	}
	for _, event := range from.Events {
		if event.Name == "" || event.TimeUnixNano == 0 {
			return span, errors.New("event: want a name and a time")
		}
		if _, err := attributes(event.Attributes); err != nil {
			return span, fmt.Errorf("event %q: %w", event.Name, err)
		}
		span.Events = append(span.Events, event.Name)
	}
	var err error
	span.Attributes, err = attributes(from.Attributes)
	return span, err
}

func isID(id []byte, size int) bool {
	return len(id) == size && !bytes.Equal(id, make([]byte, size))
}

// attributes must have names, and each of them once.
func attributes(from []*common.KeyValue) (map[string]any, error) {
	all := make(map[string]any, len(from))
	for _, pair := range from {
		if _, twice := all[pair.Key]; pair.Key == "" || twice {
			return nil, fmt.Errorf("attribute %q: want a name, and each once", pair.Key)
		}
		switch value := pair.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[pair.Key] = value.StringValue
		case *common.AnyValue_BoolValue:
			all[pair.Key] = value.BoolValue
		case *common.AnyValue_IntValue:
			all[pair.Key] = value.IntValue
		case *common.AnyValue_DoubleValue:
			all[pair.Key] = value.DoubleValue
		case nil:
			return nil, fmt.Errorf("attribute %q: no value", pair.Key)
		default:
			all[pair.Key] = nil // a list: nobody here asks for one
		}
	}
	return all, nil
}
