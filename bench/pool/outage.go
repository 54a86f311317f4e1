package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// outage has all replicas fail for a while.
func outage(ctx context.Context, s *stand) ([]row, error) {
	amplified := row{
		Criterion: "total outage: amplification", Does: "ten replicas, 500 requests a second; all answer 503 for 6 s; tries in those seconds",
		Bound: "≤ 1.2 for each request", Virtual: "TestATotalOutageIsNotAmplifiedAndItsEndIsNoticed, TestBudgetArithmetic", Numbers: make(map[string]string),
	}
	recovered := row{
		Criterion: "total outage: recovery", Does: "the same; when the last visitor asked who got an error, after the end of the outage",
		Bound: "≤ 2 s", Virtual: "TestATotalOutageIsNotAmplifiedAndItsEndIsNoticed, TestWhenAllFailNobodyIsEjectedAndTheEndIsNoticed", Numbers: make(map[string]string),
	}
	partly := row{
		Criterion: "all replicas fail at 60 %", Does: "the same, but 60 % of the requests; tries for each request; the most that a replica got of its fair share",
		Bound: "≤ 1.2; no replica above 2 ×", Virtual: "TestEjectionsThatOverlapKeepTheCap, TestEjectionsAndSickChecksTogetherMakeAPanic", Numbers: make(map[string]string),
	}
	for _, c := range contestants {
		total, err := s.fail(ctx, c, manners{Mean: ordinary.Mean, Workers: ordinary.Workers, Fails: always, Status: http.StatusServiceUnavailable})
		if err != nil {
			return nil, err
		}
		amplified.Numbers[c.name] = fmt.Sprintf("%.2f", total.tries)
		recovered.Numbers[c.name] = fmt.Sprintf("%.1f s", total.recovery.Seconds())
		part, err := s.fail(ctx, c, manners{Mean: ordinary.Mean, Workers: ordinary.Workers, Fails: some, Share: 0.6, Status: http.StatusServiceUnavailable})
		if err != nil {
			return nil, err
		}
		partly.Numbers[c.name] = fmt.Sprintf("%.2f; %.1f ×", part.tries, part.unfair)
		if c.name == edge.name {
			amplified.Held, recovered.Held = total.tries <= 1.2, total.recovery <= 2*time.Second
			partly.Held = part.tries <= 1.2 && part.unfair <= 2
		}
	}
	return []row{amplified, recovered, partly}, nil
}

// failure is what came of an outage.
type failure struct {
	tries    float64 // of each request, while it lasted
	unfair   float64 // the most of any replica, in fair shares
	recovery time.Duration
}

// fail has all replicas behave so for six seconds.
func (s *stand) fail(ctx context.Context, c contestant, how manners) (failure, error) {
	const before, lasts, after, rate = 3 * time.Second, 6 * time.Second, 8 * time.Second, 500
	var f failure
	if err := s.staff(ctx, 10, ordinary); err != nil {
		return f, err
	}
	err := s.serve(ctx, c, wish{}, func(url string) error {
		loading := s.background(ctx, load{url: url, rate: rate, duration: before + lasts + after})
		err := s.during(ctx, before, lasts, how, func(tries []counts) {
			for _, t := range tries {
				f.unfair = max(f.unfair, float64(t.Requests)*float64(len(tries))/float64(requests(tries)))
			}
			f.tries = float64(requests(tries))
		})
		all, loadErr := loading()
		if err := errors.Join(err, loadErr); err != nil {
			return err
		}
		f.tries /= float64(len(all.from(before).until(before + lasts)))
		for _, a := range all.from(before + lasts) {
			if !a.good() {
				f.recovery = a.sent - before - lasts
			}
		}
		return nil
	})
	return f, err
}

// during waits, has all replicas behave so for a while, has their counts looked
// at, and has them behave well again.
func (s *stand) during(ctx context.Context, before, lasts time.Duration, how manners, look func([]counts)) error {
	began := time.Now()
	pauseUntil(ctx, began.Add(before))
	if err := s.tell(ctx, how, s.replicas...); err != nil {
		return err
	}
	pauseUntil(ctx, began.Add(before+lasts))
	tries, err := s.seen(ctx, s.replicas...)
	if err != nil {
		return err
	}
	look(tries)
	return s.tell(ctx, ordinary, s.replicas...)
}

// background runs a load while something else is done; the function that it
// returns waits for its end.
func (s *stand) background(ctx context.Context, l load) func() (answers, error) {
	var (
		all answers
		err error
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		all, err = l.run(ctx)
	}()
	return func() (answers, error) {
		<-done
		return all, err
	}
}
