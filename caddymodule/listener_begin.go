package caddymodule

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// beginning tells when a server of a configuration that starts can greet visitors: once
// all apps have started, and the certificates that are stored have been read. Caddy
// listens before, and reads them in the background: what waits at a socket that
// systemd holds would be refused its handshake.
type beginning struct {
	server  *caddyhttp.Server // nil for one that is not of HTTP
	started chan struct{}

	mu        sync.Mutex
	obtaining map[string]bool // hosts whose certificate is none that is stored
}

// newBeginning asks for the events; Caddy permits it during provisioning only.
func newBeginning(ctx caddy.Context, server *caddyhttp.Server) (*beginning, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	b := &beginning{server: server, started: make(chan struct{}), obtaining: make(map[string]bool)}
	events := app.(*caddyevents.App)
	return b, errors.Join(events.On("started", b), events.On("cert_obtaining", b))
}

// Handle is told of the start, and of each certificate that is to be made.
func (b *beginning) Handle(_ context.Context, e caddy.Event) error {
	if e.Name() == "started" {
		close(b.started)
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if host, ok := e.Data["identifier"].(string); ok {
		b.obtaining[host] = true
	}
	return nil
}

// readPatience is how long certificates may take to be read. Of some hosts there are
// none, such as those that are made when a visitor comes.
const readPatience = 2 * time.Second

// awaitCertificates waits until each host has a certificate, or is about to get its
// first, or until nobody is to be greeted any more.
func (b *beginning) awaitCertificates(closing <-chan struct{}) {
	if b.server == nil || len(b.server.TLSConnPolicies) == 0 {
		return
	}
	hosts := serverHosts(b.server)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(readPatience)
	defer late.Stop()
	for !b.have(hosts) {
		select {
		case <-tick.C:
		case <-late.C:
			return
		case <-closing:
			return
		}
	}
}

func (b *beginning) have(hosts []string) bool {
	read := certificatesOf(hosts)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, host := range hosts {
		if read[host] == nil && !b.obtaining[host] {
			return false
		}
	}
	return true
}
