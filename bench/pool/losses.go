package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// kill ends a replica with kill -9 under load.
func kill(ctx context.Context, s *stand) ([]row, error) {
	r := row{
		Criterion: "kill -9",
		Does:      "one of ten is killed at 300 GET and 100 POST a second; of 8 s each, GETs and POSTs without their answer. CHURN.md has a hundred replacements with many kills",
		Bound:     "no GET; POSTs only if they had been sent: what was under way there at that moment", Numbers: make(map[string]string),
		Virtual: "TestRetries, TestNothingIsLostInAShortChurn (bench/churn)",
	}
	for _, c := range contestants {
		if err := s.staff(ctx, 10, ordinary); err != nil {
			return nil, err
		}
		err := s.serve(ctx, c, wish{}, func(url string) error {
			gets := s.background(ctx, load{url: url, rate: 300, duration: 8 * time.Second})
			posts := s.background(ctx, load{url: url, method: http.MethodPost, rate: 100, duration: 8 * time.Second})
			pauseUntil(ctx, time.Now().Add(3*time.Second))
			s.replicas[5].process.Kill()
			got, getErr := gets()
			posted, postErr := posts()
			r.Numbers[c.name] = fmt.Sprintf("%d of %d GET, %d of %d POST", got.bad(), len(got), posted.bad(), len(posted))
			if c.name == edge.name {
				r.Held = got.bad() == 0 && posted.bad() <= ordinary.Workers
			}
			return errors.Join(getErr, postErr)
		})
		if err != nil {
			return nil, err
		}
	}
	return []row{r}, nil
}

// stale has replicas close connections that were idle for 50 ms, while POSTs
// come at random moments. All gateways are asked at the same time.
func stale(ctx context.Context, s *stand) (rows []row, err error) {
	r := row{
		Criterion: "connections that the replica closes",
		Does:      "three replicas close what is idle for 50 ms; 40 POST a second to each gateway, all at once, for 20 s; POSTs without their answer",
		Bound:     "none", Virtual: "TestAReplicaThatClosesIdleConnectionsCostsNoPOST, TestAConnectionThatWasClosedBeforeTheRequestCostsNoPOST", Numbers: make(map[string]string),
	}
	var replicas []*replica
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.process.Stop())
		}
	}()
	for i := range 3 {
		one, err := s.start(ctx, fmt.Sprint("i", i+1), "-idle", "50ms")
		if err != nil {
			return nil, err
		}
		replicas = append(replicas, one)
	}
	if err := s.tell(ctx, manners{Mean: 2 * time.Millisecond, Workers: 64}, replicas...); err != nil {
		return nil, err
	}
	err = s.serveAll(ctx, contestants, wish{replicas: addresses(replicas)}, func(urls []string) error {
		loading := make([]func() (answers, error), len(urls))
		for i, url := range urls {
			loading[i] = s.background(ctx, load{url: url, method: http.MethodPost, rate: 40, duration: 20 * time.Second})
		}
		for i, wait := range loading {
			all, err := wait()
			if err != nil {
				return err
			}
			r.Numbers[contestants[i].name] = fmt.Sprintf("%d of %d", all.bad(), len(all))
			if contestants[i].name == edge.name {
				r.Held = all.bad() == 0
			}
		}
		return nil
	})
	return []row{r}, err
}
