package sample

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// app is one replica: the routes and what they share. Handlers may run
// concurrently; everything but contacts, leaving and sockets is set once.
type app struct {
	version  string
	instance string
	healthy  time.Time // not before this
	assets   assets
	pages    pages
	sessions sessions
	contacts *contacts

	handler    http.Handler
	leaving    atomic.Bool
	troubled   atomic.Int64    // until then, in Unix nanoseconds, see trouble
	streaming  context.Context // done when streams and sockets must end
	endStreams context.CancelFunc
	sockets    sync.WaitGroup
}

func newApp(c Config) (*app, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	built, err := buildAssets(c.Version, c.AssetsDir)
	if err != nil {
		return nil, err
	}
	a := &app{
		version:  c.Version,
		instance: c.Instance,
		healthy:  time.Now().Add(c.StartDelay),
		assets:   built,
		pages:    pages{version: c.Version, script: built.script, style: built.style},
		sessions: sessions{key: []byte(c.SessionKey)},
		contacts: newContacts(),
	}
	a.streaming, a.endStreams = context.WithCancel(context.Background())
	a.handler = http.NewCrossOriginProtection().Handler(a.routes())
	return a, nil
}

func (a *app) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /contacts", a.list)
	mux.HandleFunc("GET /contacts/{id}", a.detail)
	mux.HandleFunc("GET /assets/{name}", a.asset)
	mux.HandleFunc("GET /images/logo.svg", a.logo)

	mux.HandleFunc("GET /login", a.loginForm)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("GET /account", a.account)

	mux.HandleFunc("GET /api/contacts", a.apiList)
	mux.HandleFunc("POST /api/contacts", a.apiCreate)
	mux.HandleFunc("GET /api/me", a.apiMe)

	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("GET /ws", a.echo)
	mux.HandleFunc("GET /healthz", a.health)
	mux.HandleFunc("POST /trouble", a.trouble)
	return mux
}

// ServeHTTP says on every answer, errors included, which version and replica
// produced it, and when: so whoever finds it in a cache can tell how old it is.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App-Version", a.version)
	w.Header().Set("X-App-Instance", a.instance)
	w.Header().Set("X-App-Made", time.Now().UTC().Format(time.RFC3339Nano))
	if a.failing(r) {
		http.Error(w, "the database is gone", http.StatusServiceUnavailable)
		return
	}
	a.handler.ServeHTTP(w, r)
}

func (a *app) health(w http.ResponseWriter, _ *http.Request) {
	status, state := http.StatusOK, "ok"
	switch {
	case a.leaving.Load():
		status, state = http.StatusServiceUnavailable, "leaving"
	case time.Now().Before(a.healthy):
		status, state = http.StatusServiceUnavailable, "starting"
	}
	writeJSON(w, status, map[string]string{"status": state, "version": a.version, "instance": a.instance})
}

// writeJSON answers with a value that no cache may keep.
func writeJSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here is the client's going away: nobody is left to tell.
	_, _ = w.Write(append(body, '\n'))
}
