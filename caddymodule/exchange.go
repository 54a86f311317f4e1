package caddymodule

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/rawhit"
)

// exchange is what edge's handlers know about one request. The first of them
// to see the request begins it; it lives in the request's variables, and only
// the goroutine that serves the request touches it.
type exchange struct {
	id       string
	ids      [1]string   // the same, as the value of a header field
	header   http.Header // of the response
	verdict  *cacherules.Verdict
	cache    httpcache.Result
	cached   bool  // a cache has decided
	shared   bool  // a fetch of the cache, whose answer may be stored
	pool     *pool // that carried it, if one did
	trace    lb.Trace
	spans    *spans   // nil when nobody traces the request
	untraced bool     // and replicas are told so
	carried  *carried // how the lean path carried it, if it did

	vars     map[string]any // of the request
	recorded bool           // the access log was told of it, or that it need not be

	called bool      // the control API
	began  time.Time // when the server began to handle the request
	headed time.Time // when its final header was there, if somebody has noted it
	status int       // the final status, if a writer or a replica has told

	// What the handlers need for this request stands here too, so that a hit
	// costs one allocation for all of it.
	writer  rulesWriter
	wrapper caddyhttp.ResponseWriterWrapper
	origin  origin
}

const exchangeVar = "edge.exchange"

// requestIDHeader is taken from the request if it is well-formed, made
// otherwise, sent to the replica and returned to the client.
const requestIDHeader = "X-Request-Id"

// exchangeOf is the request's exchange, if one of edge's handlers has begun it.
func exchangeOf(r *http.Request) (*exchange, bool) {
	ex, ok := caddyhttp.GetVar(r.Context(), exchangeVar).(*exchange)
	return ex, ok
}

// begin finds the request's exchange, or makes it, which first reports: then
// the request gets its id, the response too, and the placeholders {edge.*}
// begin to work.
func begin(w http.ResponseWriter, r *http.Request) (ex *exchange, first bool) {
	vars, _ := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if ex, ok := vars[exchangeVar].(*exchange); ok {
		return ex, false
	}
	settleLength(r)
	if leaving.Load() {
		dismiss(w, r)
	}
	if mayBeFramedTwice(r, vars) {
		w.Header()["Connection"] = dismissal
	}
	ex = &exchange{header: w.Header(), began: startOf(vars)}
	if given := r.Header[requestIDHeader]; len(given) == 1 && wellFormedID(given[0]) {
		ex.id = given[0]
		ex.header[requestIDHeader] = given
	} else {
		ex.id = rawhit.NewID()
		ex.ids[0] = ex.id
		r.Header[requestIDHeader] = ex.ids[:]
		ex.header[requestIDHeader] = ex.ids[:]
	}
	if vars != nil {
		vars[exchangeVar], ex.vars = ex, vars
	}
	ex.traceVisit(r)
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.Map(ex.placeholder)
	}
	return ex, true
}

// mayBeFramedTwice reports a request in chunks that came through a proxy. If that
// proxy sent on a length as well and goes by it, what it takes for the rest of the
// body is the next request here, and its answer the next visitor's: RFC 9112, 6.1, has
// the connection closed. Whether there was a length net/http does not tell.
func mayBeFramedTwice(r *http.Request, vars map[string]any) bool {
	if len(r.TransferEncoding) == 0 || r.ProtoMajor != 1 {
		return false
	}
	proxied, _ := vars[caddyhttp.TrustedProxyVarKey].(bool)
	return proxied
}

// beginAfter is begin where edge_rules may be the handler in front, whose
// writer knows the exchange.
func beginAfter(w http.ResponseWriter, r *http.Request) (ex *exchange, first bool) {
	if rules, ok := w.(*rulesWriter); ok {
		return rules.ex, false
	}
	return begin(w, r)
}

// startOf is when Caddy began to handle the request of these variables.
func startOf(vars map[string]any) time.Time {
	if start, ok := vars["start_time"].(time.Time); ok {
		return start
	}
	return time.Now()
}

// wellFormedID reports whether a client's request id may stand in logs and be
// sent on: 8 to 128 letters, digits and - _ . : / + =.
func wellFormedID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if c-'a' < 26 || c-'A' < 26 || c-'0' < 10 || strings.IndexByte("-_.:/+=", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// replica and version are those of the response: of the stored entry's maker
// for a hit, else of the replica that answered.
func (ex *exchange) replica() string {
	if ex.trace.Replica != "" {
		return ex.trace.Replica
	}
	return ex.cache.Replica
}

func (ex *exchange) version() string {
	if ex.trace.Version != "" {
		return ex.trace.Version
	}
	return ex.cache.Version
}

// attempts is how many replicas were asked for this response, none for one that
// was stored: what a background refresh does is not this request's.
func (ex *exchange) attempts() int {
	switch ex.cache.Status {
	case httpcache.StatusHit, httpcache.StatusStale:
		return 0
	}
	return max(ex.trace.Attempts, int(ex.origin.attempts.Load()))
}

// placeholder answers {edge.request_id}, {edge.rule}, {edge.replica},
// {edge.version}, {edge.attempts}, {edge.cache.status} and {edge.cache.reason},
// and reverse_proxy's on the lean path.
func (ex *exchange) placeholder(key string) (any, bool) {
	name, ours := strings.CutPrefix(key, "edge.")
	if !ours {
		if name, proxied := strings.CutPrefix(key, proxyPlaceholder); proxied && ex.carried != nil {
			return ex.carried.placeholder(name)
		}
		return nil, false
	}
	switch name {
	case "request_id":
		return ex.id, true
	case "rule":
		if ex.verdict == nil {
			return "", true
		}
		return ex.verdict.Rule, true
	case "replica":
		return ex.replica(), true
	case "version":
		return ex.version(), true
	case "attempts":
		return ex.attempts(), true
	case "cache.status":
		status, _ := ex.outcome()
		return status, true
	case "cache.reason":
		_, reason := ex.outcome()
		return reason, true
	}
	return nil, false
}

// outcome is what the cache did and why. While the header is being written,
// its field Cache-Status tells (RFC 9211), in which a hit with a negative ttl
// is stale.
func (ex *exchange) outcome() (status, reason string) {
	if !ex.cached || ex.cache.Status != "" {
		return string(ex.cache.Status), string(ex.cache.Reason)
	}
	lines := ex.header["Cache-Status"]
	if len(lines) == 0 {
		return "", ""
	}
	words := strings.Split(lines[len(lines)-1], "; ")
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		switch {
		case name == "hit":
			status = string(httpcache.StatusHit)
		case name == "ttl" && strings.HasPrefix(value, "-") && status != "":
			status = string(httpcache.StatusStale)
		case name == "fwd" && value == "bypass":
			status = string(httpcache.StatusBypass)
		case name == "fwd":
			status = string(httpcache.StatusMiss)
		case name == "fwd-status" && value == "304":
			status = string(httpcache.StatusRevalidated)
		case name == "detail":
			reason = value
		}
	}
	return status, reason
}

// log puts what edge knows into the access log's record of the request, if
// the server keeps one. Of several calls the last one's facts stand.
func (ex *exchange) log(r *http.Request) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return
	}
	extra, ok := r.Context().Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields)
	if !ok {
		return
	}
	if length := ex.cache.Length; length != "" {
		ex.header["Content-Length"] = []string{length} // for the record, as it went out
	}
	for _, field := range ex.fields() {
		extra.Set(field)
	}
}

// fields of the access log, the request's id first.
func (ex *exchange) fields() []zap.Field {
	fields := make([]zap.Field, 0, 8)
	fields = append(fields, zap.String("request_id", ex.id))
	if ex.verdict != nil && ex.verdict.Rule != "" {
		fields = append(fields, zap.String("rule", ex.verdict.Rule))
	}
	if ex.cached {
		fields = append(fields, zap.String("cache", string(ex.cache.Status)), zap.String("cache_reason", string(ex.cache.Reason)))
	}
	if replica := ex.replica(); replica != "" {
		fields = append(fields, zap.String("replica", replica))
	}
	if version := ex.version(); version != "" {
		fields = append(fields, zap.String("version", version))
	}
	if attempts := ex.attempts(); attempts > 0 {
		fields = append(fields, zap.Int("attempts", attempts))
		if ex.trace.Rescued || ex.origin.rescued.Load() {
			fields = append(fields, zap.Bool("rescued", true))
		}
	}
	return append(fields, ex.spans.fields()...)
}
