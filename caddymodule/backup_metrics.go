package caddymodule

import "github.com/prometheus/client_golang/prometheus"

var backupsDone = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "edge_backups_total",
	Help: "Backups by what became of them: done, failed.",
}, []string{"result"})

func init() {
	backupsDone.WithLabelValues("done")
	backupsDone.WithLabelValues("failed")
}

var (
	backupTime     = describe("edge_backup_last_success_timestamp_seconds", "When the newest backup began, in seconds since 1970; 0 before the first.")
	backupSize     = describe("edge_backup_last_size_bytes", "How large the newest backup is.")
	backupDuration = describe("edge_backup_last_duration_seconds", "How long the newest backup took, with reading back and trying; 0 if an earlier process made it.")
	backupInterval = describe("edge_backup_interval_seconds", "The time between two backups, as configured.")
)

// backupGauges tell of the backups of a configuration that has them.
type backupGauges struct{}

// Describe names them.
func (backupGauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backupTime, backupSize, backupDuration, backupInterval} {
		to <- d
	}
}

// Collect reads them.
func (backupGauges) Collect(to chan<- prometheus.Metric) {
	a := live.Load()
	if a == nil || a.vault == nil {
		return
	}
	s := a.gateway.backups.Status()
	began := 0.0
	if !s.Last.Created.IsZero() {
		began = float64(s.Last.Created.UnixMilli()) / 1000
	}
	for d, value := range map[*prometheus.Desc]float64{
		backupTime: began, backupSize: float64(s.Last.Size), backupDuration: s.Took.Seconds(), backupInterval: s.Every.Seconds(),
	} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
}
