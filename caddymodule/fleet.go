package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/purge"
)

// parseFleet reads "fleet URL" or "fleet URL { … }".
func (a *App) parseFleet(d *caddyfile.Dispenser) error {
	c := new(fleet.Config)
	a.Fleet = c
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("fleet: got %d arguments: want one, the URL of a Redis such as redis://redis.internal:6379/0", len(args))
	}
	c.URL = args[0]
	err := readBlock(d, words{
		"name":     text(&c.Name),
		"node":     text(&c.Node),
		"password": text(&c.Password),
		"lease":    duration(&c.Lease),
		"timeout":  duration(&c.Timeout),
		"keep":     count(&c.Keep),
	})
	if err != nil || hasPlaceholder(c.URL) || hasPlaceholder(c.Name) || hasPlaceholder(c.Node) {
		return err
	}
	if err := c.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// replaceInFleet fills in the placeholders.
func (a *App) replaceInFleet(replace func(place string, text *string)) {
	if c := a.Fleet; c != nil {
		replace("fleet", &c.URL)
		replace("fleet name", &c.Name)
		replace("fleet node", &c.Node)
		replace("fleet password", &c.Password)
	}
}

func (a *App) checkFleet() error {
	if a.Fleet == nil {
		return nil
	}
	return a.Fleet.Validate()
}

// keepsFleet says why a running gateway cannot belong to the fleet that a
// configuration wants.
func keepsFleet(now, wanted *fleet.Config) error {
	switch {
	case now == nil && wanted == nil, now != nil && wanted != nil && *now == *wanted:
		return nil
	case wanted == nil:
		return fmt.Errorf("fleet: a running gateway cannot leave its fleet: restart it instead")
	case now == nil:
		return fmt.Errorf("fleet %s: a running gateway cannot join one: restart it instead", wanted.URL)
	}
	return fmt.Errorf("fleet %s: a running gateway cannot change its fleet: restart it instead", wanted.URL)
}

// noteOfFleet is the name of the note about the place in the fleet's log.
const noteOfFleet = "fleet"

// join makes the gateway a member of its fleet, or the only one. It is called
// when the store is what the last run left, and serves nobody yet.
func (g *gateway) join(a *App) error {
	g.fleetConfig, g.sharedConfig = a.Fleet, a.Cache.Shared
	if a.Fleet == nil {
		g.fleet = fleet.NewLocal(max(g.purges.Generation(), g.store.Generation()))
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	member, err := fleet.Open(*a.Fleet, host, fleetNode{g.node(a), g}, g.noted, onFleetEvent)
	if err != nil {
		return err
	}
	g.store.Trust(member.Holds)
	g.fleet, g.member = member, member
	return g.openShared(a)
}

// fleetNode is this node's cache, as its membership sees it.
type fleetNode struct {
	node
	g *gateway
}

// Apply carries out another node's order. One that says what this version does
// not know may mean anything, and so means everything.
func (n fleetNode) Apply(order []byte, generation uint64) error {
	var o purge.Order
	known := json.NewDecoder(bytes.NewReader(order))
	known.DisallowUnknownFields()
	if err := known.Decode(&o); err != nil {
		o = purge.Order{Selectors: purge.Selectors{Everything: true}}
	}
	err := n.Purge(context.Background(), o, generation)
	if a := live.Load(); a != nil && err == nil {
		n.g.warmth.fill(o, a)
	}
	return err
}

// Forget gives up everything.
func (n fleetNode) Forget() error {
	return n.Purge(context.Background(), purge.Order{Selectors: purge.Selectors{Everything: true}}, 0)
}

// Note keeps the place in the fleet's log beside the answers on disk.
func (n fleetNode) Note(place []byte) error { return n.store.Note(noteOfFleet, place) }

// fleetState judges the fleet.
func fleetState(s fleet.Status) control.Dependency {
	d := control.Dependency{Name: "fleet", OK: s.Trusted, Detail: fmt.Sprintf("%d members", len(s.Members))}
	switch {
	case s.Fault != "" && s.Trusted:
		d.Detail += "; " + s.Fault
	case s.Fault != "":
		d.Detail = "behind, so that nothing is served from the cache: " + s.Fault
	case !s.Trusted:
		d.Detail = "joining: nothing is served from the cache yet"
	}
	return d
}
