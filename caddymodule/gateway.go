package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
)

// live is the configuration in force, nil before the first and after the last.
// Engines that outlive configurations report through it.
var live atomic.Pointer[App]

// shared holds what outlives configurations. Each configuration that uses a
// value counts; the last one to let go ends it.
var shared = caddy.NewUsagePool()

type gatewayKey struct{}

type poolKey string

// gateway is the process-wide state that is not a pool: stored responses and
// purges.
type gateway struct {
	started time.Time
	store   *httpcache.Store

	mu     sync.Mutex
	purges *purge.Coordinator // nil until a configuration has started
	local  *fleet.Local
	dir    string // where the journal is
	disk   string // where answers are to be on disk; empty for nowhere
	fresh  bool   // opened, and what it left unfinished not resumed yet
}

func acquireGateway() (*gateway, error) {
	g, _, err := shared.LoadOrNew(gatewayKey{}, func() (caddy.Destructor, error) {
		return &gateway{started: time.Now(), store: httpcache.NewStore(httpcache.Options{})}, nil
	})
	if err != nil {
		return nil, err
	}
	return g.(*gateway), nil
}

func releaseGateway() error {
	_, err := shared.Delete(gatewayKey{})
	return err
}

// pool is a pool with the versions that its replicas were seen to run.
type pool struct {
	*lb.Pool
	name     string
	versions *deploy.Tracker

	mu      sync.Mutex
	retired []string // versions whose purge is not journaled yet
	held    string   // the version whose answers on disk are held back
	unnoted bool     // the last run's end is not what a restart would find
}

// Destruct is called when the last configuration with this pool is gone.
func (p *pool) Destruct() error { return p.Close() }

func acquirePool(name string) (*pool, error) {
	made, _, err := shared.LoadOrNew(poolKey(name), func() (caddy.Destructor, error) {
		p := &pool{Pool: lb.NewPool(name, onPoolEvent), name: name, versions: new(deploy.Tracker)}
		p.Watch(p.observeVersions)
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return made.(*pool), nil
}

func releasePool(name string) error {
	_, err := shared.Delete(poolKey(name))
	return err
}

// open opens the purge journal, unless it is open already. It is called when a
// configuration starts: validating one must not touch a running gateway's.
func (g *gateway) open(a *App) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.purges != nil {
		if g.dir != a.StateDir {
			return fmt.Errorf("state_dir %q: a running gateway cannot move its state from %q: restart it instead", a.StateDir, g.dir)
		}
		return keepsDisk(g.disk, a.diskFolder())
	}
	if err := os.MkdirAll(a.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir %q: want a folder that can be written: %w", a.StateDir, err)
	}
	journal, err := purge.OpenJournal(a.StateDir, onPurgeEvent)
	if err != nil {
		return fmt.Errorf("state_dir %q: want a folder that can be written: %w", a.StateDir, err)
	}
	g.dir = a.StateDir
	g.purges = purge.NewCoordinator(journal, g.parts(a), onPurgeEvent)
	g.store.Configure(a.cacheOptions())
	g.openCache(a, journal)
	g.local = fleet.NewLocal(max(g.purges.Generation(), g.store.Generation()))
	g.fresh = true
	return nil
}

// configure hands a configuration's settings to what is live.
func (g *gateway) configure(a *App) {
	g.store.Configure(a.cacheOptions())
	g.store.ConfigureDisk(int64(a.Cache.Disk))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.purges.Configure(g.parts(a))
	if g.fresh {
		g.fresh = false
		g.purges.Resume()
	}
}

func (g *gateway) parts(a *App) purge.Parts {
	p := purge.Parts{
		Node:     node{g.store, func() error { return g.forgetDisk(a.StateDir) }},
		Fleet:    g.local,
		Targets:  a.targets,
		Verifier: purge.NewHTTPVerifier(a.versionHeaders()...),
		Settings: a.Purge,
	}
	if len(a.versionHeaders()) > 0 {
		p.Rollout = rollout{a}
	}
	return p
}

// coordinator is nil before the first configuration has started.
func (g *gateway) coordinator() *purge.Coordinator {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.purges
}

// Destruct ends what the gateway runs.
func (g *gateway) Destruct() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	// The purges first: those under way must not find the disk closed.
	var err error
	if g.purges != nil {
		err = g.purges.Close()
	}
	g.store.Close()
	return err
}

// observeVersions looks at what the replicas run, after a change among them.
// When the last replica of a version is gone, that version's answers are
// purged, even if CI never calls.
func (p *pool) observeVersions() {
	replicas := p.Versions()
	seen := make([]deploy.Replica, len(replicas))
	for i, r := range replicas {
		seen[i] = deploy.Replica{ID: r.ID, Version: r.Version}
	}
	change := p.versions.Observe(time.Now(), seen)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = append(p.retired, change.Retired...)
	a := live.Load()
	if a == nil {
		p.unnoted = p.unnoted || change.Kind != deploy.Unchanged
		return // looked at again when the configuration has started
	}
	p.settleLocked(a.gateway.store, change, seen)
	p.purgeRetiredLocked(a, change.Current)
	if err := p.noteLocked(a.gateway.store); err != nil {
		a.logger.Warn("cache disk", zap.String("event", "not-noted"), zap.String("pool", p.name), zap.Error(err))
	}
}

// purgeRetiredLocked orders the purge of retired versions. What cannot be
// ordered now is tried again at the next change, or when a configuration starts.
func (p *pool) purgeRetiredLocked(a *App, current string) {
	if len(p.retired) == 0 {
		return
	}
	_, err := controlled{}.Submit(context.Background(), purge.Order{
		Selectors: purge.Selectors{Versions: p.retired},
		Reason:    "pool " + p.name + ": last replica of the version is gone",
		Actor:     "edge",
	})
	if err != nil {
		a.logger.Error("retired version not purged", zap.String("pool", p.name), zap.Strings("retired", p.retired), zap.Error(err))
		return
	}
	a.logger.Info("version retired", zap.String("pool", p.name), zap.Strings("retired", p.retired), zap.String("current", current))
	p.retired = nil
}

var errNotStarted = errors.New("gateway is starting: try again in a second")
