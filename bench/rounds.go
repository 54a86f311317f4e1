package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/workloads"
)

const (
	// noisyCores is how many cores others may use during a sample before it is
	// taken again.
	noisyCores = 0.2
	// tries of a noisy sample, the first one included.
	tries = 3
)

// measure visits every row in turn, for each workload of each round. A round has
// processes of its own: one keeps for its life what it got of the machine's memory,
// and that makes as much as a fifth of its speed.
func (s *stand) measure(ctx context.Context) error {
	for round := range s.plan.rounds {
		if err := s.renew(); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		if err := s.verify(ctx); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
		for _, w := range s.plan.workloads {
			for _, r := range s.rowsOf(w) {
				sample, err := s.visit(ctx, w, r)
				if err != nil {
					return fmt.Errorf("%s, %s, round %d: %w", w.Name, r.name(), round+1, err)
				}
				r.samples[w.Name] = append(r.samples[w.Name], sample)
				log.Printf("round %d, %s, %s: %.0f req/s, %.1f µs CPU a request, others %.2f cores", round+1, w.Name, r.name(),
					sample[measure.RequestsPerSecond], sample[measure.CPUPerRequest], sample[measure.OtherCores])
			}
		}
	}
	return nil
}

// visit takes a sample, again if it was noisy, and keeps the cleanest.
func (s *stand) visit(ctx context.Context, w workloads.Workload, r *row) (measure.Sample, error) {
	at := workloads.Stand{
		URL:       r.url(),
		Warmup:    s.plan.warmup,
		Seconds:   s.plan.seconds,
		H3load:    s.binaries["h3load"],
		ClientCPU: s.plan.clientCPU,
		Meter:     measure.Meter{Proc: measure.Procfs{FS: os.DirFS("/proc")}, Server: r.server.PID(), Origin: s.origin.PID()},
		Fetches:   s.fetches,
	}
	return cleanest(func() (measure.Sample, error) { return w.Measure(ctx, at) })
}

// cleanest takes a sample until others have left the machine alone, or the
// tries are used up; then it is the one with the least noise. A sample that
// failed fails them all: that a peer answers wrong is no noise.
func cleanest(take func() (measure.Sample, error)) (measure.Sample, error) {
	var best measure.Sample
	for range tries {
		sample, err := take()
		if err != nil {
			return nil, err
		}
		if best == nil || sample[measure.OtherCores] < best[measure.OtherCores] {
			best = sample
		}
		if best[measure.OtherCores] <= noisyCores {
			break
		}
	}
	return best, nil
}
