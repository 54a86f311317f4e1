package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache"
)

// Cache is the handler edge_cache. It answers from the store that all sites
// share and fills it from whatever handler stands behind it. Without
// edge_rules in front, the origin's header fields alone decide.
type Cache struct {
	// Profile is "default", which is safe, or "conformance", which switches
	// on every option that the public HTTP cache test suite tests: heuristic
	// freshness, storing Set-Cookie, stale on error. Default: default.
	Profile string `json:"profile,omitempty"`
	// NormalizeVary names request fields, such as Accept-Language, or "*" for
	// all, whose values are made equal, as far as their definitions permit,
	// before a stored answer that varies by them is looked for. Default: none;
	// all with profile conformance.
	NormalizeVary []string `json:"normalize_vary,omitempty"`
	// Encode says in which codings text may go out. Default: br, zstd and
	// gzip; in the profile conformance none.
	Encode httpcache.Encoding `json:"encode,omitzero"`

	handler *httpcache.Handler
	app     *App
	hits    sync.Map // the counter of hits of each verdict
}

// profiles are the policies that an operator can name.
var profiles = map[string]httpcache.Policy{
	"":            {},
	"default":     {},
	"conformance": httpcache.Conformance(),
}

// CaddyModule returns the Caddy module information.
func (*Cache) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_cache", New: func() caddy.Module { return new(Cache) }}
}

// Provision builds the engine over the store that outlives configurations.
func (c *Cache) Provision(ctx caddy.Context) error {
	app, err := siteApp(ctx)
	if err != nil {
		return err
	}
	policy, known := profiles[c.Profile]
	if !known {
		return fmt.Errorf("edge_cache profile %q: want default or conformance", c.Profile)
	}
	names, err := httpcache.ParseNormalizeVary(c.NormalizeVary)
	if err != nil {
		return fmt.Errorf("edge_cache normalize_vary %w", err)
	}
	policy.NormalizeVary = slices.Concat(policy.NormalizeVary, names)
	if !c.Encode.IsZero() {
		policy.Encode = c.Encode
	}
	if err := policy.Validate(); err != nil {
		return fmt.Errorf("edge_cache: %w", err)
	}
	c.app = app
	c.handler = &httpcache.Handler{Store: app.gateway.store, Policy: policy, Seen: seen, Answering: answering, Event: onCacheEvent}
	if raw := rawHitsOf(ctx); raw != nil {
		c.handler.Repeatable = raw.learn
	}
	return nil
}

// seen says how the visitor addressed a request: the target before any handler
// rewrote it, and the scheme that a trusted proxy in front reports.
func seen(r *http.Request) (scheme, target string) {
	if proto := r.Header["X-Forwarded-Proto"]; len(proto) == 1 && (proto[0] == "http" || proto[0] == "https") {
		if trusted, ok := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); ok && trusted {
			scheme = proto[0]
		}
	}
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if ok && original.RequestURI != r.RequestURI {
		target = original.RequestURI
		if !strings.HasPrefix(target, "/") && original.URL != nil { // RFC 9112, 3.2.2: a whole URL
			target = original.URL.RequestURI()
		}
	}
	return scheme, target
}

// answering notes who made an answer, for placeholders in header fields.
func answering(o httpcache.Origin, version, replica string) {
	if o, ok := o.(*origin); ok {
		ex := o.client
		ex.cache.Version, ex.cache.Replica, ex.headed = version, replica, time.Now()
		ex.spans.decided()
	}
}

// ServeHTTP answers from the store, or has the next handler fill it.
func (c *Cache) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	ex, first := beginAfter(w, r)
	// A second edge_cache would wait for the first one's fetch, which is this.
	// A control call is never stored, and as an exchange of the cache it would
	// be waited for by the very purge that it waits for.
	if ex.cached || c.app.controls(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	// The engine applies the verdict to what it sends, once for each entry.
	if rules, ok := w.(*rulesWriter); ok {
		w = rules.ResponseWriter
	}
	unsigned(w.Header())
	ex.cached = true
	verdict := ex.verdict
	if verdict == nil {
		verdict = &cacherules.Unruled
	}
	ex.origin.next, ex.origin.client = next, ex
	ex.spans.lookUp()
	err = errCutOff // what stands if the client's connection ends with a panic
	defer func() {
		if errors.Is(err, errCutOff) {
			ex.cache = httpcache.Result{Status: httpcache.StatusError, Reason: httpcache.ReasonCutOff}
		}
		ex.spans.lookedUp(&ex.cache)
		if first {
			ex.visited(r, err, recover())
		}
	}()
	result, err := c.handler.Serve(w, r, verdict, &ex.origin)
	ex.cache = result
	c.observe(verdict, result)
	c.app.noteMiss(r, verdict, result)
	// The header that the pool wrote for its refusal was a fetch's, not the client's.
	return refused(w, err)
}

// unsigned takes Caddy's name out of the header. What replicas send has theirs
// or none, as behind Caddy's reverse_proxy, and each field costs every hit.
func unsigned(header http.Header) {
	if name := header["Server"]; len(name) == 1 && name[0] == caddyhttp.ServerHeader {
		delete(header, "Server")
	}
}

// origin is the next handler, as the engine sees it.
type origin struct {
	next   caddyhttp.Handler
	client *exchange
	// attempts of the fetch, which may run on a goroutine of its own and go on
	// after the client has its answer.
	attempts atomic.Int64
	rescued  atomic.Bool // see lb.Trace
	panicked atomic.Bool // and that was reported
	pool     atomic.Pointer[pool]
}

// Fetch answers r through w by the next handler.
func (o *origin) Fetch(w http.ResponseWriter, r *http.Request) error {
	defer func() {
		if p := recover(); p != nil { // the cache makes an error of it, which has no stack
			o.panicked.Store(true)
			if ex, ok := exchangeOf(r); ok { // of the fetch, which may have a goroutine of its own
				ex.reportPanic(r, p)
			}
			panic(p)
		}
	}()
	ex, ok := exchangeOf(r)
	if !ok {
		return o.next.ServeHTTP(w, r)
	}
	ex.spans.decided()
	err := ex.fetch(func() error { return o.next.ServeHTTP(w, r) })
	o.attempts.Store(int64(ex.trace.Attempts))
	o.rescued.Store(ex.trace.Rescued)
	o.pool.Store(ex.pool)
	return err
}

// Source says which replica of which version answered. An answer of a version
// that is not current is not stored, unless its name changes with its content.
func (o *origin) Source(r *http.Request) httpcache.Source {
	ex, ok := exchangeOf(r)
	if !ok {
		return httpcache.Source{Current: true}
	}
	o.attempts.Store(int64(ex.trace.Attempts))
	o.rescued.Store(ex.trace.Rescued)
	s := httpcache.Source{Replica: ex.trace.Replica, Version: ex.trace.Version, Current: true}
	if ex.pool != nil && (ex.verdict == nil || !ex.verdict.Fingerprinted) {
		s.Current = ex.pool.versions.Storable(s.Version)
	}
	return s
}

// parseCache reads
//
//	edge_cache [<matcher>] {
//	    profile default|conformance
//	    normalize_vary <fields...>
//	    encode  off | [br] [zstd] [gzip] { ... }
//	}
func parseCache(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("edge_cache: spare argument %q: its words stand in a block", h.Val())
	}
	c := new(Cache)
	err := readBlock(h.Dispenser, words{"profile": parsed(&c.Profile, func(name string) (string, error) {
		if _, known := profiles[name]; !known {
			return "", fmt.Errorf("%q: want default or conformance", name)
		}
		return name, nil
	}), "normalize_vary": fieldNames(&c.NormalizeVary), "encode": encode(&c.Encode)})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// fieldNames reads the names of fields that Vary may name.
func fieldNames(to *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		var given []string
		if err := texts(&given)(d); err != nil {
			return err
		}
		var errs []error
		for _, field := range given {
			names, err := httpcache.ParseNormalizeVary([]string{field})
			if err != nil {
				errs = append(errs, d.Errf("%s %v", word, err))
			}
			*to = append(*to, names...)
		}
		return errors.Join(errs...)
	}
}

var (
	_ caddy.Provisioner           = (*Cache)(nil)
	_ caddyhttp.MiddlewareHandler = (*Cache)(nil)
	_ httpcache.Origin            = (*origin)(nil)
)
