package caddymodule

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/health"
)

// Start makes this configuration the live one, unless another process is in charge
// still: then it gets ready to take over.
func (a *App) Start() error {
	if waitsForCharge() {
		return a.prepare()
	}
	if err := a.gateway.open(a); err != nil {
		return err
	}
	return a.begin()
}

// begin has pools, store and targets take up this configuration's settings.
func (a *App) begin() error {
	if err := a.apply(); err != nil {
		// Caddy does not stop an app that did not start.
		if before := live.Load(); before != nil {
			err = errors.Join(err, before.apply())
		}
		return err
	}
	a.hosts = a.siteHosts()
	expect(a.targets, a.pools)
	a.loaded = time.Now()
	a.watch = health.Start(&a.gateway.history, a.dependencyChanged, a.checks()...)
	book := a.gateway.deploys()
	for _, p := range a.pools {
		p.adopt(book)
	}
	book.Keep(a.loaded, slices.Collect(maps.Keys(a.pools)))
	a.before = live.Swap(a)
	paceCollector()
	a.startOnce.Do(func() { close(a.started) })
	for _, p := range a.pools {
		p.poke()
	}
	for _, c := range a.proxies {
		c.follow(a.StateDir)
	}
	return nil
}
