package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/edgegw/edge/bench/measure"
)

// steady asks at a constant rate that leaves every gateway most of its time, of
// replicas that answer at once: what is seen is what a gateway adds.
func steady(ctx context.Context, s *stand) ([]row, error) {
	const rate, settling, rounds = 1000, 2 * time.Second, 5
	if err := s.staff(ctx, 3, manners{Workers: 64}); err != nil {
		return nil, err
	}
	type seen struct{ p50, p99 []time.Duration }
	took := make(map[string]*seen)
	bad := 0
	for _, c := range contestants {
		took[c.name] = new(seen)
	}
	for range rounds {
		for _, c := range contestants {
			err := s.serve(ctx, c, wish{replicas: addresses(s.replicas[:3])}, func(url string) error {
				all, err := load{url: url, rate: rate, duration: settling + 5*time.Second}.run(ctx)
				if err != nil {
					return err
				}
				all = all.from(settling)
				of := took[c.name]
				of.p50, of.p99 = append(of.p50, all.quantile(0.5)), append(of.p99, all.quantile(0.99))
				if c.name == edge.name {
					bad += all.bad()
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	r := row{
		Criterion: "what a gateway adds, at a constant rate",
		Does:      "three replicas that answer at once, 1000 requests a second, five rounds of 5 s in which the gateways take turns; medians of the rounds' p50 and p99",
		Bound:     "p99 ≤ 1.5 × HAProxy's; no error", Virtual: "none: it is processor time", Numbers: make(map[string]string),
	}
	middle := func(of []time.Duration) time.Duration { slices.Sort(of); return measure.Quantile(of, 0.5) }
	bound := middle(took[haproxy.name].p99) * 3 / 2
	for _, c := range contestants {
		p50, p99 := middle(took[c.name].p50), middle(took[c.name].p99)
		r.Numbers[c.name] = fmt.Sprintf("p50 %s, p99 %s ms", milliseconds(p50), milliseconds(p99))
		if c.name == edge.name {
			r.Held = p99 <= bound && bad == 0
		}
	}
	return []row{r}, nil
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }
