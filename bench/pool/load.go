package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
)

const (
	// crowd is the most requests that visitors have under way: beyond, one more
	// counts as lost.
	crowd = 8000
	// impatience is when a visitor gives up.
	impatience = 10 * time.Second
)

// load is visitors who ask at a constant rate, whatever comes of it (an open
// loop), at random moments.
type load struct {
	url      string
	method   string // "" for GET
	rate     float64
	duration time.Duration
}

// answer is what one visitor saw.
type answer struct {
	sent    time.Duration // since the load began
	took    time.Duration
	status  int // 0: none
	replica string
	err     error
}

// answers are sorted by the time at which they were sent.
type answers []answer

// run asks, and waits for all answers.
func (l load) run(ctx context.Context) (answers, error) {
	client := &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true},
		Timeout:   impatience,
	}
	defer client.CloseIdleConnections()
	var (
		mu    sync.Mutex
		all   answers
		group sync.WaitGroup
		under atomic.Int64
	)
	began := time.Now()
	for next := time.Duration(0); ; {
		next += time.Duration(rand.ExpFloat64() * float64(time.Second) / l.rate)
		if next > l.duration {
			break
		}
		if !pauseUntil(ctx, began.Add(next)) {
			break
		}
		if under.Add(1) > crowd {
			return nil, fmt.Errorf("%d requests are under way after %s: the load generator is no measure any more", crowd, next)
		}
		group.Go(func() {
			defer under.Add(-1)
			a := ask(ctx, client, l)
			a.sent = next
			mu.Lock()
			defer mu.Unlock()
			all = append(all, a)
		})
	}
	group.Wait()
	slices.SortFunc(all, func(a, b answer) int { return int(a.sent - b.sent) })
	return all, ctx.Err()
}

// pauseUntil reports whether the moment came before the context ended.
func pauseUntil(ctx context.Context, moment time.Time) bool {
	return gateway.Pause(ctx, time.Until(moment))
}

func ask(ctx context.Context, client *http.Client, l load) (a answer) {
	began := time.Now()
	defer func() { a.took = time.Since(began) }()
	method := l.method
	if method == "" {
		method = http.MethodGet
	}
	r, err := http.NewRequestWithContext(ctx, method, l.url, nil)
	if err != nil {
		return answer{err: err}
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return answer{status: resp.StatusCode, replica: resp.Header.Get("X-Replica"), err: err}
}

// good reports whether a visitor got what they wanted.
func (a answer) good() bool { return a.err == nil && a.status == http.StatusOK }

// from leaves out what was sent before.
func (all answers) from(start time.Duration) answers {
	i, _ := slices.BinarySearchFunc(all, start, func(a answer, t time.Duration) int { return int(a.sent - t) })
	return all[i:]
}

// until leaves out what was sent after.
func (all answers) until(end time.Duration) answers {
	return all[:len(all)-len(all.from(end))]
}

// bad counts those who got no good answer.
func (all answers) bad() (n int) {
	for _, a := range all {
		if !a.good() {
			n++
		}
	}
	return n
}

// answered counts those whom a replica answered: what the gateway refused was
// sent to nobody.
func (all answers) answered() (n int) {
	for _, a := range all {
		if a.replica != "" {
			n++
		}
	}
	return n
}

// inTime counts good answers within a time.
func (all answers) inTime(within time.Duration) (n int) {
	for _, a := range all {
		if a.good() && a.took <= within {
			n++
		}
	}
	return n
}

// quantile of the time that answers took, bad ones among them.
func (all answers) quantile(q float64) time.Duration {
	took := make([]time.Duration, len(all))
	for i, a := range all {
		took[i] = a.took
	}
	slices.Sort(took)
	return measure.Quantile(took, q)
}

// share is the part of good answers that came from a replica.
func (all answers) share(replica string) float64 {
	n, good := 0, 0
	for _, a := range all {
		if a.good() {
			good++
			if a.replica == replica {
				n++
			}
		}
	}
	return float64(n) / float64(max(good, 1))
}
