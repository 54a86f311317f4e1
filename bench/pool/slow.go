package main

import (
	"context"
	"fmt"
	"time"
)

// ordinary is an application with plenty of room for what it is asked here.
var ordinary = manners{Mean: 20 * time.Millisecond, Workers: 8}

// slow makes one of ten replicas twenty times slower, and well again.
func slow(ctx context.Context, s *stand) ([]row, error) {
	const rate, settling = 800, 3 * time.Second
	asked := func(criterion, does, bound string) row {
		return row{Criterion: criterion, Does: does, Bound: bound, Virtual: "TestLeastTimeInSimulation", Numbers: make(map[string]string)}
	}
	tail := asked("one of ten replicas twenty times slower: the tail",
		"800 requests a second, 20 ms each on the average; p99 of nine that are well, then of these and one that is slow",
		"p99 ≤ 1.2 × of the healthy nine")
	part := asked("one of ten replicas twenty times slower: its share", "the same; the answers that came from it", "< 1.5 %")
	healed := asked("a replica that was slow is well again", "the same; its share from 12 s to 15 s after it", "≥ 5 %, half of its part")
	for _, c := range contestants {
		if err := s.staff(ctx, 10, ordinary); err != nil {
			return nil, err
		}
		var well time.Duration
		err := s.serve(ctx, c, wish{replicas: addresses(s.replicas[:9])}, func(url string) error {
			all, err := load{url: url, rate: rate, duration: settling + 8*time.Second}.run(ctx)
			well = all.from(settling).quantile(0.99)
			return err
		})
		if err != nil {
			return nil, err
		}
		err = s.serve(ctx, c, wish{}, func(url string) error {
			late := ordinary
			late.Slowness = 20
			if err := s.tell(ctx, late, s.replicas[3]); err != nil {
				return err
			}
			all, err := load{url: url, rate: rate, duration: settling + 10*time.Second}.run(ctx)
			if err != nil {
				return err
			}
			all = all.from(settling)
			p99, share := all.quantile(0.99), all.share(s.replicas[3].name)
			times := float64(p99) / float64(well)
			tail.Numbers[c.name] = fmt.Sprintf("%.2f × (%d ms, %d ms)", times, p99.Milliseconds(), well.Milliseconds())
			part.Numbers[c.name] = percent(share)
			if c.name != edge.name {
				return nil
			}
			tail.Held, part.Held = times <= 1.2 && all.bad() == 0, share < 0.015
			if err := s.tell(ctx, ordinary, s.replicas[3]); err != nil {
				return err
			}
			all, err = load{url: url, rate: rate, duration: 15 * time.Second}.run(ctx)
			share = all.from(12 * time.Second).share(s.replicas[3].name)
			healed.Numbers[c.name], healed.Held = percent(share), share >= 0.05
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return []row{tail, part, healed}, nil
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
