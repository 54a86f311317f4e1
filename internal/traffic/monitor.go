// Package traffic keeps what people ask of a gateway at first sight: what
// visitors cost of late, and how the last hour went. It is bounded, whatever
// they ask for: two lists of requests that cost most, and a ring of counts.
package traffic

import (
	"context"
	"sync"
	"time"
)

const (
	// places bound how many requests a list counts at a time.
	places = 512
	// shown is how many of them are told.
	shown = 20
	// faintMiss and faintCost, in seconds, are what is not told any more: a miss
	// of an hour ago, a request that cost next to nothing.
	faintMiss = 0.02
	faintCost = 0.00005
	// HalfLife is the time after which what happened counts half.
	HalfLife = 10 * time.Minute
	// Every is the time between two looks; kept is how many are remembered: an
	// hour's.
	Every = 5 * time.Second
	kept  = int(time.Hour / Every)
)

// Monitor is safe for concurrent use. It outlives configurations.
type Monitor struct {
	mu sync.Mutex

	misses  *top
	cost    *top
	history history
}

// New is a monitor that has seen nothing.
func New() *Monitor {
	return &Monitor{misses: newTop(places, HalfLife, faintMiss), cost: newTop(places, HalfLife, faintCost), history: history{most: kept}}
}

// Missed counts a request for which the cache had nothing, although a rule would
// let it.
func (m *Monitor) Missed(now time.Time, request Request, note Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.misses.add(now, request, 1, note)
}

// Asked counts the time that a pool took until the header of an answer was there.
func (m *Monitor) Asked(now time.Time, request Request, took time.Duration, note Note) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cost.add(now, request, took.Seconds(), note)
}

// Look takes the counts as they are now.
func (m *Monitor) Look(now time.Time, t Totals) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history.add(now, t)
}

// Run looks at once, and then at intervals, until ctx is done.
func (m *Monitor) Run(ctx context.Context, read func() Totals) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		m.Look(time.Now(), read())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Lately is what happened after a time, as far as it is remembered.
func (m *Monitor) Lately(after time.Time) []Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.history.after(after)
}

// Report is what GET traffic answers.
type Report struct {
	// HalfLife of the two lists, in seconds.
	HalfLife float64 `json:"half_life_seconds"`
	// Misses are the requests that missed most: Sum counts them.
	Misses []Row `json:"misses"`
	// Cost are those for which replicas worked longest: Sum is in seconds.
	Cost []Row `json:"cost"`
	// Points are the intervals after the time asked for, oldest first.
	Points []Point `json:"points"`
}

// Report tells all, and of the intervals those after a time.
func (m *Monitor) Report(now, after time.Time) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Report{
		HalfLife: HalfLife.Seconds(), Misses: m.misses.list(now, shown), Cost: m.cost.list(now, shown),
		Points: m.history.after(after),
	}
}
