package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/control"
)

// defaultPrefix is where the control API is mounted by the documented
// configuration: handle /.edge/* { edge_control }.
const defaultPrefix = "/.edge"

// Control is the handler edge_control: the control API on a site, for CI and
// for replicas that register. It needs a token in the edge block; without one
// the configuration is refused.
type Control struct {
	// Prefix of the paths under which the API is mounted. A request whose path
	// does not begin with it is taken as it is, as within handle_path.
	// edge_cache leaves requests with these paths alone, on all sites.
	// Default: /.edge
	Prefix string `json:"prefix,omitempty"`

	api *control.Handler
	app *App
}

// CaddyModule returns the Caddy module information.
func (Control) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_control", New: func() caddy.Module { return new(Control) }}
}

// Provision refuses to start without a token.
func (c *Control) Provision(ctx caddy.Context) error {
	app, err := siteApp(ctx)
	if err != nil {
		return err
	}
	if len(app.tokens)+len(app.callers) == 0 {
		return errors.New("edge_control: got no token: want one in the edge block: control { token {env.EDGE_TOKEN} }")
	}
	c.app = app
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	app.prefixes = append(app.prefixes, c.Prefix)
	c.api = control.New(control.Config{
		Gateway:   controlled{},
		Tokens:    app.tokens,
		Callers:   app.callers,
		HintToken: app.Control.HintToken,
		Client:    clientAddress,
		Event:     onControlEvent,
	})
	return nil
}

// clientAddress is the client's, as Caddy's trusted_proxies make it out.
func clientAddress(r *http.Request) string {
	if ip, ok := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); ok && ip != "" {
		return ip
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// ServeHTTP answers; it never calls the next handler.
func (c *Control) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) (err error) {
	if err := c.app.awaitStart(r.Context()); err != nil {
		return err
	}
	ex, first := begin(w, r)
	ex.called = true
	if first {
		defer func() { ex.visited(r, err, recover()) }()
	}
	if r = stripped(r, c.Prefix); !passOn(w, r) {
		c.api.ServeHTTP(w, r)
	}
	return nil
}

// beneath is what follows the prefix of a path, if it is one of its folders.
func beneath(path, prefix string) (rest string, below bool) {
	rest, found := strings.CutPrefix(path, prefix)
	return rest, found && (rest == "" || rest[0] == '/')
}

// stripped is the request without the prefix under which the API is mounted.
func stripped(r *http.Request, prefix string) *http.Request {
	rest, below := beneath(r.URL.Path, prefix)
	if !below {
		return r
	}
	copied := new(http.Request)
	*copied = *r
	copied.URL = new(url.URL)
	*copied.URL = *r.URL
	copied.URL.Path, copied.URL.RawPath = rest, ""
	return copied
}

// parseControl reads
//
//	edge_control [<matcher>] {
//	    prefix /.edge
//	}
func parseControl(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("edge_control: spare argument %q: its words stand in a block", h.Val())
	}
	c := new(Control)
	if err := readBlock(h.Dispenser, words{"prefix": text(&c.Prefix)}); err != nil {
		return nil, err
	}
	return c, nil
}

// adminEndpoint offers the control API on Caddy's admin endpoint, under
// /edge/. Caddy's own checks of origin and address guard it.
type adminEndpoint struct{}

// CaddyModule returns the Caddy module information.
func (adminEndpoint) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.edge", New: func() caddy.Module { return new(adminEndpoint) }}
}

// Routes is called before any app exists; the live gateway is looked up for
// each request.
func (adminEndpoint) Routes() []caddy.AdminRoute {
	api := control.New(control.Config{Gateway: controlled{}, Trusted: true, Event: onControlEvent})
	return []caddy.AdminRoute{{
		Pattern: "/edge/",
		Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if live.Load() == nil {
				return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errNotStarted}
			}
			if r = stripped(r, "/edge"); !passOn(w, r) {
				api.ServeHTTP(w, r)
			}
			return nil
		}),
	}, {Pattern: "/edge/handover", Handler: caddy.AdminHandlerFunc(handoverAdmin)}}
}

var (
	_ caddy.Provisioner           = (*Control)(nil)
	_ caddyhttp.MiddlewareHandler = (*Control)(nil)
	_ caddy.AdminRouter           = (*adminEndpoint)(nil)
)
