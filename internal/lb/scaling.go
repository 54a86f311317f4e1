package lb

import (
	"context"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/autoscale"
)

// measureEvery is how often the requests at replicas are counted for the
// autoscaler. Counting reads a few atomics; requests do nothing for it.
const measureEvery = 250 * time.Millisecond

// scaling is how many replicas there should be.
type scaling struct {
	mu   sync.Mutex
	past autoscale.Past
	last autoscale.Decision
}

// ScalingStatus is how many replicas there should be, and what speaks for it.
type ScalingStatus struct {
	autoscale.Decision
	Min    int           `json:"min"`
	Max    int           `json:"max"`
	Target float64       `json:"target"`           // requests at a time for one replica
	Driver *DriverStatus `json:"driver,omitempty"` // who makes it so
}

// measure decides several times a second how many replicas there should be.
func (p *Pool) measure(ctx context.Context) {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	for {
		p.decide()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pool) decide() {
	p.mu.Lock()
	scale, load := p.settings.scale, p.loadLocked()
	p.mu.Unlock()
	p.scaling.mu.Lock()
	defer p.scaling.mu.Unlock()
	p.scaling.past, p.scaling.last = autoscale.Decide(scale, p.scaling.past, time.Duration(p.now()), load)
}

// loadLocked is what there is to do at this moment, at replicas that drain too.
// WebSockets and event streams do not count, as they do not for max_inflight.
func (p *Pool) loadLocked() autoscale.Load {
	load := autoscale.Load{
		Queued:  p.queue.waiting.Load(),
		Doubted: p.inDoubt(),
	}
	for _, r := range p.members {
		load.InFlight += r.inflight.Load()
		state := r.is()
		if !state.leaving() && !r.own() {
			load.Running++ // A pool that runs them itself began with none.
		}
		if state == up && !r.record.Load().ejection.on() {
			load.Up++
		}
	}
	return load
}

func (p *Pool) scalingStatusLocked() ScalingStatus {
	p.scaling.mu.Lock()
	defer p.scaling.mu.Unlock()
	s := p.settings.scale
	return ScalingStatus{Decision: p.scaling.last, Min: s.Min, Max: s.Max, Target: s.Target, Driver: p.steering.shown()}
}
