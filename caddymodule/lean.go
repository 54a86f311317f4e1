package caddymodule

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// lean carries plain requests as Caddy's reverse_proxy does, byte for byte at
// the replica and at the client, at a fraction of its cost. Answers alone get no
// Via: a gateway need not add it there (RFC 9110, 7.6.3). It knows nothing of
// what an operator can ask of reverse_proxy: newLean gives none to a site that
// asks for any of it. TestLeanIsCaddys holds the two equal.
type lean struct {
	transport *poolTransport
	trusted   []netip.Prefix
	atOnce    bool // flush after each write
	logger    *zap.Logger
}

// newLean is nil when only Caddy's handler does what p is configured to do.
// While debug messages are logged, Caddy's handler is it: they are its own.
func newLean(p *Proxy, transport *poolTransport, logger *zap.Logger) *lean {
	h := &p.Handler
	asks := p.LeanOff || h.Headers != nil || h.Rewrite != nil || len(h.HandleResponse) > 0 ||
		h.RequestBuffers != 0 || h.ResponseBuffers != 0 || h.FlushInterval > 0 ||
		h.VerboseLogs || logger.Core().Enabled(zapcore.DebugLevel)
	if asks {
		return nil
	}
	trusted, ok := prefixes(h.TrustedProxies)
	if !ok {
		return nil
	}
	return &lean{transport: transport, trusted: trusted, atOnce: h.FlushInterval < 0, logger: logger}
}

func prefixes(texts []string) ([]netip.Prefix, bool) {
	var all []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if !strings.Contains(text, "/") {
			var ip netip.Addr
			ip, err = netip.ParseAddr(text)
			prefix = netip.PrefixFrom(ip, ip.BitLen())
		}
		if err != nil {
			return nil, false
		}
		all = append(all, prefix)
	}
	return all, true
}

// takes reports whether r is plain: no other protocol is asked for, and no
// trailers can come, which are for requests whose length is not known.
func (l *lean) takes(r *http.Request) bool {
	return l != nil && r.ContentLength >= 0 && len(r.Trailer) == 0 &&
		r.Method != http.MethodConnect && r.Header["Upgrade"] == nil
}

// carried is one request on its way. A transport may look at it after the
// request's end, so it is never used again.
type carried struct {
	request http.Request
	values  [5]string // of the header fields that are added

	// What placeholders tell.
	began    time.Time
	latency  time.Duration
	passing  time.Duration // until the body was passed on; 0 while it is not
	total    time.Duration // 0 while it goes on
	response *http.Response
	pool     string

	early early
}

func (l *lean) serve(w http.ResponseWriter, r *http.Request, ex *exchange) error {
	c := &carried{began: time.Now(), pool: l.transport.pool.name}
	ex.carried = c
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		repl.DeleteByPrefix(proxyPlaceholder) // those of a reverse_proxy before, such as forward_auth
	}
	defer func() { c.total = time.Since(c.began) }()
	c.early.w, c.early.continues = w, continues(r)
	ex.trace.Inform = c.early.inform
	resp, err := l.transport.carry(l.outgoing(c, r), ex)
	c.early.end()
	if err != nil {
		return failed(w, err)
	}
	c.latency, c.response = time.Since(c.began), resp
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close() // Nobody asked for another protocol: Caddy ends such an exchange too.
		return nil
	}
	return l.answer(w, r, c)
}

// failed says what the client gets when there is no answer.
func failed(w http.ResponseWriter, err error) error {
	if errors.Is(err, context.Canceled) {
		w.WriteHeader(499) // for the access log: the client is gone
		return nil
	}
	status := http.StatusBadGateway
	//nolint:errorlint // as Caddy: what a dial wraps is not a time-out of the answer
	if late, ok := err.(net.Error); ok && late.Timeout() {
		status = http.StatusGatewayTimeout
	}
	if strings.Contains(err.Error(), "operation was canceled") {
		status = 499
	}
	return caddyhttp.Error(status, err)
}

// warn logs an answer that was cut off, as Caddy does.
func (l *lean) warn(r *http.Request, c *carried, err error) {
	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	l.logger.Warn("aborting with incomplete response",
		zap.String("upstream", virtual(c.pool)),
		zap.Duration("duration", c.latency),
		zap.Object("request", caddyhttp.LoggableHTTPRequest{
			Request:              &c.request,
			ShouldLogCredentials: server != nil && server.Logs != nil && server.Logs.ShouldLogCredentials,
		}),
		zap.Error(err))
}

// virtual is the address under which Caddy's handler knows a pool.
func virtual(pool string) string { return pool + ".edge.internal:80" }
