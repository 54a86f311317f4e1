package caddymodule

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/rawhit"
)

// rawLog writes the access log's records about replies on connections to one
// host, as Caddy writes those about requests that its handlers see.
type rawLog struct {
	server  *caddyhttp.Server
	loggers []*zap.Logger
	fields  []zap.Field // that all replies to a request have in common
}

// rawLogOf is the log of a request's host, nil if there is none.
func rawLogOf(r *http.Request, access *zap.Logger) *rawLog {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return nil
	}
	names, logged := loggerNames(server.Logs, r.Host)
	if !logged {
		return nil
	}
	l := &rawLog{server: server}
	for _, name := range names {
		if name == "" {
			l.loggers = append(l.loggers, access)
		} else {
			l.loggers = append(l.loggers, access.Named(name))
		}
	}
	return l
}

// loggerNames says whether requests for a host are logged, and by which
// loggers: what Caddy's ServerLogConfig says in its documentation.
func loggerNames(logs *caddyhttp.ServerLogConfig, host string) (names []string, logged bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	skipped := logs.SkipUnmappedHosts
	for _, pattern := range patternsOf(host) {
		if mapped, ok := logs.LoggerNames[pattern]; ok {
			return mapped, true
		}
		skips := func(host string) bool { return strings.EqualFold(host, pattern) }
		skipped = skipped || slices.ContainsFunc(logs.SkipHosts, skips)
	}
	return []string{logs.DefaultLoggerName}, !skipped
}

// patternsOf are the names that stand for a host in a configuration of Caddy:
// its own, and those with a * for its first labels.
func patternsOf(host string) []string {
	patterns := []string{strings.ToLower(host)}
	labels := strings.Split(patterns[0], ".")
	for i := range labels {
		if labels[i] != "" {
			labels[i] = "*"
			patterns = append(patterns, strings.Join(labels, "."))
		}
	}
	return patterns
}

// write writes one record.
func (l *rawLog) write(record rawhit.Record) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(record.Block)))
	if err != nil {
		return // net/http has parsed the same but for ignored fields: a fuzz test holds it
	}
	r.RemoteAddr, r.TLS = record.Remote, record.TLS
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, l.server)
	header := responseHeader(record.Head)
	fields := append([]zap.Field{
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: l.server.Logs.ShouldLogCredentials}),
		zap.Int("bytes_read", 0),
		zap.String("user_id", ""),
		zap.Duration("duration", record.Duration),
		zap.Int("size", record.Size),
		zap.Int("status", http.StatusOK),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: header, ShouldLogCredentials: l.server.Logs.ShouldLogCredentials}),
	}, zap.String("request_id", header.Get(requestIDHeader)))
	if record.Err != nil {
		fields = append(fields, zap.NamedError("write_error", record.Err))
	}
	fields = append(fields, l.fields...)
	for _, logger := range l.loggers {
		if entry := logger.Check(zapcore.InfoLevel, "handled request"); entry != nil {
			entry.Time = record.Done
			entry.Write(fields...)
		}
	}
}

// responseHeader reads the header of an answer that net/http wrote.
func responseHeader(head []byte) http.Header {
	in := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	if _, err := in.ReadLine(); err != nil {
		return nil
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return nil
	}
	return http.Header(header)
}

// hitFields are those of exchange.log for a plain hit.
func hitFields(ex *exchange, offered httpcache.Offer) []zap.Field {
	hit := exchange{verdict: ex.verdict, cached: true}
	hit.cache = httpcache.Result{Status: httpcache.StatusHit, Version: offered.Version, Replica: offered.Replica}
	return hit.fields()[1:] // each reply has an id of its own
}
