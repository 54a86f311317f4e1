package caddymodule

import (
	"context"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// ownLog keeps a server's access log in Caddy's stead, record for record the same.
// Caddy prepares the record of a request before it asks whether there will be one,
// which with log_sampling there hardly ever is.
//
// It stands in front of all that the server does, and has requests served by a
// copy of the server that logs no access. Those over HTTP/3, of which Caddy tells
// no module, and others that it does not take go to the server itself, which logs
// them as it always did.
type ownLog struct {
	server *caddyhttp.Server
	once   sync.Once // stands in front

	sites map[string]*ownSite // by the name of their logger; fixed once begun

	mu    sync.Mutex
	hosts atomic.Pointer[map[string]*ownSite] // as requests name them, nil for those left to Caddy; nothing before begin
}

// ownSite is what requests have in common that one logger is for.
type ownSite struct {
	silent *caddyhttp.Server
	logs   *caddyhttp.ServerLogConfig // as configured
	access *zap.Logger
	name   string // of the logger below access, "" for access itself
}

// mostOwnHosts are remembered, which is a matter of speed alone: visitors choose them.
const mostOwnHosts, longestOwnHost = 512, 255

// siteApp is edgeApp for the handlers of sites, whose server's log edge may keep.
func siteApp(ctx caddy.Context) (*App, error) {
	app, err := edgeApp(ctx)
	if err == nil {
		app.takeLog(ctx)
	}
	return app, err
}

// takeLog makes ready to keep the log of the server that is being provisioned. Of
// those who put themselves in front of a server it has to be the first.
func (a *App) takeLog(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || a.bored == nil || server.Logs == nil || !extraKnown || !beforeRoutes(server) {
		return
	}
	for _, l := range a.ownLogs {
		if l.server == server {
			return
		}
	}
	l := &ownLog{server: server}
	a.ownLogs = append(a.ownLogs, l)
	first := &server.Routes[0]
	if len(first.MatcherSets) == 0 {
		first.MatcherSets = caddyhttp.MatcherSets{nil}
	}
	first.MatcherSets[0] = append(caddyhttp.MatcherSet{lookout{}}, first.MatcherSets[0]...)
	if server.Errors != nil && len(server.Errors.Routes) > 0 {
		never := caddyhttp.Route{MatcherSets: caddyhttp.MatcherSets{{lookout{errors: true}}}}
		server.Errors.Routes = append(caddyhttp.RouteList{never}, server.Errors.Routes...)
	}
	server.RegisterConnContext(l.stepInFront)
}

// beforeRoutes reports whether the server's routes are being provisioned, or are
// to be: later a change of them comes too late.
func beforeRoutes(server *caddyhttp.Server) bool {
	for _, route := range server.Routes {
		if len(route.HandlersRaw) > 0 {
			return true
		}
	}
	return false
}

// stepInFront is asked for the context of each connection. A server asks for that of
// the first before it serves any, so nobody reads the handler while it changes.
func (l *ownLog) stepInFront(ctx context.Context, _ net.Conn) context.Context {
	if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
		l.once.Do(func() {
			if server.Handler == http.Handler(l.server) {
				server.Handler = l
			}
		})
	}
	return ctx
}

// beginLogs has the logs begin once all apps have started: from then on Caddy
// changes nothing in a server.
type beginLogs struct{ app *App }

// Handle is called when the configuration has started.
func (b beginLogs) Handle(context.Context, caddy.Event) error {
	if len(b.app.ownLogs) == 0 {
		return nil
	}
	app, err := b.app.ctx.App("http")
	if err != nil {
		return err
	}
	server := app.(*caddyhttp.App)
	if server.ShutdownDelay > 0 {
		return nil // {http.shutting_down} would not be true for a copy
	}
	access := b.app.ctx.Logger(server).Named("log.access")
	for _, l := range b.app.ownLogs {
		l.begin(access)
	}
	return nil
}

func (l *ownLog) begin(access *zap.Logger) {
	if l.server.WriteTimeout > 0 || l.server.ReadIdleTimeout <= 0 {
		// Caddy looks at the end whether the first has passed; without the second a
		// request has net/http's own body, and its context leads to none of ours.
		return
	}
	names := map[string]bool{l.server.Logs.DefaultLoggerName: true}
	for _, mapped := range l.server.Logs.LoggerNames {
		if len(mapped) == 1 {
			names[mapped[0]] = true
		}
	}
	l.sites = make(map[string]*ownSite, len(names))
	for name := range names {
		l.sites[name] = &ownSite{silent: silenced(l.server, name), logs: l.server.Logs, access: access, name: name}
	}
	l.hosts.Store(&map[string]*ownSite{})
}

// silenced is a copy of a server that has started, which logs no access, and errors
// by the logger of a name: of the host as the request came, where Caddy goes by the
// one that a handler may have put in its place.
func silenced(server *caddyhttp.Server, name string) *caddyhttp.Server {
	silent := new(caddyhttp.Server)
	// By reflection, since one of its fields must not be copied once it is in use: the
	// time of a shutdown with a delay, of which there is none here.
	reflect.ValueOf(silent).Elem().Set(reflect.ValueOf(server).Elem())
	silent.Logs = &caddyhttp.ServerLogConfig{
		DefaultLoggerName:    name,
		SkipUnmappedHosts:    true,
		ShouldLogCredentials: server.Logs.ShouldLogCredentials,
		Trace:                server.Logs.Trace,
	}
	return silent
}

// site is the one whose log has the record of a request, nil if Caddy logs it, or
// nobody.
func (l *ownLog) site(r *http.Request) *ownSite {
	hosts := l.hosts.Load()
	if hosts == nil || !ordinary(r) {
		return nil
	}
	if site, known := (*hosts)[r.Host]; known {
		return site
	}
	names, logged := loggerNames(l.server.Logs, r.Host)
	if !logged || len(names) != 1 {
		return l.remember(r.Host, nil)
	}
	return l.remember(r.Host, l.sites[names[0]])
}

// ordinary leaves out those that turn into another protocol, of which the log tells
// what went over the connection, and those of which Caddy's server says more.
func ordinary(r *http.Request) bool {
	return r.Header["Upgrade"] == nil && r.Method != http.MethodConnect && len(r.Method) <= 32 && r.Body != nil
}

func (l *ownLog) remember(host string, site *ownSite) *ownSite {
	if len(*l.hosts.Load()) >= mostOwnHosts || len(host) > longestOwnHost {
		return site
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := maps.Clone(*l.hosts.Load())
	hosts[strings.Clone(host)] = site
	l.hosts.Store(&hosts)
	return site
}

// ServeHTTP serves a request, and writes its record if it is to have one.
func (l *ownLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	site := l.site(r)
	if site == nil {
		l.server.ServeHTTP(w, r)
		return
	}
	rec := &recordWriter{began: time.Now(), body: r.Body}
	rec.ResponseWriter = w
	r.Body = (*recordedBody)(rec)
	sent := keepHeader(r.Header)
	defer func() {
		site.record(rec, r, sent)
		sent.forget()
	}()
	site.silent.ServeHTTP(rec, r)
	rec.served = true
}

// lookout is a matcher that shows a record the request as handlers get it. The first
// route of a server has it, and always matches by it; the first of the routes of
// errors has it and never does.
type lookout struct{ errors bool }

// MatchWithError is asked before all other matchers.
func (l lookout) MatchWithError(r *http.Request) (bool, error) {
	reader, ours := r.Body.(*caddyhttp.IdleTimeoutReader)
	if !ours { // a handler has put another body in its place
		reader, _ = caddyhttp.IdleTimeoutsFromContext(r.Context())
	}
	if rec := recordWriterOf(reader); rec != nil {
		rec.look(r, l.errors)
	}
	return !l.errors, nil
}

// recordWriterOf is nil for a request whose record, if any, Caddy makes.
func recordWriterOf(reader *caddyhttp.IdleTimeoutReader) *recordWriter {
	if reader == nil {
		return nil
	}
	own, _ := reader.ReadCloser.(*recordedBody)
	return (*recordWriter)(own)
}

var _ caddyhttp.RequestMatcherWithError = lookout{}
