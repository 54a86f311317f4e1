package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/sharedcache"
	"github.com/edgegw/edge/internal/unit"
)

// parseShared reads "shared SIZE" or "shared SIZE { … }".
func parseShared(to **sharedcache.Config) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		c := new(sharedcache.Config)
		*to = c
		args := d.RemainingArgs()
		if len(args) != 1 {
			return d.Errf("shared: got %d arguments: want one, how much this node may have there", len(args))
		}
		var err error
		if c.Size, err = positive(unit.ParseBytes)(args[0]); err != nil {
			return d.Errf("shared %v", err)
		}
		if err := readBlock(d, words{"max_object": size(&c.MaxObject), "keep": duration(&c.Keep), "timeout": duration(&c.Timeout)}); err != nil {
			return err
		}
		if err := c.Validate(); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

func (a *App) checkShared() error {
	switch c := a.Cache.Shared; {
	case c == nil:
		return nil
	case a.Fleet == nil:
		return errors.New("cache shared: this node is alone: want a fleet, in whose Redis it is kept")
	default:
		return c.Validate()
	}
}

// keepsShared says why a running gateway cannot use what a configuration wants.
func keepsShared(now, wanted *sharedcache.Config) error {
	if now == nil && wanted == nil || now != nil && wanted != nil && *now == *wanted {
		return nil
	}
	return errors.New("cache shared: a running gateway cannot change what it shares: restart it instead")
}

// openShared begins to use the cache that the fleet has in common.
func (g *gateway) openShared(a *App) error {
	if a.Cache.Shared == nil {
		return nil
	}
	name := a.Fleet.Name
	if name == "" {
		name = "edge"
	}
	cache, err := sharedcache.Open(*a.Cache.Shared, a.Fleet.URL, a.Fleet.Password, "edge:cache:{"+name+"}:")
	if err != nil {
		return err
	}
	g.sharedCache = cache
	g.store.Share(common{cache, g.member.Course()})
	return nil
}

func (g *gateway) closeShared() {
	if g.sharedCache != nil {
		g.store.Share(nil)
		g.sharedCache.Close()
	}
}

// common is that cache, as the store sees it.
type common struct {
	*sharedcache.Cache

	course *fleet.Course
}

func (c common) Stamp(began uint64) (httpcache.Stamp, bool) {
	incarnation, position, known := c.course.Stamp(began)
	return httpcache.Stamp{Incarnation: incarnation, Position: position}, known
}

func (c common) Began(s httpcache.Stamp) (uint64, bool) {
	return c.course.Generation(s.Incarnation, s.Position)
}

// Scope is which version is current in each pool: nodes that do not agree on that,
// as in a rollout that only some have seen the end of, share nothing.
func (c common) Scope() string {
	a := live.Load()
	if a == nil {
		return ""
	}
	var scope strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		if current := a.pools[name].versions.Current(); current != "" {
			fmt.Fprintf(&scope, "%q=%q ", name, current)
		}
	}
	return scope.String()
}

// Current reports that some pool may store answers of a version. An answer without
// one is of no version, or outlives it.
func (c common) Current(version string) bool {
	a := live.Load()
	if a == nil {
		return false
	}
	for _, p := range a.pools {
		if version == "" || p.versions.Storable(version) {
			return true
		}
	}
	return false
}

func (c common) MaxObject() int64       { return int64(c.Config().MaxObject) }
func (c common) Keep() time.Duration    { return c.Config().Keep.D() }
func (c common) MinLife() time.Duration { return 10 * time.Second }

// Repeat applies an order of this node once more where it stands in the log, if
// answers of other nodes may come from the shared cache: see fleet.Course.
func (n fleetNode) Repeat(order []byte, generation uint64) error {
	if n.g.sharedConfig == nil {
		return nil
	}
	var o purge.Order
	if err := json.Unmarshal(order, &o); err != nil {
		return fmt.Errorf("order of this node: %w", err)
	}
	return n.Purge(context.Background(), o, generation)
}
