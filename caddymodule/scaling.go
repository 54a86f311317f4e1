package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/named"
)

// autoscaleWords reads
//
//	autoscale {
//	    min <count>
//	    max <count>
//	    target <count>
//	    window <duration>
//	    up <duration>
//	    down <duration>
//	    tolerance <share>
//	    driver <name> <words>... { … }
//	}
func autoscaleWords(c *autoscale.Config) words {
	return words{
		"min":       count(&c.Min),
		"max":       count(&c.Max),
		"target":    count(&c.Target),
		"window":    duration(&c.Window),
		"up":        duration(&c.Up),
		"down":      duration(&c.Down),
		"tolerance": ratio(&c.Tolerance),
		"driver":    func(d *caddyfile.Dispenser) error { return parseDriver(d, &c.Driver) },
	}
}

func parseDriver(d *caddyfile.Dispenser, to *named.Spec) error {
	return parseSpec(d, to, func(s named.Spec) (autoscale.Driver, error) {
		if driverWaits(s) {
			return nil, nil // checked when the configuration is loaded, with its value
		}
		return autoscale.Drivers.New(s)
	})
}

// replaceInDriver fills in what a driver takes from the environment or a file.
func replaceInDriver(s named.Spec, replace func(*string)) {
	for i := range s.Args {
		replace(&s.Args[i])
	}
	for _, word := range slices.Sorted(maps.Keys(s.Options)) {
		for i := range s.Options[word] {
			replace(&s.Options[word][i])
		}
	}
}

// driverWaits reports whether a placeholder stands in any word of a driver.
func driverWaits(s named.Spec) bool {
	for _, words := range s.Options {
		if slices.ContainsFunc(words, hasPlaceholder) {
			return true
		}
	}
	return slices.ContainsFunc(s.Args, hasPlaceholder)
}

// scalingView is what GET autoscale answers of a pool: flat, for scalers that
// read one number from JSON.
type scalingView struct {
	Pool     string `json:"pool"`
	InFlight int64  `json:"in_flight"`
	Queued   int64  `json:"queued"`
	Up       int    `json:"up"` // replicas that pass their checks
	lb.ScalingStatus
}

// Autoscale tells how many replicas pools should have.
func (controlled) Autoscale(pool string) (any, error) {
	a := live.Load()
	if a == nil {
		return nil, errNotStarted
	}
	if pool == "" {
		all := make(map[string]scalingView)
		for name, p := range a.pools {
			all[name] = p.scalingView()
		}
		return all, nil
	}
	p, ok := a.pools[pool]
	if !ok {
		return nil, fmt.Errorf("pool %q: %w: want one of %s", pool, control.ErrUnknownPool, strings.Join(slices.Sorted(maps.Keys(a.pools)), ", "))
	}
	return p.scalingView(), nil
}

func (p *pool) scalingView() scalingView {
	s := p.Status()
	v := scalingView{Pool: s.Name, InFlight: s.InFlight, Queued: s.Queued, ScalingStatus: s.Scaling}
	for _, r := range s.Replicas {
		if r.State == "up" {
			v.Up++
		}
	}
	return v
}
