package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgegw/edge/internal/limit"
	"github.com/edgegw/edge/internal/unit"
)

// Limit is the handler edge_limit: each client may ask so often within a window, the
// rest gets 429. Who the client is, the server's trusted_proxies decide, so that
// nobody chooses it; the addresses of an IPv6 network of 64 bits are one client.
type Limit struct {
	// Name tells limits apart, in metrics, and over a reload, which forgets nothing.
	// Handlers with the same name count together.
	Name string `json:"name"`
	// Events are how many requests a client may make within Window.
	Events int           `json:"events"`
	Window unit.Duration `json:"window"`

	clients *limit.Limiter
	held    bool
}

var limitRefused = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "edge_limit_refused_total",
	Help: "Requests that edge_limit refused, by its name.",
}, []string{"limit"})

const mostEvents = 1_000_000

// limiterKey is a limit's place among what outlives configurations.
type limiterKey struct{ name string }

type limiterDestructor struct{ *limit.Limiter }

// Destruct has nothing to end.
func (limiterDestructor) Destruct() error { return nil }

// CaddyModule returns the Caddy module information.
func (*Limit) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_limit", New: func() caddy.Module { return new(Limit) }}
}

// Provision finds what the limit of this name remembers.
func (l *Limit) Provision(ctx caddy.Context) error {
	if err := l.check(); err != nil {
		return each(err, func(mistake error) error { return fmt.Errorf("edge_limit: %w", mistake) })
	}
	kept, _, err := shared.LoadOrNew(limiterKey{l.Name}, func() (caddy.Destructor, error) {
		return limiterDestructor{limit.New(limit.MaxKeys)}, nil
	})
	if err != nil {
		return err
	}
	l.clients, l.held = kept.(limiterDestructor).Limiter, true
	limitRefused.WithLabelValues(l.Name)
	return registerMetrics(ctx)
}

func (l *Limit) check() error {
	var errs []error
	if l.Name == "" {
		errs = append(errs, errors.New("no name: want one, such as login"))
	}
	if l.Events < 1 || l.Events > mostEvents {
		errs = append(errs, fmt.Errorf("%d requests: want 1 to %d", l.Events, mostEvents))
	}
	if window := l.Window.D(); window < time.Millisecond || window > 24*time.Hour {
		errs = append(errs, fmt.Errorf("window %s: want 1ms to 24h", l.Window))
	}
	return errors.Join(errs...)
}

// Cleanup lets go of it.
func (l *Limit) Cleanup() error {
	if !l.held {
		return nil
	}
	_, err := shared.Delete(limiterKey{l.Name})
	return err
}

// ServeHTTP counts the request, and lets it go on or answers 429.
func (l *Limit) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	ok, wait := l.clients.Allow(networkOf(clientAddress(r)), l.Events, l.Window.D(), time.Now())
	if ok {
		return next.ServeHTTP(w, r)
	}
	limitRefused.WithLabelValues(l.Name).Inc()
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusTooManyRequests)
	_, err := w.Write([]byte("429 Too Many Requests\n"))
	return err
}

// networkOf puts the addresses together that one client has: all of an IPv6 /64 (RFC
// 4291, 2.5.4).
func networkOf(client string) string {
	address, err := netip.ParseAddr(client)
	if err != nil {
		return client
	}
	address = address.Unmap().WithZone("")
	if network, err := address.Prefix(64); err == nil && address.Is6() {
		return network.String()
	}
	return address.String()
}

// parseLimit reads
//
//	edge_limit [<matcher>] <name> <events> <window>
func parseLimit(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	args := h.RemainingArgs()
	if len(args) != 3 {
		return nil, h.Errf("edge_limit: got %d arguments: want a name, a number of requests and a window, such as login 10 1m", len(args))
	}
	l := &Limit{Name: args[0]}
	var errs []error
	var err error
	if l.Events, err = strconv.Atoi(args[1]); err != nil {
		errs = append(errs, h.Errf("edge_limit %q: want a number of requests", args[1]))
	}
	if l.Window, err = unit.ParseDuration(args[2]); err != nil {
		errs = append(errs, h.Errf("edge_limit %v", err))
	}
	if len(errs) == 0 {
		if err := l.check(); err != nil {
			errs = append(errs, h.WrapErr(fmt.Errorf("edge_limit: %w", err)))
		}
	}
	return l, errors.Join(append(errs, noBlock(h.Dispenser, "edge_limit"))...)
}

var (
	_ caddy.Provisioner           = (*Limit)(nil)
	_ caddy.CleanerUpper          = (*Limit)(nil)
	_ caddyhttp.MiddlewareHandler = (*Limit)(nil)
)
