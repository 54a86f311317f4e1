// Package measure takes the numbers: load from wrk, CPU time from /proc, and
// what is made of several samples.
package measure

import (
	"slices"
	"time"
)

// Metric is one number of a sample, and how a table shows it.
type Metric struct {
	// Name heads the column, with the unit.
	Name string
	// Digits after the decimal point.
	Digits int
	// Spread shows the smallest and the largest value beside the median.
	Spread bool
	// Ratios adds a column for each peer that others are compared with.
	Ratios bool
}

// Sample holds the numbers of one visit to one peer.
type Sample map[*Metric]float64

// The metrics that any workload may use; one that needs others declares its
// own beside them.
var (
	RequestsPerSecond = &Metric{Name: "req/s", Spread: true, Ratios: true}
	P50               = &Metric{Name: "p50 ms", Digits: 2}
	P99               = &Metric{Name: "p99 ms", Digits: 2, Spread: true}
	CPUPerRequest     = &Metric{Name: "server CPU µs/request", Digits: 1, Spread: true, Ratios: true}
	ServerCores       = &Metric{Name: "cores: server", Digits: 2}
	ClientCores       = &Metric{Name: "client", Digits: 2}
	OriginCores       = &Metric{Name: "origin", Digits: 2}
	OtherCores        = &Metric{Name: "others", Digits: 2, Spread: true}
)

// Summary is what several samples say about one metric.
type Summary struct {
	Median, Min, Max float64
}

// Summarise sums up one metric. It reports false when no sample has it.
func Summarise(samples []Sample, metric *Metric) (Summary, bool) {
	var values []float64
	for _, s := range samples {
		if v, ok := s[metric]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return Summary{}, false
	}
	slices.Sort(values)
	return Summary{Median: median(values), Min: values[0], Max: values[len(values)-1]}, true
}

// median of sorted values; of an even number of them, the mean of the middle
// two.
func median(sorted []float64) float64 {
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Quantile of sorted times; 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
