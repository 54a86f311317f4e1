package caddymodule

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// recordWriter notes what a record tells of a request and its answer, as Caddy's
// recorder does.
// It stands beneath all that Caddy puts around net/http's writer. One is never used
// again: a handler may hold it longer than it should. What a handler sends on a
// connection that it takes over without being asked for another protocol is not
// counted.
type recordWriter struct {
	caddyhttp.ResponseWriterWrapper
	status int
	size   int
	final  bool // the status is

	body io.ReadCloser // of the request
	read atomic.Int64  // of it: a transport may go on to read

	began  time.Time
	failed time.Time     // when the routes of errors were asked
	served bool          // without a panic
	inner  *http.Request // as handlers get it and leave it, if a route was asked
	skip   bool          // there is to be no record

	// What edge's handlers need stands here too: one allocation for all of it.
	exchange exchange
}

// newExchange is a request's exchange, with nothing in it.
func newExchange(r *http.Request) *exchange {
	reader, _ := r.Body.(*caddyhttp.IdleTimeoutReader)
	w := recordWriterOf(reader)
	if w == nil || w.exchange.own != nil { // the second of a request's, for a handler that asks itself
		return new(exchange)
	}
	w.exchange.own = w
	return &w.exchange
}

// WriteHeader passes the first final status on, and informational ones before.
func (w *recordWriter) WriteHeader(status int) {
	if w.final {
		return
	}
	w.status = status
	w.final = status < 100 || status > 199
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what was written.
func (w *recordWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.ResponseWriter.Write(p)
	w.size += n
	return n, err
}

// ReadFrom lets net/http send a file.
func (w *recordWriter) ReadFrom(r io.Reader) (int64, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.ResponseWriterWrapper.ReadFrom(r)
	w.size += int(n)
	return n, err
}

// FlushError flushes what there is; before there is anything, it does nothing.
func (w *recordWriter) FlushError() error {
	if w.status == 0 {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// recordedBody is the recordWriter as the request's body.
type recordedBody recordWriter

// Read counts what was read.
func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// Close closes the body.
func (b *recordedBody) Close() error { return b.body.Close() }

// look keeps the request in whose context handlers leave what they want to have
// recorded.
func (w *recordWriter) look(r *http.Request, failed bool) {
	if w.inner == nil {
		w.inner = r
	}
	if failed && w.failed.IsZero() {
		w.failed = time.Now()
	}
}

// took is the time that the request has taken: none, if it ended with a panic. What
// the routes of errors take does not count.
func (w *recordWriter) took() time.Duration {
	switch {
	case !w.failed.IsZero():
		return w.failed.Sub(w.began)
	case w.served:
		return time.Since(w.began)
	}
	return 0
}

// record writes the record of a request that has been served, unless a handler said
// that there is to be none.
func (s *ownSite) record(w *recordWriter, r *http.Request, sent *sentHeader) {
	if w.skip {
		return
	}
	if w.inner != nil {
		if skip, ok := caddyhttp.GetVar(w.inner.Context(), caddyhttp.LogSkipVar).(bool); ok && skip {
			return
		}
	}
	request := r.WithContext(r.Context())
	request.Header = sent.header()
	if w.inner == nil { // no route was asked: the server alone knows of it
		w.inner = caddyhttp.PrepareRequest(request, caddy.NewReplacer(), nil, s.silent)
	}
	ctx := w.inner.Context()
	credentials := s.silent.Logs.ShouldLogCredentials
	access := s.access.WithLazy(zap.Object("request", caddyhttp.LoggableHTTPRequest{
		Request: request.WithContext(ctx), ShouldLogCredentials: credentials,
	}))
	message := "handled request"
	if unhandled, ok := caddyhttp.GetVar(ctx, "unhandled").(bool); ok && unhandled {
		message = "NOP"
	}
	var fields []zap.Field
	for _, name := range s.loggers(w.inner, r.Host) {
		logger := access
		if name != "" {
			logger = access.Named(name)
		}
		entry := logger.Check(recordLevel(ctx, w.status), message)
		if entry == nil {
			continue
		}
		if fields == nil {
			fields = w.fields(ctx, credentials)
		}
		entry.Write(fields...)
	}
}

// loggers are the names of those that write the record: what a handler has set, or
// those of the host, which was another when the request came if a handler changed it.
func (s *ownSite) loggers(r *http.Request, came string) []string {
	chosen, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any)
	if !ok && r.Host == came {
		return []string{s.name}
	}
	if !ok {
		names, _ := loggerNames(s.logs, r.Host)
		return names
	}
	names := make([]string, 0, len(chosen))
	for _, one := range chosen {
		name, _ := one.(string)
		names = append(names, name)
	}
	return names
}

// recordLevel is that of the status, or the one that a handler has set.
func recordLevel(ctx context.Context, status int) zapcore.Level {
	if name, ok := caddyhttp.GetVar(ctx, caddyhttp.LogLevelVar).(string); ok {
		if level, err := zapcore.ParseLevel(name); err == nil && level >= zapcore.DebugLevel && level <= zapcore.ErrorLevel {
			return level
		}
	}
	if status >= http.StatusInternalServerError {
		return zapcore.ErrorLevel
	}
	return zapcore.InfoLevel
}

func (w *recordWriter) fields(ctx context.Context, credentials bool) []zap.Field {
	user := ""
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		user, _ = repl.GetString("http.auth.user.id")
	}
	fields := []zap.Field{
		zap.Int("bytes_read", int(w.read.Load())),
		zap.String("user_id", user),
		zap.Duration("duration", w.took()),
		zap.Int("size", w.size),
		zap.Int("status", w.status),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: w.Header(), ShouldLogCredentials: credentials}),
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		fields = append(fields, extraFields(extra)...)
	}
	return fields
}

// extraKnown reports that the fields which handlers add to a record, such as
// log_append, are where extraFields looks for them. Caddy tells them to no module.
var extraAt, extraKnown = func() (uintptr, bool) {
	field, ok := reflect.TypeFor[caddyhttp.ExtraLogFields]().FieldByName("fields")
	return field.Offset, ok && field.Type == reflect.TypeFor[[]zapcore.Field]()
}()

func extraFields(of *caddyhttp.ExtraLogFields) []zapcore.Field {
	return *(*[]zapcore.Field)(unsafe.Add(unsafe.Pointer(of), extraAt))
}

// sentHeader is a request's header as it came, before handlers change it. There is
// a pool of them: hardly one is ever read.
type sentHeader struct {
	names  []string
	ends   []int // in values, of each name's
	values []string
}

var sentHeaders = sync.Pool{New: func() any { return new(sentHeader) }}

// mostSent is for how many values a sentHeader is kept.
const mostSent = 256

func keepHeader(header http.Header) *sentHeader {
	s := sentHeaders.Get().(*sentHeader)
	for name, values := range header {
		s.names = append(s.names, name)
		s.values = append(s.values, values...)
		s.ends = append(s.ends, len(s.values))
	}
	return s
}

func (s *sentHeader) header() http.Header {
	header := make(http.Header, len(s.names))
	values := append([]string(nil), s.values...)
	begin := 0
	for i, end := range s.ends {
		header[s.names[i]] = values[begin:end:end]
		begin = end
	}
	return header
}

// forget lets go of what visitors sent.
func (s *sentHeader) forget() {
	if cap(s.values) > mostSent || cap(s.names) > mostSent {
		return
	}
	clear(s.names)
	clear(s.values)
	s.names, s.ends, s.values = s.names[:0], s.ends[:0], s.values[:0]
	sentHeaders.Put(s)
}
