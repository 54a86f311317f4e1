package demo

import (
	"math"
	"time"
)

const (
	// Each bucket is 5 % wider than the one before, from 50 µs to a minute:
	// ln(60 s / 50 µs) / ln 1.05 = 287 of them, and one for what is slower.
	fastest = 50 * time.Microsecond
	growth  = 1.05
	buckets = 288
)

// histogram counts durations in buckets, so that a run of any length costs the
// same. The zero value is ready.
type histogram struct {
	counts [buckets]int
	total  int
}

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > fastest {
		i = int(math.Ceil(math.Log(float64(d)/float64(fastest)) / math.Log(growth)))
	}
	h.counts[min(i, buckets-1)]++
	h.total++
}

// quantile is a duration that the given share of all did not exceed, at most
// 5 % too high; 0 when there were none.
func (h *histogram) quantile(share float64) time.Duration {
	rank := int(math.Ceil(share * float64(h.total)))
	for i, seen := 0, 0; i < buckets; i++ {
		seen += h.counts[i]
		if seen > 0 && seen >= rank {
			return time.Duration(float64(fastest) * math.Pow(growth, float64(i)))
		}
	}
	return 0
}
