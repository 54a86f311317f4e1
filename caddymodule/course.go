package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/cacherules"
)

// course is the way of a request through the handlers of its site.
type course struct {
	rules   *Rules // nil: none on the way; so of the others
	verdict *cacherules.Verdict
	cache   *Cache
	proxy   *Proxy
	answers string        // the handler at the end of the way, "" if there is none
	r       *http.Request // as it is there

	server *caddyhttp.Server
	groups map[string]bool // those of which a route has matched
}

// course finds the way that a request would take. No handler acts, but for those
// that only change the request, so what another one would make of it is not
// seen. The server that listens on the URL's port is asked, and where it has no
// answer the others: a proxy or a platform in front may listen there instead.
func (a *App) course(r *http.Request) (*course, error) {
	app, err := a.ctx.AppIfConfigured("http")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return &course{r: r}, nil
	} else if err != nil {
		return nil, err
	}
	servers := app.(*caddyhttp.App).Servers
	found, best := &course{r: r}, 0
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		c := &course{server: servers[name], groups: make(map[string]bool)}
		repl := caddy.NewReplacer()
		c.r = caddyhttp.PrepareRequest(r.Clone(r.Context()), repl, discard{}, c.server)
		if _, err := c.through(c.server.Routes); err != nil {
			return nil, err
		}
		if fits := c.fits(listens(c.server, r)); fits > best {
			found, best = c, fits
		}
	}
	return found, nil
}

// fits grows with the likelihood that this is what the visitor meets.
func (c *course) fits(listens bool) int {
	switch {
	case c.answers != "" && listens:
		return 3
	case c.rules != nil || c.cache != nil || c.proxy != nil:
		return 2
	case c.answers != "":
		return 1
	}
	return 0
}

// listens reports whether the server listens on the port of the request's URL.
func listens(server *caddyhttp.Server, r *http.Request) bool {
	port := r.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && slices.ContainsFunc(server.Listen, func(address string) bool {
		at, err := caddy.ParseNetworkAddress(address)
		return err == nil && at.StartPort <= uint(number) && uint(number) <= at.EndPort
	})
}

// through follows routes as Caddy does (caddyhttp, wrapRoute). It reports
// whether the way has ended.
func (c *course) through(routes caddyhttp.RouteList) (ended bool, err error) {
	for _, route := range routes {
		if route.Group != "" && c.groups[route.Group] {
			continue
		}
		matches, err := route.MatcherSets.AnyMatchWithError(c.r)
		if err != nil {
			c.answers = "error"
			return true, nil
		}
		if !matches {
			continue
		}
		if route.Group != "" {
			c.groups[route.Group] = true
		}
		for _, handler := range route.Handlers {
			if ended, err := c.pass(handler); ended || err != nil {
				return true, err
			}
		}
		if route.Terminal {
			return true, nil
		}
	}
	return false, nil
}

// ends names Caddy's handlers that ask no other one.
var ends = map[string]bool{
	"reverse_proxy": true, "static_response": true, "error": true, "file_server": true, "acme_server": true, "metrics": true,
}

// changes names those that do nothing but change the request.
var changes = map[string]bool{"rewrite": true, "vars": true, "map": true, "headers": true}

// pass goes by one handler.
func (c *course) pass(handler caddyhttp.MiddlewareHandler) (ended bool, err error) {
	switch h := handler.(type) {
	case *caddyhttp.Subroute:
		return c.through(h.Routes)
	case *caddyhttp.Invoke:
		if route := c.server.NamedRoutes[h.Name]; route != nil {
			return c.through(caddyhttp.RouteList{*route})
		}
		return false, nil
	case *Rules:
		c.rules, c.verdict = h, h.judge(c.r)
		if h.guarded && !h.admits(c.verdict, c.r) {
			c.answers = "edge_rules"
			return true, nil
		}
		return false, nil
	case *Cache:
		if c.cache == nil && !h.app.controls(c.r.URL.Path) {
			c.cache = h
		}
		return false, nil
	case *Proxy:
		c.proxy, c.answers = h, "edge_proxy "+h.Pool
		return true, nil
	case *Control:
		c.answers = "edge_control"
		return true, nil
	}
	module, ok := handler.(caddy.Module)
	if !ok {
		return false, nil
	}
	name := module.CaddyModule().ID.Name()
	if ends[name] {
		c.answers = name
		return true, nil
	}
	if !changes[name] {
		return false, nil
	}
	err = handler.ServeHTTP(discard{}, c.r, caddyhttp.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		c.r = r
		return nil
	}))
	if err != nil {
		return true, fmt.Errorf("%s: %w", name, err)
	}
	return false, nil
}

// discard is the answer to a request that nobody sent.
type discard struct{}

func (discard) Header() http.Header         { return make(http.Header) }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
