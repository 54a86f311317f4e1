package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
)

// node is this node's cache, as purges see it.
type node struct {
	store *httpcache.Store
	// forgetDisk makes the next start a cold one.
	forgetDisk func() error
	book       *deploy.Book
}

func (n node) Generation() uint64 { return n.store.Generation() }

// Purge is durable, or an error: what the disk may not remember is made good by
// remembering nothing.
func (n node) Purge(_ context.Context, o purge.Order, generation uint64) error {
	if r := o.Rollout; r != nil {
		// First: what begins after the purge must not be stored.
		n.book.Hear(time.Now(), r.Pool, deploy.Word{ID: o.ID, Generation: generation, To: r.To, Retired: o.Versions})
	}
	order := purgeOf(o, generation)
	n.store.Purge(order)
	if err := replaced.purge(order); err != nil {
		return fmt.Errorf("purge at the process that was in charge: %w", err)
	}
	fault := n.store.DiskFault()
	if fault == nil {
		return nil
	}
	if err := n.forgetDisk(); err != nil {
		return fmt.Errorf("purge may not outlive a restart: %w", errors.Join(fault, err))
	}
	return nil
}

func purgeOf(o purge.Order, generation uint64) httpcache.Purge {
	return httpcache.Purge{
		Generation: generation,
		Soft:       o.Soft,
		Everything: o.Everything,
		URLs:       o.URLs,
		Tags:       o.Tags,
		Prefixes:   o.Prefixes,
		Hosts:      o.Hosts,
		Versions:   o.Versions,
	}
}

func (n node) Draining(generation uint64) int {
	return n.store.Draining(generation) + replaced.draining(generation)
}

// rollout knows what the replicas of the pools that report a version run.
type rollout struct{ app *App }

// Behind names the replicas that do not run the version, or are not healthy.
func (r rollout) Behind(_ context.Context, version string) ([]string, error) {
	var behind []string
	found := 0
	for _, name := range slices.Sorted(maps.Keys(r.app.pools)) {
		if r.app.Pools[name].Health.VersionHeader == "" {
			continue
		}
		for _, replica := range r.app.pools[name].replicas() {
			if replica.State != "draining" { // it takes no new requests
				found++
			}
		}
		behind = append(behind, deploy.Behind(r.app.pools[name].replicas(), version)...)
	}
	if found == 0 {
		return nil, errors.New("no pool that reads versions has a replica")
	}
	return behind, nil
}

// versionHeaders are the fields in which replicas say what they run.
func (a *App) versionHeaders() []string {
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		if header := a.Pools[name].Health.VersionHeader; header != "" && !slices.Contains(headers, header) {
			headers = append(headers, header)
		}
	}
	return headers
}

// provisionTargets builds what purges the CDNs in front.
func (a *App) provisionTargets() error {
	var errs []error
	add := func(target purge.Target, err error) {
		if err != nil {
			errs = append(errs, err)
			return
		}
		if slices.ContainsFunc(a.targets, func(t purge.Target) bool { return t.Name() == target.Name() }) {
			errs = append(errs, fmt.Errorf("cdn %s: given twice: want each CDN once", target.Name()))
			return
		}
		a.targets = append(a.targets, target)
	}
	if a.Cloudflare != nil {
		if err := a.Cloudflare.Validate(); err != nil {
			errs = append(errs, err)
		} else {
			add(purge.NewCloudflare(*a.Cloudflare))
		}
	}
	for _, s := range a.CDNs {
		add(purge.Purgers.New(s))
	}
	return errors.Join(errs...)
}
