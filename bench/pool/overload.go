package main

import (
	"context"
	"fmt"
	"time"
)

// heavy is an application that does eighty requests a second with each of its
// replicas: few enough for a small machine to ask ten of them for three times as
// many.
var heavy = manners{Mean: 100 * time.Millisecond, Workers: 8}

// heavyRate is what ten of them can do.
const heavyRate = 800.0

// overload asks for three times the capacity.
func overload(ctx context.Context, s *stand) ([]row, error) {
	r := row{
		Criterion: "three times the capacity",
		Does:      "ten replicas of eight workers and 100 ms each, 2400 requests a second; good answers within 2 s, from the fourth to the tenth second; the peers with 16 requests at a time to a replica, edge with its adaptive limit",
		Bound:     "goodput ≥ 90 % of the capacity", Numbers: make(map[string]string),
		Virtual: "TestThreeTimesTheCapacity, TestTheAdaptiveLimitKeepsAnApplicationFromThrashing, TestOverloadShedsAndKeepsWorking",
	}
	for _, c := range contestants {
		if err := s.staff(ctx, 10, heavy); err != nil {
			return nil, err
		}
		w := wish{most: 16}
		if c.name == edge.name {
			w = wish{pool: adaptiveQueue}
		}
		err := s.serve(ctx, c, w, func(url string) error {
			all, err := load{url: url, rate: 3 * heavyRate, duration: 10 * time.Second}.run(ctx)
			if err != nil {
				return err
			}
			goodput := float64(all.from(4*time.Second).inTime(2*time.Second)) / 6 / heavyRate
			r.Numbers[c.name] = percent(goodput)
			if c.name == edge.name {
				r.Held = goodput >= 0.9
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return []row{r}, nil
}

const adaptiveQueue = "\t\t\tqueue {\n\t\t\t\tadaptive\n\t\t\t}\n"

// capacity takes the replicas down to 40 % of what they can do and back, at
// three times that. What peers do with a fixed limit does not compare.
func capacity(ctx context.Context, s *stand) ([]row, error) {
	const quiet, settling, looking = 2 * time.Second, 5 * time.Second, 6 * time.Second
	r := row{
		Criterion: "the capacity goes to 40 % and back",
		Does:      "the same replicas, 2 s at half of what they can do, then at three times what they can do at the moment, with edge's adaptive limit; from 5 s to 11 s after each step: goodput, and the mean time at the replicas in units of the work itself",
		Bound:     "≥ 90 %; ≤ 2 ×", Virtual: "TestTheAdaptiveLimitFollowsTheCapacity", Numbers: make(map[string]string), Held: true,
	}
	if err := s.staff(ctx, 10, heavy); err != nil {
		return nil, err
	}
	err := s.serve(ctx, edge, wish{pool: adaptiveQueue}, func(url string) error {
		if _, err := (load{url: url, rate: heavyRate / 2, duration: quiet}).run(ctx); err != nil {
			return err
		}
		for _, slowness := range []float64{1, 2.5, 1} {
			now := heavy
			now.Slowness = slowness
			if err := s.tell(ctx, now, s.replicas...); err != nil {
				return err
			}
			can := heavyRate / slowness
			loading := s.background(ctx, load{url: url, rate: 3 * can, duration: settling + looking})
			began := time.Now()
			pauseUntil(ctx, began.Add(settling))
			_, err := s.seen(ctx, s.replicas...)
			pauseUntil(ctx, began.Add(settling+looking))
			seen, seenErr := s.seen(ctx, s.replicas...)
			all, loadErr := loading()
			if err := firstOf(err, seenErr, loadErr); err != nil {
				return err
			}
			goodput := float64(all.from(settling).inTime(5*time.Second)) / looking.Seconds() / can
			times := stay(seen).Seconds() / heavy.Mean.Seconds() / slowness
			r.Numbers[edge.name] += fmt.Sprintf("at %.0f %%: %s, %.2f ×. ", 100/slowness, percent(goodput), times)
			r.Held = r.Held && goodput >= 0.9 && times <= 2
		}
		return nil
	})
	return []row{r}, err
}

// stay is the mean time that requests were at the replicas.
func stay(seen []counts) time.Duration {
	var took time.Duration
	done := 0
	for _, c := range seen {
		took += c.Took
		done += c.Done
	}
	return took / time.Duration(max(done, 1))
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
