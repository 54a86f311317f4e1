package caddymodule

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/hashicorp/golang-lru/v2/simplelru"
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
	scribes *scribes
}

// scribes are the loggers that a table's records need next. Records come one after
// another, so that nothing here is locked.
type scribes = simplelru.LRU[scribeKey, *scribe]

// mostScribes are kept: two to four KiB each.
const mostScribes = 512

type scribeKey struct {
	log    *rawLog
	remote string
}

// scribe has written down what all records about one client's asking for the same
// have in common: a connection asks for a thing in the same words.
type scribe struct {
	block   []byte
	tls     *tls.ConnectionState
	loggers []*zap.Logger
}

func newScribes() *scribes {
	s, err := simplelru.NewLRU[scribeKey, *scribe](mostScribes, nil)
	if err != nil {
		panic(err) // the size is a constant, and not zero
	}
	return s
}

// rawLogOf is a server's log of requests to a host, nil if there is none.
func rawLogOf(server *caddyhttp.Server, host string, access *zap.Logger, s *scribes) *rawLog {
	if server.Logs == nil {
		return nil
	}
	names, logged := loggerNames(server.Logs, host)
	if !logged {
		return nil
	}
	l := &rawLog{server: server, scribes: s}
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
	s := l.scribe(record)
	if s == nil {
		return
	}
	header := responseHeader(record.Head)
	fields := make([]zap.Field, 0, 8+len(l.fields))
	fields = append(fields,
		zap.Int("bytes_read", 0),
		zap.String("user_id", ""),
		zap.Duration("duration", record.Duration),
		zap.Int("size", record.Size),
		zap.Int("status", http.StatusOK),
		zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: header, ShouldLogCredentials: l.server.Logs.ShouldLogCredentials}),
		zap.String("request_id", header.Get(requestIDHeader)))
	if record.Err != nil {
		fields = append(fields, zap.NamedError("write_error", record.Err))
	}
	fields = append(fields, l.fields...)
	for _, logger := range s.loggers {
		if entry := logger.Check(zapcore.InfoLevel, "handled request"); entry != nil {
			entry.Time = record.Done
			entry.Write(fields...)
		}
	}
}

// scribe is the one for a record, nil if its request cannot be read.
func (l *rawLog) scribe(record rawhit.Record) *scribe {
	key := scribeKey{l, record.Remote}
	if s, ok := l.scribes.Get(key); ok && s.tls == record.TLS && bytes.Equal(s.block, record.Block) {
		return s
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(record.Block)))
	if err != nil {
		return nil // net/http has parsed the same but for ignored fields: a fuzz test holds it
	}
	r.RemoteAddr, r.TLS = record.Remote, record.TLS
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, l.server)
	request := zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r, ShouldLogCredentials: l.server.Logs.ShouldLogCredentials})
	s := &scribe{block: bytes.Clone(record.Block), tls: record.TLS, loggers: make([]*zap.Logger, 0, len(l.loggers))}
	for _, logger := range l.loggers {
		s.loggers = append(s.loggers, logger.With(request))
	}
	l.scribes.Add(key, s)
	return s
}

// responseHeader reads the header of an answer that this server wrote: each field on
// a line, its name in canonical form.
func responseHeader(head []byte) http.Header {
	_, lines, _ := strings.Cut(string(head), "\r\n")
	header := make(http.Header, 16)
	values := make([]string, 0, 16) // of the fields with one line
	for line := range strings.SplitSeq(lines, "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		switch before := header[name]; {
		case !ok:
		case before != nil:
			header[name] = append(before, value)
		default:
			values = append(values, value)
			header[name] = values[len(values)-1 : len(values) : len(values)]
		}
	}
	return header
}

// hitFields are those of exchange.log for a plain hit.
func hitFields(ex *exchange, offered httpcache.Offer) []zap.Field {
	hit := exchange{verdict: ex.verdict, cached: true}
	hit.cache = httpcache.Result{Status: httpcache.StatusHit, Version: offered.Version, Replica: offered.Replica}
	return hit.fields()[1:] // each reply has an id of its own
}
