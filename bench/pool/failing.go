package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// failingFast has one of ten replicas answer 503 in a millisecond, in several
// manners.
func failingFast(ctx context.Context, s *stand) ([]row, error) {
	const rate = 500
	manner := func(fails failing, share float64, status int) manners {
		m := ordinary
		m.Fails, m.Share, m.Status = fails, share, status
		return m
	}
	plays := []struct {
		row
		manners manners
		bad     float64 // share of visitors with an error, at most
		drawn   float64 // share of tries that it may draw
	}{
		{row{Criterion: "503 in a millisecond, always", Bound: "no error reaches a visitor; it draws ≤ 1 % of the tries", Virtual: "TestAReplicaThatFailsFastDrawsNothing"},
			manner(always, 0, http.StatusServiceUnavailable), 0, 0.01},
		{row{Criterion: "503 in a millisecond, every other second", Bound: "no error reaches a visitor; it draws ≤ 5 % of the tries", Virtual: "TestAReplicaThatFailsFastDrawsNothing"},
			manner(everyOther, 0, http.StatusServiceUnavailable), 0, 0.05},
		{row{Criterion: "500, to 30 % of its requests", Bound: "≤ 1 % of visitors see one: 500 is not tried again", Virtual: "TestAReplicaThatFailsFastDrawsNothing"},
			manner(some, 0.3, http.StatusInternalServerError), 0.01, 0.1},
		{row{Criterion: "429 in a millisecond, always", Bound: "≤ 1 % of visitors see one: 429 is not tried again; no sinkhole", Virtual: "TestAReplicaThatFailsFastDrawsNothing"},
			manner(always, 0, http.StatusTooManyRequests), 0.01, 0.01},
	}
	var rows []row
	for _, p := range plays {
		p.Does, p.Numbers = "one of ten does so, at 500 requests a second for 8 s", make(map[string]string)
		for _, c := range contestants {
			if err := s.staff(ctx, 10, ordinary); err != nil {
				return nil, err
			}
			err := s.serve(ctx, c, wish{}, func(url string) error {
				if err := s.tell(ctx, p.manners, s.replicas[3]); err != nil {
					return err
				}
				if _, err := s.seen(ctx, s.replicas...); err != nil {
					return err
				}
				all, err := load{url: url, rate: rate, duration: 8 * time.Second}.run(ctx)
				if err != nil {
					return err
				}
				tries, err := s.seen(ctx, s.replicas...)
				if err != nil {
					return err
				}
				bad, drawn := float64(all.bad())/float64(len(all)), float64(tries[3].Requests)/float64(requests(tries))
				p.Numbers[c.name] = fmt.Sprintf("%s errors, %s of the tries", percent(bad), percent(drawn))
				if c.name == edge.name {
					p.Held = bad <= p.bad && drawn <= p.drawn
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		rows = append(rows, p.row)
	}
	return rows, nil
}

// requests that replicas have seen.
func requests(of []counts) (n int) {
	for _, c := range of {
		n += c.Requests
	}
	return n
}
