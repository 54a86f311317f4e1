package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/report"
	"github.com/edgegw/edge/internal/unit"
)

// App is the app "edge": what the global edge block of a Caddyfile says. The
// handlers edge_rules, edge_cache, edge_proxy and edge_control of all sites
// share it. What must outlive a configuration (stored responses, replicas with
// their health and breakers, generations, the purge journal) lives in the
// process and is found again by each new configuration.
type App struct {
	// StateDir is where the purge journal is kept.
	// Default: the folder edge in Caddy's data directory.
	StateDir string `json:"state_dir,omitempty"`

	// Cache bounds the store that all sites share.
	Cache CacheSize `json:"cache,omitzero"`

	// Pools by name.
	Pools map[string]PoolConfig `json:"pools,omitempty"`

	// Cloudflare is the CDN in front. Without it, purges end at this node.
	Cloudflare *purge.CloudflareConfig `json:"cloudflare,omitempty"`

	// CDNs are other CDNs in front, by the name under which their purger is
	// registered and its words.
	CDNs []named.Spec `json:"cdns,omitempty"`

	// Fleet says where this node meets the others of its fleet. Without it, the
	// node is alone.
	Fleet *fleet.Config `json:"fleet,omitempty"`

	// Purge holds the times and bounds of purges.
	Purge purge.Settings `json:"purge,omitzero"`

	// Control guards what edge_control offers.
	Control ControlConfig `json:"control,omitzero"`

	// Sentry says where errors are reported. Without it, nowhere.
	Sentry *report.Config `json:"sentry,omitempty"`

	// Backup says where the state is copied, and how often. Without it, nowhere.
	Backup *BackupConfig `json:"backup,omitempty"`

	// Tracing exports a trace of each purge, to where OpenTelemetry's variables
	// say. Default: off.
	Tracing bool `json:"tracing,omitempty"`

	// TraceRequests is the share of requests of which a trace is exported as
	// well, besides those whose caller says so. Default: none; Caddy's tracing
	// directive traces a site's.
	TraceRequests unit.Ratio `json:"trace_requests,omitempty"`

	// TracePerSecond is how many of those there are in a second at most, of
	// requests whose caller does not say. Default: no bound.
	TracePerSecond int `json:"trace_per_second,omitempty"`

	// LogSampling says which boring requests have a record in the access log.
	// Without it, all have.
	LogSampling *LogSampling `json:"log_sampling,omitempty"`

	// Leave says how the process takes leave when it is told to stop.
	Leave StopConfig `json:"stop,omitzero"`

	ctx     caddy.Context
	logger  *zap.Logger
	gateway *gateway
	pools   map[string]*pool
	tokens  []string
	callers []control.Caller
	targets []purge.Target
	vault   *backup.Vault // nil for no backups

	reports   *report.Reporter // nil for nobody
	reporting reporterKey
	tracer    trace.Tracer  // nil for none
	visits    *visitTracing // nil when no request is traced
	bored     *boredom      // nil when every request has a record

	rulesMu sync.Mutex
	rules   []*cacherules.Ruleset // of all sites, in order of provisioning
	proxies []*CloudflareProxies  // that servers trust

	ownLogs  []*ownLog // of servers, by their first handler of edge's
	hosts    []string  // that sites are about
	prefixes []string  // where sites mount the control API; fixed once provisioned

	started   chan struct{} // closed by Start, and by Cleanup
	startOnce sync.Once
	loaded    time.Time
	watch     *health.Watch // since Start
	before    *App          // the configuration that this one replaced
	gone      atomic.Bool
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "edge", New: func() caddy.Module { return new(App) }}
}

// edgeApp finds the app of the configuration that is being provisioned.
func edgeApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("edge")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// Provision replaces placeholders, checks everything, and finds or makes the
// process-wide state. It changes nothing that is live: Start does.
func (a *App) Provision(ctx caddy.Context) error {
	if s := succeeding.Load(); s != nil {
		return errHandingOver
	}
	a.ctx, a.logger = ctx, ctx.Logger()
	a.started = make(chan struct{})
	a.bored = a.LogSampling.boredom()
	watchConfiguration(ctx)
	repl := caddy.NewReplacer()
	errs := []error{
		a.replacePlaceholders(repl),
		a.Cache.check(),
		a.Cache.Vault.check(a.Cache.Memory),
		a.Leave.check(),
		a.checkPools(),
		a.checkFleet(),
		a.checkShared(),
		a.checkSentry(),
		a.checkBackup(),
		a.Purge.Validate(),
		a.provisionControl(),
		a.provisionTargets(),
		registerMetrics(ctx),
		a.subscribe(ctx),
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	g, err := acquireGateway()
	if err != nil {
		return err
	}
	a.gateway = g
	if err := g.claimEarly(a); err != nil {
		return err
	}
	if err := errors.Join(a.acquireReporter(), a.acquireProvider()); err != nil {
		return err
	}
	a.pools = make(map[string]*pool, len(a.Pools))
	for name := range a.Pools {
		if a.pools[name], err = acquirePool(name); err != nil {
			return err
		}
	}
	return nil
}

// replacePlaceholders fills in {env.*} and {file.*} wherever a secret, a name
// or a path may stand.
func (a *App) replacePlaceholders(repl *caddy.Replacer) error {
	var errs []error
	replace := func(place string, text *string) {
		if !hasPlaceholder(*text) {
			return
		}
		value, err := repl.ReplaceOrErr(*text, true, true)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: want a placeholder that has a value here: %w", place, *text, err))
			return
		}
		*text = strings.TrimSpace(value)
	}
	replace("state_dir", &a.StateDir)
	replace("cache disk", &a.Cache.DiskFolder)
	a.replaceInFleet(replace)
	a.replaceInSentry(replace)
	a.replaceInBackup(replace)
	a.replaceInControl(replace)
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		pool := a.Pools[name]
		for i := range pool.Discover {
			if pool.Discover[i].Name == "process" {
				replaceInProcess(pool.Discover[i], func(text *string) { replace("pool "+name+": discover process", text) })
				continue
			}
			for j := range pool.Discover[i].Args {
				replace("pool "+name+": discover", &pool.Discover[i].Args[j])
			}
		}
		replaceInDriver(pool.Autoscale.Driver, func(text *string) { replace("pool "+name+": autoscale driver", text) })
		for i := range pool.Policy.Options["key"] {
			replace("pool "+name+": policy key", &pool.Policy.Options["key"][i])
		}
	}
	for i := range a.CDNs {
		for j := range a.CDNs[i].Args {
			replace("cdn "+a.CDNs[i].Name, &a.CDNs[i].Args[j])
		}
	}
	if c := a.Cloudflare; c != nil {
		for i := range c.ZoneIDs {
			replace("cloudflare zone_id", &c.ZoneIDs[i])
		}
		replace("cloudflare api_token", &c.APIToken)
		replace("cloudflare api_url", &c.APIURL)
		replace("cloudflare plan", &c.Plan)
	}
	if a.StateDir == "" {
		a.StateDir = filepath.Join(caddy.AppDataDir(), "edge")
	}
	return errors.Join(errs...)
}

func (a *App) checkPools() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		errs = append(errs, each(a.Pools[name].Validate(), func(mistake error) error { return fmt.Errorf("pool %s: %w", name, mistake) }))
	}
	return errors.Join(errs...)
}

// pool finds a pool by the name that a site uses.
func (a *App) pool(name string) (*pool, error) {
	if pool, ok := a.pools[name]; ok {
		return pool, nil
	}
	if len(a.pools) == 0 {
		return nil, fmt.Errorf("unknown pool %q: the edge block has none: write pool %s { … } there", name, name)
	}
	return nil, fmt.Errorf("unknown pool %q: want one of %s", name, strings.Join(slices.Sorted(maps.Keys(a.pools)), ", "))
}

func (a *App) addRules(rules *cacherules.Ruleset) {
	a.rulesMu.Lock()
	defer a.rulesMu.Unlock()
	a.rules = append(a.rules, rules)
}

// trust adds a server's list of addresses that Cloudflare connects from.
func (a *App) trust(proxies *CloudflareProxies) {
	a.rulesMu.Lock()
	defer a.rulesMu.Unlock()
	a.proxies = append(a.proxies, proxies)
}

// controls reports whether a path leads to the control API.
func (a *App) controls(path string) bool {
	for _, prefix := range a.prefixes {
		if _, below := beneath(path, prefix); below {
			return true
		}
	}
	return false
}

// apply hands this configuration's settings to the process-wide state.
func (a *App) apply() error {
	var errs []error
	for name, pool := range a.pools {
		config, err := a.Pools[name].WithStickyKey(a.stickyKey)
		if err == nil {
			a.gateway.asides.begin(pool)
			err = pool.Configure(config)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pool %s: %w", name, err))
		}
	}
	a.gateway.configure(a)
	return errors.Join(errs...)
}

// Stop gives the state back to the configuration that this one replaced, if it
// was stopped because another app of it did not start. A configuration that
// was itself replaced has nothing to give back.
func (a *App) Stop() error {
	before := a.before
	a.before = nil
	if !live.CompareAndSwap(a, before) || before == nil {
		return nil
	}
	if before.gone.Load() {
		live.CompareAndSwap(before, nil)
		return nil
	}
	return before.apply()
}

// Cleanup lets go of the process-wide state; the last one to do so ends it.
// Caddy does not stop a configuration that fails after its apps have started,
// but cleans it up, so this gives the state back as Stop does.
func (a *App) Cleanup() error {
	errs := []error{a.Stop()}
	if a.watch != nil {
		a.watch.Close()
	}
	a.gone.Store(true)
	if a.started != nil {
		a.startOnce.Do(func() { close(a.started) })
	}
	for name := range a.pools {
		errs = append(errs, releasePool(name))
	}
	if a.gateway != nil {
		errs = append(errs, releaseGateway())
	}
	errs = append(errs, a.releaseReporter(), a.releaseProvider())
	return errors.Join(errs...)
}

// awaitStart waits until the configuration has started. Caddy starts apps in
// no certain order, so a listener may open a moment before its pools do.
func (a *App) awaitStart(ctx context.Context) error {
	select {
	case <-a.started:
		return nil
	default:
	}
	select {
	case <-a.started:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
