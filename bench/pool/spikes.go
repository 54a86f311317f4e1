package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// hedge has replicas answer late now and then, all alike, so that no choice among
// them helps. Peers do not hedge.
func hedge(ctx context.Context, s *stand) ([]row, error) {
	const hedging = "\t\t\thedge\n"
	spiky := ordinary
	spiky.Spikes, spiky.Spike = 0.02, time.Second
	var p99 [2]time.Duration
	var extra, posts float64
	for i, pool := range []string{"", hedging} {
		if err := s.staff(ctx, 10, ordinary); err != nil {
			return nil, err
		}
		err := s.serve(ctx, edge, wish{pool: pool, replicas: addresses(s.replicas[:3])}, func(url string) error {
			if err := s.tell(ctx, spiky, s.replicas[:3]...); err != nil {
				return err
			}
			var err error
			extra, p99[i], err = s.asked(ctx, load{url: url, rate: 150, duration: 12 * time.Second})
			if err != nil {
				return err
			}
			posts, _, err = s.asked(ctx, load{url: url, method: http.MethodPost, rate: 150, duration: 4 * time.Second})
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	busy, err := s.hedgesWhenFull(ctx, hedging)
	if err != nil {
		return nil, err
	}
	falls := 1 - float64(p99[1])/float64(p99[0])
	return []row{{
		Criterion: "hedging",
		Does:      "each of three replicas takes a second for one of fifty answers, 150 GET a second; then POST; then one and a half times the capacity, a fifth of it GET; p99 without and with hedging, and requests that replicas got besides",
		Bound:     "p99 falls by 40 %; ≤ 5 % besides; none of POST, none in overload", Virtual: "TestAHungReplicaIsLeftForAnother, and internal/lb/hedge_test.go",
		Numbers: map[string]string{edge.name: fmt.Sprintf("%s (%d ms, %d ms); %s; %s of POST, %s in overload", percent(falls), p99[0].Milliseconds(), p99[1].Milliseconds(), percent(extra), percent(posts), percent(busy))},
		Held:    falls >= 0.4 && extra <= 0.055 && posts == 0 && busy < 0.001,
	}}, nil
}

// asked runs a load and says how many requests more than that three replicas got.
func (s *stand) asked(ctx context.Context, l load) (extra float64, p99 time.Duration, err error) {
	if _, err := s.seen(ctx, s.replicas[:3]...); err != nil {
		return 0, 0, err
	}
	all, err := l.run(ctx)
	if err != nil {
		return 0, 0, err
	}
	tries, err := s.seen(ctx, s.replicas[:3]...)
	sent := all.answered()
	half := time.Duration(0)
	if l.duration > 8*time.Second {
		half = l.duration / 2 // Until then it learns how long answers take.
	}
	return float64(requests(tries)-sent) / float64(max(sent, 1)), all.from(half).quantile(0.99), err
}

// hedgesWhenFull is the share of GETs that are asked for twice while all replicas
// are full. POSTs, which are never hedged, fill them from before the first GET
// until after the last.
func (s *stand) hedgesWhenFull(ctx context.Context, hedging string) (extra float64, err error) {
	const rate = 3 * heavyRate / 10 // of three replicas
	if err := s.staff(ctx, 3, heavy); err != nil {
		return 0, err
	}
	of := s.replicas[:3]
	err = s.serve(ctx, edge, wish{pool: hedging, most: 16, replicas: addresses(of)}, func(url string) error {
		if _, err := s.seen(ctx, of...); err != nil {
			return err
		}
		posting := s.background(ctx, load{url: url, method: http.MethodPost, rate: 1.2 * rate, duration: 9 * time.Second})
		pauseUntil(ctx, time.Now().Add(3*time.Second))
		got, err := load{url: url, rate: 0.3 * rate, duration: 4 * time.Second}.run(ctx)
		posted, postErr := posting()
		tries, seenErr := s.seen(ctx, of...)
		extra = float64(requests(tries)-got.answered()-posted.answered()) / float64(max(got.answered(), 1))
		return errors.Join(err, postErr, seenErr)
	})
	return extra, err
}

// newcomer has a replica join that is eight times as slow for five seconds.
func newcomer(ctx context.Context, s *stand) ([]row, error) {
	busy := manners{Mean: 50 * time.Millisecond, Workers: 8}
	cold := busy
	cold.Slowness = 8
	r := row{
		Criterion: "no herd on a new replica",
		Does:      "a tenth replica joins nine that have been at 60 % of their capacity for longer than slow start lasts; it is eight times as slow for 5 s; the most requests it has at a time meanwhile, and the mean of the others; p99 from then on, and before",
		Bound:     "≤ 1.5 × the mean; p99 ≤ 1.2 ×", Virtual: "TestLeastTimeInSimulation, TestANewReplicaDrawsNoHerd", Numbers: make(map[string]string),
	}
	if err := s.staff(ctx, 10, busy); err != nil {
		return nil, err
	}
	last := s.replicas[9]
	if err := s.tell(ctx, cold, last); err != nil {
		return nil, err
	}
	w := wish{file: filepath.Join(s.dir, "replicas"), replicas: addresses(s.replicas[:9])}
	if err := gateway.List(w.file, w.replicas); err != nil {
		return nil, err
	}
	// A pool younger than slow start, 10 s, is starting as a whole.
	const before, coldness, after = 12 * time.Second, 5 * time.Second, 5 * time.Second
	err := s.serve(ctx, edge, w, func(url string) error {
		loading := s.background(ctx, load{url: url, rate: 9 * 8 / busy.Mean.Seconds() * 0.6, duration: before + coldness + after})
		began := time.Now()
		pauseUntil(ctx, began.Add(before))
		if _, err := s.seen(ctx, s.replicas...); err != nil {
			return err
		}
		if err := gateway.List(w.file, addresses(s.replicas)); err != nil {
			return err
		}
		pauseUntil(ctx, began.Add(before+coldness))
		seen, err := s.seen(ctx, s.replicas...)
		if err := firstOf(err, s.tell(ctx, busy, last)); err != nil {
			return err
		}
		all, err := loading()
		if err != nil {
			return err
		}
		mean := 0.0
		for _, c := range seen[:9] {
			mean += c.Mean / 9
		}
		was, is := all.from(2*time.Second).until(before).quantile(0.99), all.from(before).quantile(0.99)
		r.Numbers[edge.name] = fmt.Sprintf("%d, mean %.1f; it got %d requests; p99 %d ms, %d ms before", seen[9].Most, mean, seen[9].Requests, is.Milliseconds(), was.Milliseconds())
		r.Held = float64(seen[9].Most) <= math.Ceil(1.5*mean) && float64(is) <= 1.2*float64(was) && seen[9].Requests > 0
		return nil
	})
	return []row{r}, err
}
