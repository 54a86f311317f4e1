package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

// bookName is the file in the state folder with the history of deploys and the
// versions of each pool.
const bookName = "deploys.json"

func openBook(stateDir string, write func(path string, text []byte) error) (*deploy.Book, error) {
	path := filepath.Join(stateDir, bookName)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state_dir %q: want to read %s: %w", stateDir, bookName, err)
	}
	return deploy.OpenBook(text, func(text []byte) error { return write(path, text) }, onDeployEvent), nil
}

// pokePools has every pool looked at: something that deploys wait for is done.
func pokePools() {
	if a := live.Load(); a != nil {
		for _, p := range a.pools {
			p.poke()
		}
	}
}

// Hint has every pool's replicas looked at.
func (controlled) Hint() {
	if a := live.Load(); a != nil {
		for _, p := range a.pools {
			p.Hint()
		}
	}
}

// Deploy takes a call for a version, which is durable then.
func (controlled) Deploy(ctx context.Context, c deploy.Call) (deploy.Record, error) {
	a := live.Load()
	if a == nil {
		return deploy.Record{}, errNotStarted
	}
	p, err := a.versioned(c.Pool)
	if err != nil {
		return deploy.Record{}, err
	}
	c.Pool = p.name
	// What a version may be is what a purge may name.
	if _, err := (purge.Selectors{Versions: append(slices.Clone(c.Retire), c.Version)}).Normalize(); err != nil {
		return deploy.Record{}, err
	}
	if c.Warm, err = purge.WarmURLs(c.Warm); err != nil {
		return deploy.Record{}, err
	}
	r, err := a.gateway.deploys().Call(time.Now(), c)
	if err != nil || !c.DryRun {
		p.poke()
		return warmedLate(ctx, r, c), err
	}
	if len(r.Retired) == 0 || r.Purge != "" {
		return r, nil
	}
	plan, err := controlled{}.Submit(ctx, purge.Order{Selectors: purge.Selectors{Versions: r.Retired}, Warm: c.Warm, DryRun: true})
	r.Plan = plan
	return r, err
}

// warmedLate orders what a caller wants warmed who comes when the deploy is done,
// and gives the record with that order. It purges nothing that the deploy has not; a
// first one has purged nothing, and what is stored of these pages is asked for anew.
func warmedLate(ctx context.Context, r deploy.Record, c deploy.Call) deploy.Record {
	first := r.Purge == ""
	if r.Stage != deploy.Done || !slices.ContainsFunc(c.Warm, func(url string) bool { return first || !slices.Contains(r.Warm, url) }) {
		return r
	}
	order := purge.Order{
		// Who calls again gets the same one.
		IdempotencyKey: fmt.Sprintf("warm-%s-%x", r.ID, sha256.Sum256([]byte(strings.Join(c.Warm, "\n")))),
		Follows:        r.Purge, Selectors: purge.Selectors{Versions: r.Retired}, Warm: c.Warm, Reason: c.Reason, Actor: c.Actor,
	}
	if first {
		order.Follows, order.Selectors, order.Soft = r.ID, purge.Selectors{URLs: c.Warm}, true
	}
	ordered, err := controlled{}.Submit(ctx, order)
	if err != nil {
		r.Note = fmt.Sprintf("not warmed: %v", err) // a warm-up fails no deploy
		return r
	}
	r.Purge = ordered.ID
	return r
}

// versioned finds the pool of a deploy: the one named, or the only one whose
// replicas say what they run.
func (a *App) versioned(name string) (*pool, error) {
	var candidates []string
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		if a.Pools[name].Health.VersionHeader != "" {
			candidates = append(candidates, name)
		}
	}
	if name != "" && a.pools[name] == nil {
		return nil, fmt.Errorf("pool %q: %w: want one of %s", name, control.ErrUnknownPool, strings.Join(slices.Sorted(maps.Keys(a.pools)), ", "))
	}
	switch {
	case len(candidates) == 0:
		return nil, &purge.Mistake{Field: "pool", Value: name, Want: "a pool that reads versions: give one health { version_header … }, or purge without a gate"}
	case name == "" && len(candidates) == 1:
		return a.pools[candidates[0]], nil
	case slices.Contains(candidates, name):
		return a.pools[name], nil
	}
	return nil, &purge.Mistake{Field: "pool", Value: name, Want: "one of those that read versions: " + strings.Join(candidates, ", ")}
}

// Deployed finds a deploy by its id.
func (controlled) Deployed(id string) (deploy.Record, bool) {
	if a := live.Load(); a != nil {
		return a.gateway.deploys().Get(id)
	}
	return deploy.Record{}, false
}

// WaitDeploy is Deployed after the deploy is finished or ctx is done.
func (controlled) WaitDeploy(ctx context.Context, id string) (deploy.Record, bool) {
	if a := live.Load(); a != nil {
		return a.gateway.deploys().Wait(ctx, id)
	}
	return deploy.Record{}, false
}

// CancelDeploy withdraws a call, or cancels its purge.
func (controlled) CancelDeploy(id string) error {
	a := live.Load()
	if a == nil {
		return errNotStarted
	}
	order, err := a.gateway.deploys().Cancel(time.Now(), id)
	if err != nil || order == "" {
		return err
	}
	return controlled{}.CancelPurge(order)
}

// Deploys lists the newest deploys, newest first; of one pool, if it is named.
func (controlled) Deploys(pool string, limit int) []deploy.Record {
	if a := live.Load(); a != nil {
		return a.gateway.deploys().List(pool, limit)
	}
	return nil
}

// Versions tells, for each pool, what its replicas run.
func (controlled) Versions() map[string]deploy.Status {
	versions := make(map[string]deploy.Status)
	if a := live.Load(); a != nil {
		for name, p := range a.pools {
			versions[name] = p.versions.Status()
		}
	}
	return versions
}
