package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/sharedcache"
	"github.com/edgegw/edge/internal/traffic"
)

// live is the configuration in force, nil before the first and after the last.
// Engines that outlive configurations report through it.
var live atomic.Pointer[App]

// shared holds what outlives configurations. Each configuration that uses a
// value counts; the last one to let go ends it.
var shared = caddy.NewUsagePool()

type gatewayKey struct{}

// gateway is the process-wide state that is not a pool: stored responses and
// purges.
type gateway struct {
	started time.Time
	store   *httpcache.Store
	traffic *traffic.Monitor
	history health.History // of what the gateway needs

	mu     sync.Mutex
	purges *purge.Coordinator // nil until a configuration has started
	fleet  purge.Fleet
	book   *deploy.Book // nil until then, too
	dir    string       // where the journal is
	disk   string       // where answers are to be on disk; empty for nowhere
	fresh  bool         // opened, and what it left unfinished not resumed yet

	fleetConfig *fleet.Config
	member      *fleet.Member // nil for a node alone
	noted       []byte        // what the last run noted about the fleet

	sharedConfig *sharedcache.Config
	sharedCache  *sharedcache.Cache // nil without one

	warmth warmth // after purges of other nodes

	registrations registrations
	asides        *asides // nil until a configuration has started

	backups  *backup.Runner // nil until a configuration has started
	held     io.Closer      // the state folder, against restores; nil until a configuration has started
	owned    io.Closer      // the same, against other gateways; nil while it is another process's
	restored *restored      // what a restore before this start has left to do; nil for nothing

	writing sync.Mutex // into the state folder
	away    bool       // that is another process's; guarded by writing

	unwatch func() // ends the watch over the traffic; nil before it began
	unlull  func() // ends the use of lulls; nil before it began
}

func acquireGateway() (*gateway, error) {
	g, _, err := shared.LoadOrNew(gatewayKey{}, func() (caddy.Destructor, error) {
		return &gateway{started: time.Now(), store: httpcache.NewStore(httpcache.Options{}), traffic: traffic.New()}, nil
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

// open opens the purge journal, unless it is open already. It is called when a
// configuration starts: validating one must not touch a running gateway's.
func (g *gateway) open(a *App) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.purges != nil {
		if g.dir != a.StateDir {
			return fmt.Errorf("state_dir %q: a running gateway cannot move its state from %q: restart it instead", a.StateDir, g.dir)
		}
		return errors.Join(keepsDisk(g.disk, a.diskFolder()), keepsFleet(g.fleetConfig, a.Fleet), keepsShared(g.sharedConfig, a.Cache.Shared))
	}
	if err := g.claim(a); err != nil {
		return err
	}
	journal, err := purge.OpenJournal(a.StateDir, onPurgeEvent)
	if err != nil {
		return fmt.Errorf("state_dir %q: want a folder that can be written: %w", a.StateDir, err)
	}
	g.dir = a.StateDir
	if g.book, err = openBook(a.StateDir, g.write); err != nil {
		return err
	}
	if g.asides, err = openAsides(a.StateDir, g.write); err != nil {
		return err
	}
	g.purges = purge.NewCoordinator(journal, g.parts(a), onPurgeEvent)
	g.store.Configure(a.cacheOptions())
	g.openCache(a, journal)
	g.fresh = true
	g.backups = backup.NewRunner(onBackupEvent)
	g.unwatch, g.unlull = g.watch(), collectInLulls()
	return g.join(a)
}

// configure hands a configuration's settings to what is live.
func (g *gateway) configure(a *App) {
	g.store.Configure(a.cacheOptions())
	g.store.ConfigureDisk(int64(a.Cache.Disk), int64(a.Cache.DiskMaxObject))
	g.mu.Lock()
	g.purges.Configure(g.parts(a))
	if g.fresh {
		g.fresh = false
		g.purges.Resume()
	}
	g.mu.Unlock()
	g.makeUp(a)
	g.backups.Configure(a.backupPlan())
}

func (g *gateway) parts(a *App) purge.Parts {
	p := purge.Parts{
		Node:     g.node(a),
		Fleet:    g.fleet,
		Targets:  a.targets,
		Verifier: purge.NewHTTPVerifier(a.versionHeaders()...),
		Warmer:   warmer{a},
		Settings: a.Purge,
	}
	if g.member != nil {
		p.Commons = g.member
	}
	if len(a.versionHeaders()) > 0 {
		p.Rollout = rollout{a}
	}
	return p
}

func (g *gateway) node(a *App) node {
	return node{g.store, func() error { return g.forgetDisk(a.StateDir) }, g.book}
}

// coordinator is nil before the first configuration has started.
func (g *gateway) coordinator() *purge.Coordinator {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.purges
}

// deploys is nil before the first configuration has started.
func (g *gateway) deploys() *deploy.Book {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.book
}

// Destruct ends what the gateway runs.
func (g *gateway) Destruct() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unwatch != nil {
		g.unwatch()
		g.unlull()
	}
	if g.backups != nil {
		g.backups.Close()
	}
	// The purges first: those under way must not find the disk closed.
	var err error
	if g.purges != nil {
		err = g.purges.Close()
	}
	if g.member != nil {
		g.member.Close()
	}
	g.warmth.close()
	g.closeShared()
	g.store.Close()
	for _, lock := range []io.Closer{g.owned, g.held} {
		if lock != nil {
			err = errors.Join(err, lock.Close())
		}
	}
	return err
}

var errNotStarted = errors.New("gateway is starting: try again in a second")
