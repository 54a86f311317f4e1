package caddymodule

import "github.com/prometheus/client_golang/prometheus"

// sharedMetrics reads the shared cache when a scrape asks.
type sharedMetrics struct{}

var (
	sharedHits    = describe("edge_cache_shared_hits_total", "Answers that came from the cache that the fleet has in common.")
	sharedMisses  = describe("edge_cache_shared_misses_total", "Looks there that found nothing, or took too long.")
	sharedDead    = describe("edge_cache_shared_dead_total", "Answers found there that a purge, another version or an unsafe request forbids to use.")
	sharedPuts    = describe("edge_cache_shared_writes_total", "Answers that were put there.")
	sharedRefused = describe("edge_cache_shared_refused_total", "Answers that were not, since this node has its size there already.")
	sharedFailed  = describe("edge_cache_shared_errors_total", "Looks and writes that failed or took too long.")
	sharedSkipped = describe("edge_cache_shared_skipped_total", "Looks and writes that were not tried, since Redis is given a rest or too many were under way.")
	sharedBytes   = describe("edge_cache_shared_bytes", "What this node has there now, at most.")
	sharedResting = describe("edge_cache_shared_resting", "1 while Redis is left alone, after failures.")
)

// Describe names every metric.
func (sharedMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sharedHits, sharedMisses, sharedDead, sharedPuts, sharedRefused, sharedFailed, sharedSkipped, sharedBytes, sharedResting} {
		to <- d
	}
}

// Collect reads them.
func (sharedMetrics) Collect(to chan<- prometheus.Metric) {
	a := live.Load()
	if a == nil || a.gateway.sharedCache == nil {
		return
	}
	s, used := a.gateway.sharedCache.Stats(), a.gateway.store.SharedStats()
	if used == nil {
		return
	}
	for _, one := range []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value float64
	}{
		{sharedHits, prometheus.CounterValue, float64(used.Hits)}, {sharedMisses, prometheus.CounterValue, float64(used.Misses)},
		{sharedDead, prometheus.CounterValue, float64(used.Dead)}, {sharedPuts, prometheus.CounterValue, float64(s.Puts)},
		{sharedRefused, prometheus.CounterValue, float64(s.Refused)}, {sharedFailed, prometheus.CounterValue, float64(s.Failed)},
		{sharedSkipped, prometheus.CounterValue, float64(s.Skipped)}, {sharedBytes, prometheus.GaugeValue, float64(s.Bytes)},
		{sharedResting, prometheus.GaugeValue, oneIf(s.Resting)},
	} {
		to <- prometheus.MustNewConstMetric(one.desc, one.kind, one.value)
	}
}
