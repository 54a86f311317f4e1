package workloads

import (
	"context"
	"fmt"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/object"
)

// connections of the closed loop: enough to keep one core busy, few enough for
// the latency to mean something.
const connections = 64

// closedLoopMetrics are what a closed loop measures. Among hits the origin has
// nothing to do, so its column is for pass-through alone.
func closedLoopMetrics(kind Kind) []*measure.Metric {
	metrics := []*measure.Metric{
		measure.RequestsPerSecond, measure.P50, measure.P99, measure.CPUPerRequest,
		measure.ServerCores, measure.ClientCores,
	}
	if kind.ReachesOrigin() || kind == Mixed {
		metrics = append(metrics, measure.OriginCores)
	}
	return append(metrics, measure.OtherCores)
}

// closedLoop asks for one object over kept-alive connections: a warm-up, then
// the measured part.
type closedLoop struct {
	kind   Kind
	size   int    // of the smallest body
	script string // what is asked for, if not that one object

	// Over HTTP/2 and HTTP/3: requests at once on each of so many connections.
	streams, connections int
}

// load is something that makes requests for a while.
type load interface {
	Run(context.Context) (measure.LoadResult, error)
}

func (l closedLoop) load(s Stand, seconds int) load {
	url := s.URL + object.Path(l.size)
	if l.kind == QuicHit {
		return measure.H3load{Program: s.H3load, URL: url, Connections: l.connections, Streams: l.streams, Seconds: seconds, CPU: s.ClientCPU}
	}
	if l.streams > 0 {
		return measure.H2load{URL: url, Connections: l.connections, Streams: l.streams, Seconds: seconds, CPU: s.ClientCPU}
	}
	return measure.Wrk{URL: url, Connections: connections, Seconds: seconds, CPU: s.ClientCPU, Script: l.script}
}

func (l closedLoop) measure(ctx context.Context, s Stand) (measure.Sample, error) {
	if s.Warmup > 0 {
		if _, err := l.load(s, s.Warmup).Run(ctx); err != nil {
			return nil, fmt.Errorf("warm up: %w", err)
		}
	}

	fetchesBefore, err := s.Fetches(ctx)
	if err != nil {
		return nil, err
	}
	before, err := s.Meter.Read()
	if err != nil {
		return nil, err
	}
	result, err := l.load(s, s.Seconds).Run(ctx)
	if err != nil {
		return nil, err
	}
	after, err := s.Meter.Read()
	if err != nil {
		return nil, err
	}
	fetchesAfter, err := s.Fetches(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.check(result, fetchesAfter-fetchesBefore); err != nil {
		return nil, err
	}
	return l.sample(result, after.Since(before, result.CPU)), nil
}

// check says what was wrong with the answers, if anything.
func (l closedLoop) check(r measure.LoadResult, fetches int64) error {
	switch {
	case r.Errors > 0:
		return fmt.Errorf("%d of %d requests failed", r.Errors, r.Requests)
	case r.Requests == 0:
		return fmt.Errorf("no request was answered in %v", r.Elapsed)
	// Bytes are rounded to two decimals of a unit, so by at most half a percent.
	case r.Bytes < 0.99*float64(r.Requests)*float64(l.size):
		return fmt.Errorf("%d answers had %.0f bytes in all: want bodies of %d", r.Requests, r.Bytes, l.size)
	case l.kind == Mixed:
		if share := float64(fetches) / float64(r.Requests); share < 0.9*missing || share > 1.5*missing {
			return fmt.Errorf("the origin was asked %d times for %d requests: want a share of %v", fetches, r.Requests, missing)
		}
	case !l.kind.ReachesOrigin() && fetches != 0:
		return fmt.Errorf("the origin was asked %d times: want none, since all should be hits", fetches)
	case l.kind.ReachesOrigin() && fetches < r.Requests:
		return fmt.Errorf("the origin was asked %d times for %d requests: want one for each", fetches, r.Requests)
	}
	return nil
}

func (l closedLoop) sample(r measure.LoadResult, u measure.Usage) measure.Sample {
	return measure.Sample{
		measure.RequestsPerSecond: float64(r.Requests) / r.Elapsed.Seconds(),
		measure.P50:               r.P50.Seconds() * 1e3,
		measure.P99:               r.P99.Seconds() * 1e3,
		measure.CPUPerRequest:     u.Server.Seconds() * 1e6 / float64(r.Requests),
		measure.ServerCores:       u.Cores(u.Server),
		measure.ClientCores:       u.Cores(u.Client),
		measure.OriginCores:       u.Cores(u.Origin),
		measure.OtherCores:        u.Cores(u.Others),
	}
}
