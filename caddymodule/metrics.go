package caddymodule

import (
	"errors"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
)

// Counters live as long as the process; each configuration has a registry of
// its own, in which they are registered again. Labels come from the
// configuration, from fixed lists, or from replicas, never from visitors.
var (
	cacheRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_cache_requests_total",
		Help: "Requests that edge_cache answered, by rule and by what it did: hit, stale, revalidated, miss, bypass, unavailable, error.",
	}, []string{"rule", "status"})
	cacheNotStored = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_cache_not_stored_total",
		Help: "Misses whose answer was not stored although the rule let it, by rule and reason.",
	}, []string{"rule", "reason"})
	cacheEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_cache_events_total",
		Help: "What happened in the cache, by kind: stored, evicted, fenced, fill-failed, refresh-failed, fault.",
	}, []string{"event"})
	proxyRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_proxy_requests_total",
		Help: "Requests that went to a pool, by the number of replicas asked: 0 when the pool refused it.",
	}, []string{"pool", "attempts"})
	poolEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_pool_events_total",
		Help: "Changes in a pool, by kind, such as replica_joined, replica_sick, breaker_opened.",
	}, []string{"pool", "event"})
	purgesDone = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_purges_total",
		Help: "Finished purges by their final state: done, partial, failed, canceled.",
	}, []string{"state"})
	deploysDone = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_deploys_total",
		Help: "Finished deploys by their final state: done, partial, failed, refused, canceled, abandoned.",
	}, []string{"pool", "state"})
	purgeSteps = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "edge_purge_step_seconds",
		Help:    "How long the steps of purges took.",
		Buckets: []float64{.001, .01, .1, .5, 1, 5, 10, 30, 60, 300, 1800},
	}, []string{"step"})
	purgeRetries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_purge_retries_total",
		Help: "Attempts at a target that failed and were repeated.",
	}, []string{"target"})
	diskEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_cache_disk_events_total",
		Help: "Faults of the cache's disk by kind: torn, corrupt, write-failed, read-failed, not-opened, not-used; and recovered.",
	}, []string{"event"})
	fleetEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_fleet_events_total",
		Help: "What happened to this node's membership by kind: joined, cut_off, trusted, removed, evicted, lost, overtaken, fault, recovered.",
	}, []string{"event"})
	cloudflareRangesFailed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "edge_cloudflare_ranges_failures_total",
		Help: "Attempts to learn which addresses Cloudflare connects from that failed.",
	})
	controlEvents = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_control_events_total",
		Help: "Calls of the control API by kind; denied and refused are calls without a right token.",
	}, []string{"event"})
)

// A counter that begins with its first event never rises, as Prometheus sees it:
// increase() of a series that was not there before is 0. Those that alerts look
// at are there from the start.
func init() {
	for _, state := range []purge.State{purge.Done, purge.Partial, purge.Failed, purge.Canceled} {
		purgesDone.WithLabelValues(string(state))
	}
	cacheEvents.WithLabelValues(string(httpcache.EventFault))
}

// expect does likewise for a configuration's targets and pools, and for steps of
// ours, which have no target.
func expect(targets []purge.Target, pools map[string]*pool) {
	purgeRetries.WithLabelValues("")
	for _, target := range targets {
		purgeRetries.WithLabelValues(target.Name())
	}
	for name := range pools {
		for _, stage := range []deploy.Stage{deploy.Done, deploy.Partial, deploy.Failed, deploy.Refused} {
			deploysDone.WithLabelValues(name, string(stage))
		}
	}
}

// collectors are all that edge measures.
func collectors() []prometheus.Collector {
	return []prometheus.Collector{
		cacheRequests, cacheNotStored, cacheEvents, proxyRequests, poolEvents, purgesDone, deploysDone, purgeSteps, purgeRetries, diskEvents, fleetEvents, cloudflareRangesFailed, controlEvents, &visits, visitSeconds, backupsDone, lockRefused, limitRefused, errorsCaptured, errorsDropped, recordsDropped, gauges{}, fleetGauges{}, sharedMetrics{}, backupGauges{},
	}
}

// registerMetrics puts the counters, and the gauges that are read when
// scraped, into the configuration's registry.
func registerMetrics(ctx caddy.Context) error {
	registry := ctx.GetMetricsRegistry()
	if registry == nil {
		return nil
	}
	var errs []error
	for _, c := range collectors() {
		var already prometheus.AlreadyRegisteredError
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// observe counts what became of a request. The counters of hits are looked up
// once for each verdict, not by their labels for each hit.
func (c *Cache) observe(v *cacherules.Verdict, r httpcache.Result) {
	if r.Status == httpcache.StatusHit {
		hits, ok := c.hits.Load(v)
		if !ok {
			hits, _ = c.hits.LoadOrStore(v, cacheRequests.WithLabelValues(v.Rule, string(r.Status)))
		}
		hits.(prometheus.Counter).Inc()
		return
	}
	cacheRequests.WithLabelValues(v.Rule, string(r.Status)).Inc()
	if r.Status == httpcache.StatusMiss && !r.Stored && r.Reason != "" {
		cacheNotStored.WithLabelValues(v.Rule, string(r.Reason)).Inc()
	}
}

func observeProxied(pool string, ex *exchange) {
	proxyRequests.WithLabelValues(pool, strconv.Itoa(ex.trace.Attempts)).Inc()
}

// gauges reads the live gateway when a scrape asks.
type gauges struct{}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	cacheEntries    = describe("edge_cache_entries", "Stored responses.")
	cacheBytes      = describe("edge_cache_bytes", "Bytes that stored responses take, with everything that they cost.")
	cacheMaxBytes   = describe("edge_cache_max_bytes", "The cap on edge_cache_bytes.")
	cacheYielded    = describe("edge_cache_yielded_bytes", "The part of edge_cache_max_bytes that is given up, for the process to fit.")
	cacheStores     = describe("edge_cache_stores_total", "Responses that were stored.")
	cacheEvictions  = describe("edge_cache_evictions_total", "Stored responses that made room for others.")
	encodedBytes    = describe("edge_cache_encoded_bytes", "The part of edge_cache_bytes that bodies in other codings take.")
	encodings       = describe("edge_cache_encodings_total", "Bodies that were encoded, by what became of it: done, useless (it saved too little), failed.", "result")
	cacheFenced     = describe("edge_cache_fenced_total", "Responses not stored or served because they began before a purge.")
	diskServing     = describe("edge_cache_disk_serving", "1 while responses are read from and written to disk.")
	diskEntries     = describe("edge_cache_disk_entries", "Responses on disk.")
	diskBytes       = describe("edge_cache_disk_bytes", "Bytes that files with responses take on disk.")
	diskMaxBytes    = describe("edge_cache_disk_max_bytes", "The cap on edge_cache_disk_bytes.")
	diskIndexBytes  = describe("edge_cache_disk_index_bytes", "Bytes of memory, part of edge_cache_bytes, that say what is where on disk.")
	diskHits        = describe("edge_cache_disk_hits_total", "Responses that were read from disk into memory.")
	diskWrites      = describe("edge_cache_disk_writes_total", "Responses that were written to disk.")
	diskDropped     = describe("edge_cache_disk_dropped_total", "Responses that were not written: too many at once, too large, or a failing disk.")
	diskErrors      = describe("edge_cache_disk_errors_total", "Reads and writes that failed, took too long, or gave something else than was written.")
	vaultEntries    = describe("edge_cache_vault_entries", "Assets that memory has evicted and the vault keeps.")
	vaultBytes      = describe("edge_cache_vault_bytes", "The part of edge_cache_bytes that the vault takes.")
	vaultMaxBytes   = describe("edge_cache_vault_max_bytes", "The cap on edge_cache_vault_bytes.")
	vaultVersions   = describe("edge_cache_vault_versions", "Versions of the application whose assets the vault keeps.")
	vaultHits       = describe("edge_cache_vault_hits_total", "Assets that went back from the vault into memory, because somebody asked.")
	vaultLosses     = describe("edge_cache_vault_losses_total", "Assets that the vault gave up for newer ones, or for want of room.")
	generation      = describe("edge_generation", "The counter that each purge raises.")
	poolReplicas    = describe("edge_pool_replicas", "Replicas by state: joining, up, sick, draining, drained.", "pool", "state")
	poolInFlight    = describe("edge_pool_in_flight", "Requests at the pool's replicas.", "pool")
	poolQueued      = describe("edge_pool_queued", "Requests that wait for a replica.", "pool")
	poolDesired     = describe("edge_pool_desired_replicas", "Replicas that there should be; 0 when there is nothing to reckon with.", "pool")
	poolConcurrency = describe("edge_pool_concurrency", "Requests at replicas and waiting, averaged over the autoscaler's window.", "pool")
	poolTarget      = describe("edge_pool_target_concurrency", "Requests at a time that one replica should have.", "pool")
	poolUtilisation = describe("edge_pool_utilisation", "edge_pool_concurrency as a share of what the replicas that are up should have.", "pool")
	poolTold        = describe("edge_pool_driver_replicas", "Replicas that the autoscaler's driver was told to run; 0 before the first order.", "pool", "driver")
	deployHeld      = describe("edge_deploy_held", "1 while the guard keeps a version from becoming current: it is worse than the one before.", "pool")
	poolUntold      = describe("edge_pool_driver_failures", "Orders to the autoscaler's driver that failed in a row.", "pool", "driver")
	poolPanic       = describe("edge_pool_panic", "1 while most replicas look sick and health is ignored.", "pool")
	poolRetries     = describe("edge_pool_retries_total", "Requests sent again to another replica.", "pool")
	poolHedges      = describe("edge_pool_hedges_total", "Requests sent to a second replica besides.", "pool")
	poolHedgesWon   = describe("edge_pool_hedges_won_total", "Requests that the second replica answered first.", "pool")
	poolRescued     = describe("edge_pool_rescued_total", "Requests for fingerprinted assets that a replica of another version answered, since the first did not have them.", "pool")
	cacheSent       = describe("edge_cache_sent_bytes_total", "Bytes of bodies that went out of the cache.")
	poolReceived    = describe("edge_pool_received_bytes_total", "Bytes of bodies that came from replicas.", "pool")
	poolRefused     = describe("edge_pool_refused_total", "Requests that the pool answered 503 itself.", "pool")
	replicaInFlight = describe("edge_replica_in_flight", "Requests at a replica.", "pool", "replica", "version")
	replicaLimit    = describe("edge_replica_limit", "Requests that a replica may have at a time now; 0: any number.", "pool", "replica", "version")
	replicaLatency  = describe("edge_replica_latency_seconds", "Moving average of the time to the response header.", "pool", "replica", "version")
	replicaEjected  = describe("edge_replica_ejected", "1 while a replica is set aside because it is worse than its peers.", "pool", "replica", "version")
	replicaEjects   = describe("edge_replica_ejections_total", "Ejections of the process at an address.", "pool", "replica", "version")
	replicaRequests = describe("edge_replica_requests_total", "Requests that were sent to the process at an address.", "pool", "replica", "version")
	replicaFailures = describe("edge_replica_failures_total", "Requests that failed at the process at an address: no connection, reset, time-out, cut body, 5xx.", "pool", "replica", "version")
	replicaBreaker  = describe("edge_replica_breaker", "0 closed, 1 half-open, 2 open.", "pool", "replica", "version")
	certificateLeft = describe("edge_certificate_remaining_ratio", "The share of its lifetime that the certificate of a site's host has left.", "host")
	certificateEnd  = describe("edge_certificate_expiry_timestamp_seconds", "When the certificate of a site's host ends, in seconds since 1970.", "host")
	purgesPending   = describe("edge_purges_pending", "Purges that are not finished.")
)

// Describe names every gauge.
func (gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		cacheEntries, cacheBytes, cacheMaxBytes, cacheYielded, cacheStores, cacheEvictions, cacheFenced, cacheSent, encodedBytes, encodings, generation,
		diskServing, diskEntries, diskBytes, diskMaxBytes, diskIndexBytes, diskHits, diskWrites, diskDropped, diskErrors,
		vaultEntries, vaultBytes, vaultMaxBytes, vaultVersions, vaultHits, vaultLosses,
		deployHeld, poolReplicas, poolInFlight, poolQueued, poolDesired, poolConcurrency, poolTarget, poolUtilisation, poolTold, poolUntold, poolPanic, poolRetries, poolHedges, poolHedgesWon, poolRescued, poolRefused, poolReceived,
		replicaInFlight, replicaLimit, replicaLatency, replicaBreaker, replicaEjected, replicaEjects, replicaRequests, replicaFailures, purgesPending, certificateEnd, certificateLeft,
	} {
		to <- d
	}
}

// Collect reads them.
func (gauges) Collect(to chan<- prometheus.Metric) {
	a := live.Load()
	if a == nil {
		return
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	s := a.gateway.store.Stats()
	gauge(cacheEntries, float64(s.Entries))
	gauge(cacheBytes, float64(s.Bytes))
	gauge(cacheMaxBytes, float64(s.MaxBytes))
	gauge(cacheYielded, float64(s.Yielded))
	counter(cacheStores, float64(s.Stores))
	counter(cacheEvictions, float64(s.Evictions))
	counter(cacheFenced, float64(s.Fenced))
	counter(cacheSent, float64(s.SentBytes))
	gauge(encodedBytes, float64(s.EncodedBytes))
	counter(encodings, float64(s.Encoded), "done")
	counter(encodings, float64(s.UselessEncodings), "useless")
	counter(encodings, float64(s.FailedEncodings), "failed")
	if d := s.Disk; d != nil {
		gauge(diskServing, oneIf(d.Serving && !d.Failing))
		gauge(diskEntries, float64(d.Blobs))
		gauge(diskBytes, float64(d.Bytes))
		gauge(diskMaxBytes, float64(d.MaxBytes))
		gauge(diskIndexBytes, float64(d.IndexBytes))
		counter(diskHits, float64(d.Hits))
		counter(diskWrites, float64(d.Writes))
		counter(diskDropped, float64(d.Dropped))
		counter(diskErrors, float64(d.Errors+d.Timeouts+d.Corrupt))
	}
	if v := s.Vault; v != nil {
		gauge(vaultEntries, float64(v.Entries))
		gauge(vaultBytes, float64(v.Bytes))
		gauge(vaultMaxBytes, float64(v.MaxBytes))
		gauge(vaultVersions, float64(v.Versions))
		counter(vaultHits, float64(v.Hits))
		counter(vaultLosses, float64(v.Losses))
	}
	gauge(generation, float64(a.gateway.store.Generation()))
	if c := a.gateway.coordinator(); c != nil {
		gauge(purgesPending, float64(c.Health().Pending))
	}
	for name, p := range a.pools {
		gauge(deployHeld, oneIf(a.gateway.deploys().Held(name) != ""), name)
		collectPool(p, gauge, counter)
	}
	now := time.Now()
	for host, c := range certificatesOf(a.hosts) {
		gauge(certificateEnd, float64(c.NotAfter.Unix()), host)
		gauge(certificateLeft, remaining(c, now), host)
	}
}

// oneIf is how a gauge says yes: 1, or 0 for no.
func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func collectPool(p *pool, gauge, counter func(*prometheus.Desc, float64, ...string)) {
	s := p.Status()
	gauge(poolInFlight, float64(s.InFlight), s.Name)
	gauge(poolQueued, float64(s.Queued), s.Name)
	gauge(poolDesired, float64(s.Desired), s.Name)
	gauge(poolConcurrency, s.Scaling.Concurrency, s.Name)
	gauge(poolTarget, s.Scaling.Target, s.Name)
	gauge(poolUtilisation, s.Scaling.Utilisation, s.Name)
	if d := s.Scaling.Driver; d != nil {
		gauge(poolTold, float64(d.Told), s.Name, d.Driver)
		gauge(poolUntold, float64(d.Failures), s.Name, d.Driver)
	}
	gauge(poolPanic, oneIf(s.Panic), s.Name)
	counter(poolRetries, float64(s.Retries), s.Name)
	counter(poolHedges, float64(s.Hedges), s.Name)
	counter(poolHedgesWon, float64(s.Won), s.Name)
	counter(poolRescued, float64(s.Rescued), s.Name)
	counter(poolRefused, float64(s.Refused), s.Name)
	counter(poolReceived, float64(s.Received), s.Name)
	states := map[string]int{"joining": 0, "up": 0, "sick": 0, "draining": 0, "drained": 0}
	breakers := map[string]float64{"closed": 0, "half-open": 1, "open": 2}
	for _, r := range s.Replicas {
		states[r.State]++
		gauge(replicaInFlight, float64(r.InFlight), s.Name, r.Address, r.Version)
		gauge(replicaLimit, float64(r.Limit), s.Name, r.Address, r.Version)
		gauge(replicaLatency, r.EWMA/1000, s.Name, r.Address, r.Version)
		gauge(replicaBreaker, breakers[r.Breaker], s.Name, r.Address, r.Version)
		gauge(replicaEjected, oneIf(r.EjectedUntil != nil), s.Name, r.Address, r.Version)
		counter(replicaEjects, float64(r.Ejections), s.Name, r.Address, r.Version)
		counter(replicaRequests, float64(r.Requests), s.Name, r.Address, r.Version)
		counter(replicaFailures, float64(r.Failures), s.Name, r.Address, r.Version)
	}
	for state, n := range states {
		gauge(poolReplicas, float64(n), s.Name, state)
	}
}
