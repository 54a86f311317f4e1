package caddymodule

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// never is longer than any connection lasts: Caddy closes those of a replaced
// configuration, at once or after stream_close_delay. Ours are the pool's, which
// outlives configurations: it ends them when their replica goes, or the gateway.
const never = caddy.Duration(math.MaxInt64)

// Proxy is the handler edge_proxy. It carries requests to the replicas of a
// pool. Header operations, streaming, WebSockets, trusted proxies and
// handle_response are those of Caddy's reverse_proxy and are written the same
// way; picking, breaking, retrying and measuring are the pool's.
type Proxy struct {
	// Pool names the pool, as in the global edge block. Required.
	Pool string `json:"pool"`

	// What else reverse_proxy takes, except for what belongs to the pool:
	// upstreams, load balancing, health checks, circuit breaker, transport.
	reverseproxy.Handler

	// LeanOff has every request carried by Caddy's reverse_proxy, also those
	// that the lean path carries just as well for less.
	LeanOff bool `json:"lean_off,omitempty"`

	lean  *lean // nil when only Caddy's handler will do
	app   *App
	built bool
	inUse *occupied // Caddy's handler
}

// CaddyModule returns the Caddy module information.
func (Proxy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_proxy", New: func() caddy.Module { return new(Proxy) }}
}

// Provision finds the pool and puts it under Caddy's reverse proxy as its
// transport, behind one virtual upstream.
func (p *Proxy) Provision(ctx caddy.Context) error {
	app, err := siteApp(ctx)
	if err != nil {
		return err
	}
	if err := p.ownsNothingOfThePool(); err != nil {
		return err
	}
	pool, err := app.pool(p.Pool)
	if err != nil {
		return fmt.Errorf("edge_proxy: %w", err)
	}
	p.StreamCloseDelay = never
	p.app = app
	transport := &poolTransport{pool: pool, app: app}
	p.lean = newLean(p, transport, ctx.Logger())
	p.Transport = transport
	p.Upstreams = reverseproxy.UpstreamPool{{Dial: virtual(p.Pool)}}
	p.built, p.inUse = true, new(occupied)
	return p.Handler.Provision(ctx)
}

// Cleanup leaves upgraded connections alone, and waits for nothing: what Caddy's
// handler has to do when it goes, which cannot fail, is done after its last request.
func (p *Proxy) Cleanup() error {
	if p.built {
		p.inUse.finish(func() { _ = p.Handler.Cleanup() })
	}
	return nil
}

// ownsNothingOfThePool refuses settings that would be ignored.
func (p *Proxy) ownsNothingOfThePool() error {
	var errs []error
	for _, belongs := range []struct {
		word string
		set  bool
	}{
		{"upstreams", len(p.Upstreams) > 0},
		{"dynamic_upstreams", p.DynamicUpstreamsRaw != nil},
		{"load_balancing", p.LoadBalancing != nil},
		{"health_checks", p.HealthChecks != nil},
		{"circuit_breaker", p.CBRaw != nil},
		{"transport", p.TransportRaw != nil},
	} {
		if belongs.set {
			errs = append(errs, fmt.Errorf("edge_proxy %s: %s belongs to the pool: set it in the edge block, pool %s",
				p.Pool, belongs.word, p.Pool))
		}
	}
	if p.StreamCloseDelay != 0 {
		errs = append(errs, fmt.Errorf("edge_proxy %s: stream_close_delay %s: %s", p.Pool, time.Duration(p.StreamCloseDelay), noCloseDelay))
	}
	return errors.Join(errs...)
}

const noCloseDelay = "a reload closes no WebSocket here, so there is nothing to delay: leave the line out " +
	"(stop { window } in the edge block is about the end of the process, drain in the pool about that of a replica)"

// ServeHTTP carries the request to a replica.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	ex, first := begin(w, r)
	if first {
		err = errCutOff // what stands if it ends with a panic
		defer func() { ex.visited(r, err, recover()) }()
	}
	began := time.Now()
	if p.lean.takes(r) {
		err = p.lean.serve(w, r, ex)
	} else {
		err = p.carry(w, r, ex, next)
	}
	err = refused(w, err)
	observeProxied(p.Pool, ex)
	p.app.noteCost(r, ex, began)
	ex.recordAgain(r)
	return err
}

// carry has Caddy's handler do it.
func (p *Proxy) carry(w http.ResponseWriter, r *http.Request, ex *exchange, next caddyhttp.Handler) error {
	p.inUse.enter()
	defer p.inUse.leave()
	ex.carried = nil
	return p.Handler.ServeHTTP(w, r, next)
}

// poolTransport lets Caddy's reverse proxy use a pool.
type poolTransport struct {
	pool *pool
	app  *App
}

// RoundTrip waits until the configuration that it belongs to has started, so
// that a listener which opened a moment earlier finds the pool ready.
func (t *poolTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if ex, ok := exchangeOf(r); ok {
		return t.carry(r, ex)
	}
	if err := t.app.awaitStart(r.Context()); err != nil {
		return nil, err
	}
	return t.pool.RoundTrip(r)
}

// carry is RoundTrip for a request whose exchange is known.
func (t *poolTransport) carry(r *http.Request, ex *exchange) (*http.Response, error) {
	if err := t.app.awaitStart(r.Context()); err != nil {
		return nil, err
	}
	ex.pool = t.pool
	ex.trace.Client, _ = caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	ex.trace.Shared = ex.shared
	if ex.verdict != nil && ex.verdict.Fingerprinted {
		ex.trace.Absent = absent
	}
	ex.traceTries(t.pool.name)
	if ex.untraced {
		leaveUntraced(r.Header)
	}
	began := t.pool.noting(ex)
	resp, err := t.pool.Send(r, &ex.trace)
	t.pool.noteAnswer(r, ex, resp, began)
	if err == nil {
		if refusal := refusalOf(r, resp, ex.trace.Refused); refusal != nil {
			return nil, refusal
		}
		// The response has this request's id already; a replica's echo of it
		// must not be stored with an answer for others.
		delete(resp.Header, requestIDHeader)
		ex.status, ex.headed = resp.StatusCode, time.Now()
	}
	return resp, err
}

// parseProxy reads
//
//	edge_proxy [<matcher>] <pool> {
//	    lean off
//	    # as in reverse_proxy: header_up, header_down, flush_interval,
//	    # trusted_proxies, stream_timeout, rewrite, method,
//	    # request_buffers, response_buffers, handle_response, …
//	}
func parseProxy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if !h.NextArg() {
		return nil, h.Err("edge_proxy: got no pool: want the name of a pool from the edge block")
	}
	p := &Proxy{Pool: h.Val()}
	if h.NextArg() {
		return nil, h.Errf("edge_proxy %s: spare argument %q: replicas belong to the pool: write discover there", p.Pool, h.Val())
	}
	h.Reset()
	h.Next()
	tokens := h.NextSegment()
	tokens = append(tokens[:1:1], tokens[2:]...) // without the pool's name
	if err := refusePoolWords(p.Pool, caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	tokens, err := p.ownWords(tokens)
	if err != nil {
		return nil, err
	}
	if err := p.Handler.UnmarshalCaddyfile(caddyfile.NewDispenser(tokens)); err != nil {
		return nil, err
	}
	if err := p.Handler.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	return p, nil
}

// poolWords are reverse_proxy's words for what our pools do, each with the
// word that a pool has for it.
var poolWords = map[string]string{
	"to": "discover static", "dynamic": "discover", "transport": "transport",
	"lb_policy": "policy", "lb_retries": "retry", "lb_try_duration": "queue", "lb_try_interval": "queue", "lb_retry_match": "retry",
	"health_uri": "health", "health_path": "health", "health_upstream": "health", "health_port": "health", "health_headers": "health",
	"health_method": "health", "health_request_body": "health", "health_interval": "health", "health_timeout": "health", "health_status": "health",
	"health_body": "health", "health_follow_redirects": "health", "health_passes": "health", "health_fails": "health",
	"max_fails": "breaker", "fail_duration": "breaker", "unhealthy_request_count": "queue", "unhealthy_status": "breaker", "unhealthy_latency": "breaker",
}

func refusePoolWords(pool string, d *caddyfile.Dispenser) error {
	var errs []error
	d.Next()
	d.RemainingArgs()
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if instead, ok := poolWords[d.Val()]; ok {
			errs = append(errs, d.Errf("%s: belongs to the pool: write %s in the edge block, pool %s", d.Val(), instead, pool))
		}
		if d.Val() == "stream_close_delay" {
			errs = append(errs, d.Errf("stream_close_delay: %s", noCloseDelay))
		}
		d.NextSegment()
	}
	return errors.Join(errs...)
}

// ownWords reads the words of the block that reverse_proxy does not have, and
// returns the tokens without them.
func (p *Proxy) ownWords(tokens []caddyfile.Token) ([]caddyfile.Token, error) {
	d := caddyfile.NewDispenser(tokens)
	d.Next()
	var rest []caddyfile.Token
	var errs []error
	own, last := false, len(tokens)-1
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, segment := d.Val(), d.NextSegment()
		if word != "lean" {
			rest = append(rest, segment...)
			continue
		}
		own = true
		if len(segment) != 2 || segment[1].Text != "off" {
			errs = append(errs, d.Errf("lean: want off alone, or leave the line out"))
		}
		p.LeanOff = true
	}
	if !own {
		return tokens, errors.Join(errs...)
	}
	return slices.Concat(tokens[:2], rest, tokens[last:]), errors.Join(errs...)
}

var (
	_ caddy.Provisioner           = (*Proxy)(nil)
	_ caddy.CleanerUpper          = (*Proxy)(nil)
	_ caddyhttp.MiddlewareHandler = (*Proxy)(nil)
)
