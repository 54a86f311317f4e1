package caddymodule

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/warm"
)

const (
	// warmAtOnce bounds the fetches of one warming.
	warmAtOnce = 8
	// warmFetch bounds one of them.
	warmFetch = 30 * time.Second
	warmAgent = "edge-warm"
)

// warmer fetches pages after a purge: those that this node's visitors wanted
// most, then those that the order names, here and through the CDN.
type warmer struct{ app *App }

// page is one that is to be fetched.
type page struct {
	url    string
	header http.Header
}

// Warm goes the ways that there are, one after the other, so that what the CDN
// asks for is here already.
func (w warmer) Warm(ctx context.Context, o purge.Order) []purge.Warmed {
	all := w.node(ctx, o)
	if len(o.Warm) > 0 && len(w.app.targets) > 0 {
		all = append(all, w.fetch(ctx, "cdn", fetchOutside, pagesOf(o.Warm)))
	}
	return all
}

// node fills this node's cache.
func (w warmer) node(ctx context.Context, o purge.Order) (all []purge.Warmed) {
	if o.Hottest > 0 {
		var pages []page
		for _, hot := range w.app.gateway.store.Hottest(o.Hottest) {
			pages = append(pages, page{hot.URL, hot.Header})
		}
		all = append(all, w.fetch(ctx, "hottest", w.here(), pages))
	}
	if len(o.Warm) > 0 {
		all = append(all, w.fetch(ctx, "node", w.here(), pagesOf(o.Warm)))
	}
	return all
}

func pagesOf(urls []string) []page {
	pages := make([]page, 0, len(urls))
	for _, url := range urls {
		pages = append(pages, page{url: url})
	}
	return pages
}

// warmth fetches, in the background, what another node's order wants fetched.
// It is one at a time, and its owner closes it.
type warmth struct {
	mu      sync.Mutex
	busy    bool
	closed  bool
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// fill begins unless a filling is under way, or the order is one of long ago,
// which a node that was away catches up with.
func (w *warmth) fill(o purge.Order, a *App) {
	within := a.Purge.WarmFor.Or(time.Minute)
	if o.Hottest == 0 && len(o.Warm) == 0 || time.Since(o.Created) > within {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy || w.closed {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	w.busy, w.cancel = true, cancel
	w.running.Go(func() {
		defer cancel()
		for _, warmed := range (warmer{a}).node(ctx, o) {
			logger().Info("pages warmed", zap.String("purge", o.ID), zap.Stringer("pages", warmed))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy = false
	})
}

func (w *warmth) close() {
	w.mu.Lock()
	w.closed = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.running.Wait()
}

func (w warmer) fetch(ctx context.Context, via string, fetch func(context.Context, page) warm.Outcome, pages []page) purge.Warmed {
	r := warm.Run(ctx, warm.Way[page]{
		Most: warmAtOnce,
		Budget: func(running int) (int, string) {
			return warm.Allowance(w.pools(), running, warmAtOnce)
		},
		Fetch: func(ctx context.Context, p page) warm.Outcome {
			ctx, cancel := context.WithTimeout(ctx, warmFetch)
			defer cancel()
			return fetch(ctx, p)
		},
	}, pages)
	return purge.Warmed{Via: via, Hit: r.Hit, Miss: r.Miss, Failed: r.Failed, Skipped: r.Skipped, Note: r.Why}
}

// pools are all pools as they are now.
func (w warmer) pools() []warm.Pool {
	var pools []warm.Pool
	for _, name := range slices.Sorted(maps.Keys(w.app.pools)) {
		pools = append(pools, warmPool(w.app.pools[name].Status()))
	}
	return pools
}

func warmPool(s lb.Status) warm.Pool {
	p := warm.Pool{Name: s.Name, Panic: s.Panic, Queued: s.Queued, InFlight: s.InFlight}
	bounded := true
	for _, r := range s.Replicas {
		if r.State != "up" {
			continue
		}
		p.Up++
		p.Capacity += r.Limit
		p.Failing = max(p.Failing, r.Failing)
		bounded = bounded && r.Limit > 0
	}
	if !bounded {
		p.Capacity = 0
	}
	return p
}

// here gives pages to this node's own sites, as if a visitor had asked: on no
// connection, past every listener.
func (w warmer) here() func(context.Context, page) warm.Outcome {
	servers := w.sites()
	return func(ctx context.Context, p page) warm.Outcome {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
		if err != nil {
			return warm.Failed
		}
		server := servers.of(r.URL)
		if server == nil {
			return warm.Failed
		}
		if r.Header = p.header.Clone(); r.Header == nil {
			r.Header = make(http.Header)
		}
		r.Header.Set("User-Agent", warmAgent)
		r.RemoteAddr, r.RequestURI = "127.0.0.1:0", r.URL.RequestURI()
		if r.URL.Scheme == "https" {
			r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: r.URL.Hostname()}
		}
		// As net/http has it for requests that it has read.
		r.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
		answer := &unread{header: make(http.Header)}
		if !served(server, answer, r) {
			return warm.Failed
		}
		return warmOutcome(answer.status, strings.Contains(answer.header.Get("Cache-Status"), "; hit"))
	}
}

// served reports whether a handler answered to the end. As net/http does it, a
// panic ends this answer and nothing else; http.ErrAbortHandler is how handlers
// break off what a replica has cut.
func served(server http.Handler, w http.ResponseWriter, r *http.Request) (whole bool) {
	defer func() {
		if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
			logger().Error("panic while a page was warmed", zap.String("url", r.Host+r.RequestURI), zap.Any("panic", fault), zap.Stack("stack"))
		}
	}()
	server.ServeHTTP(w, r)
	return true
}

// outside fetches as visitors do.
var outside = &http.Client{
	Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: warmAtOnce, IdleConnTimeout: time.Minute},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetchOutside goes through whatever CDN is on the way, to one data centre of it.
func fetchOutside(ctx context.Context, p page) warm.Outcome {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return warm.Failed
	}
	r.Header.Set("User-Agent", warmAgent)
	res, err := outside.Do(r)
	if err != nil {
		return warm.Failed
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return warm.Failed
	}
	return warmOutcome(res.StatusCode, res.Header.Get("Cf-Cache-Status") == "HIT")
}

func warmOutcome(status int, hit bool) warm.Outcome {
	switch {
	case status == 0 || status >= http.StatusInternalServerError:
		return warm.Failed
	case hit:
		return warm.Hit
	}
	return warm.Miss
}

// unread is an answer that nobody reads. One goroutine writes it.
type unread struct {
	header http.Header
	status int
}

// Header is the answer's.
func (u *unread) Header() http.Header { return u.header }

// WriteHeader notes the status, unless it is an informational one.
func (u *unread) WriteHeader(status int) {
	if u.status == 0 && status >= 200 {
		u.status = status
	}
}

func (u *unread) Write(b []byte) (int, error) {
	u.WriteHeader(http.StatusOK)
	return len(b), nil
}

// Flush has nothing to do: nobody waits.
func (u *unread) Flush() { u.WriteHeader(http.StatusOK) }

// siteServers are the HTTP servers of a configuration.
type siteServers []*caddyhttp.Server

func (w warmer) sites() siteServers {
	app, err := w.app.ctx.AppIfConfigured("http")
	if err != nil {
		return nil // a configuration without sites
	}
	servers := app.(*caddyhttp.App).Servers
	var sites siteServers
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		sites = append(sites, servers[name])
	}
	return sites
}

// of is the server that a URL is asked of: the one that listens at its port;
// else, as behind a proxy that ends TLS, the first that has its host, or any.
func (s siteServers) of(u *url.URL) *caddyhttp.Server {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	for _, fits := range []func(*caddyhttp.Server) bool{
		func(server *caddyhttp.Server) bool {
			return slices.ContainsFunc(server.Listen, func(address string) bool { return strings.HasSuffix(address, ":"+port) })
		},
		func(server *caddyhttp.Server) bool { return slices.Contains(serverHosts(server), u.Hostname()) },
		func(server *caddyhttp.Server) bool { return len(serverHosts(server)) == 0 },
	} {
		if i := slices.IndexFunc(s, fits); i >= 0 {
			return s[i]
		}
	}
	return nil
}
