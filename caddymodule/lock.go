package caddymodule

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgegw/edge/internal/control"
)

// Lock is the handler edge_lock: only requests that bring a secret in a field, as
// the CDN in front adds it, get in. Who has found the gateway's address past the CDN
// gets 403 from it, and nothing of the site.
type Lock struct {
	// Header is the field. Nobody else sees it on any site of the server: no log,
	// no other handler, no replica. Over HTTP/3, of which Caddy tells no module, the
	// access log has it; no CDN asks an origin that way.
	Header string `json:"header"`
	// Secrets are those that open: one, or two while one replaces the other. At least
	// 16 characters each; {env.*} and {file.*} are replaced when the configuration is
	// loaded.
	Secrets []string `json:"secrets"`

	sums [][sha256.Size]byte
}

var lockRefused = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "edge_lock_refused_total",
	Help: "Requests that edge_lock refused: they did not come through the CDN.",
})

// CaddyModule returns the Caddy module information.
func (Lock) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_lock", New: func() caddy.Module { return new(Lock) }}
}

// Provision replaces placeholders, and refuses secrets that can be guessed.
func (l *Lock) Provision(ctx caddy.Context) error {
	if err := l.prepare(); err != nil {
		return err
	}
	if app, err := ctx.AppIfConfigured("edge"); err == nil {
		app.(*App).takeLog(ctx) // behind what hides the field
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		server.RegisterConnContext(l.hideFrom())
	}
	return registerMetrics(ctx)
}

// hiddenField is the place in a request's context of a field that was taken out
// of its header.
type hiddenField string

// hideFrom puts hide in front of all that a server does. Caddy copies each request for
// its logs before any handler of a configuration gets it, so the field has to be
// out of the header before. A server asks for the context of its first connection
// before it serves any, so nobody reads the handler while it changes.
func (l *Lock) hideFrom() func(context.Context, net.Conn) context.Context {
	var once sync.Once
	return func(ctx context.Context, _ net.Conn) context.Context {
		if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
			once.Do(func() { server.Handler = l.hide(server.Handler) })
		}
		return ctx
	}
}

// hide moves the field from the header to the context.
func (l *Lock) hide(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if values, ok := r.Header[l.Header]; ok {
			delete(r.Header, l.Header)
			r = r.WithContext(context.WithValue(r.Context(), hiddenField(l.Header), values))
		}
		next.ServeHTTP(w, r)
	})
}

// values are those of the field, which is in the header no more after this.
func (l *Lock) values(r *http.Request) []string {
	if hidden, ok := r.Context().Value(hiddenField(l.Header)).([]string); ok {
		return hidden
	}
	values := r.Header[l.Header]
	delete(r.Header, l.Header)
	return values
}

func (l *Lock) prepare() error {
	var errs []error
	if l.Header = http.CanonicalHeaderKey(l.Header); !goodLockHeader(l.Header) {
		errs = append(errs, fmt.Errorf("header %q: want the name of a field of your own, such as X-Origin-Secret", l.Header))
	}
	if n := len(l.Secrets); n == 0 || n > 2 {
		errs = append(errs, fmt.Errorf("got %d secrets: want one, or two while one replaces the other", n))
	}
	repl := caddy.NewReplacer()
	for i, text := range l.Secrets {
		secret, err := repl.ReplaceOrErr(text, true, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("%q: want a placeholder that has a value here: %w", text, err))
			continue
		}
		secret = strings.TrimSpace(secret)
		if err := control.CheckToken(secret); err != nil {
			errs = append(errs, each(err, func(mistake error) error { return fmt.Errorf("secret %d: %w", i+1, mistake) }))
			continue
		}
		l.sums = append(l.sums, sha256.Sum256([]byte(secret)))
	}
	return each(errors.Join(errs...), func(mistake error) error { return fmt.Errorf("edge_lock: %w", mistake) })
}

// goodLockHeader reports whether a name is a token (RFC 9110, 5.6.2) and none that
// others write.
func goodLockHeader(name string) bool {
	switch name {
	case "", "Host", "Cookie", "Authorization", "Connection", "Content-Length", "Transfer-Encoding", "X-Forwarded-For":
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

// opens reports whether the field's values are one, and a secret. It takes the same
// time for right and wrong ones.
func (l *Lock) opens(values []string) bool {
	if len(values) != 1 || len(values[0]) > 512 {
		return false
	}
	sum, found := sha256.Sum256([]byte(values[0])), 0
	for i := range l.sums {
		found |= subtle.ConstantTimeCompare(sum[:], l.sums[i][:])
	}
	return found == 1
}

// ServeHTTP lets the request go on, without the field, or answers 403.
func (l *Lock) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if l.opens(l.values(r)) {
		return next.ServeHTTP(w, r)
	}
	lockRefused.Inc()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusForbidden)
	_, err := w.Write([]byte("403 Forbidden\n"))
	return err
}

// parseLock reads
//
//	edge_lock [<matcher>] <header> <secret> [<other secret>]
func parseLock(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	args := h.RemainingArgs()
	if len(args) != 2 && len(args) != 3 {
		return nil, h.Errf("edge_lock: got %d arguments: want a field and a secret, or two while one replaces the other, such as X-Origin-Secret {env.ORIGIN_SECRET}", len(args))
	}
	return &Lock{Header: args[0], Secrets: args[1:]}, noBlock(h.Dispenser, "edge_lock")
}

var (
	_ caddy.Provisioner           = (*Lock)(nil)
	_ caddyhttp.MiddlewareHandler = (*Lock)(nil)
)
