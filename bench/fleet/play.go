package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/purge/history"
)

// result is what a run came to.
type result struct {
	took       time.Duration
	history    history.History
	violations []history.Violation
	exits      map[string]map[int]int
	lies       []string
	deploys    []cost
	done       map[string]int // mischief, by its name
	from       map[string]int // answers, by what gave them
	behind     int            // answers of nodes that did not trust their cache
	excused    int
}

var paths = []string{"/", "/contacts", "/contacts/1", "/contacts/2", "/api/contacts"}

// play starts everything, has visitors come, and does mischief; when that is
// over, all must be well again.
func play(ctx context.Context, o options, binary, redis, dir string) (r result, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return r, err
	}
	s, err := start(ctx, o, binary, redis, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	f := &fleet{site: s}
	defer func() { err = errors.Join(err, f.end()) }()
	for range o.replicas {
		if err := f.start(ctx, "v1"); err != nil {
			return r, err
		}
	}
	for _, n := range s.nodes {
		if err := s.await(ctx, n, patience, "has replicas and trusts its cache", whole); err != nil {
			return r, err
		}
	}
	rec := new(record)
	began := time.Now()
	leave, stop := context.WithCancel(ctx)
	var visitors sync.WaitGroup
	rec.come(leave, &visitors, o, s)
	r.done, err = rec.storm(ctx, o, s, f)
	if err == nil {
		err = rec.calm(ctx, s)
	}
	stop()
	visitors.Wait()
	r.took = time.Since(began)
	if err != nil {
		return r, fmt.Errorf("%w\nviolations until then: %v\nlies: %v", err, first(rec.history.Violations(), 5), s.commands.Lies())
	}
	r.history, r.exits, r.lies, r.deploys = rec.history, s.commands.Exits(), s.commands.Lies(), rec.deploys
	r.count()
	return r, nil
}

func first[T any](list []T, n int) []T { return list[:min(n, len(list))] }

// come has visitors come to each node and to each data centre.
func (r *record) come(leave context.Context, group *sync.WaitGroup, o options, s *site) {
	for range o.visitors {
		for _, n := range s.nodes {
			group.Go(func() { r.visit(leave, n.url(), n.excuse) })
		}
		for _, place := range s.places {
			group.Go(func() { r.visit(leave, place, s.excuse) })
		}
	}
}

// excuse is that of the CDN: any of the nodes may have been asked.
func (s *site) excuse(from, until time.Time) string {
	for _, n := range s.nodes {
		if why := n.excuse(from, until); why != "" {
			return why
		}
	}
	return ""
}

// visit asks for one thing after the other until leave is done.
func (r *record) visit(leave context.Context, place string, excuse func(from, until time.Time) string) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: hosted{transport}, Timeout: time.Minute}
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-leave.Done():
			return
		case <-tick.C:
		}
		read := history.Ask(client, place, paths[i%len(paths)])
		read.Excused = excuse(read.Start, read.End)
		r.add(func(h *history.History) { h.Reads = append(h.Reads, read) })
	}
}

// hosted has every request ask for the same host.
type hosted struct{ over http.RoundTripper }

func (h hosted) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := r.Clone(r.Context()) // a RoundTripper changes no request
	asked.Host = host
	return h.over.RoundTrip(asked)
}

// storm is deploys, purges and mischief at the same time.
func (r *record) storm(ctx context.Context, o options, s *site, f *fleet) (done map[string]int, err error) {
	until, stop := context.WithTimeout(ctx, o.duration)
	defer stop()
	var work sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	together := func(do func() error) {
		work.Go(func() {
			if failed := do(); failed != nil {
				stop()
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, failed)
			}
		})
	}
	together(func() error { return r.deployOften(ctx, until, s, f, o) })
	together(func() error { return r.purgeOften(ctx, until, s, o.seed) })
	together(func() (failed error) {
		done, failed = r.wreak(ctx, until, s, o.seed)
		return failed
	})
	work.Wait()
	return done, errors.Join(append(errs, ctx.Err())...)
}

// calm is when nothing is in the way any more: everything that was accepted gets
// done, and a purge at each node is acknowledged.
func (r *record) calm(ctx context.Context, s *site) error {
	s.api.Recover()
	for _, n := range s.nodes {
		if err := s.await(ctx, n, 3*time.Minute, "finishes its purges and trusts its cache", whole); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		before := len(r.history.Purges)
		if err := r.purgeOnce(ctx, s, n, "1m"); err != nil {
			return err
		}
		if r.history.Purges[before].Acknowledged.IsZero() {
			return fmt.Errorf("a purge at %s in calm weather was not acknowledged", n.name)
		}
	}
	return nil
}

// count judges the history.
func (r *result) count() {
	r.violations = r.history.Violations()
	r.from = make(map[string]int)
	for _, read := range r.history.Reads {
		switch {
		case read.Unanswered():
			r.excused++
		case strings.Contains(read.Where, "fleet-behind"):
			r.behind++
			fallthrough
		default:
			r.from[source(read)]++
		}
	}
	r.excused -= len(r.failures())
}

// source says what gave an answer: the CDN's tier, or the node's cache.
func source(read history.Read) string {
	fields := strings.SplitN(read.Where, ", ", 4)
	switch {
	case len(fields) < 4:
		return "unknown"
	case fields[1] == "HIT" && strings.HasPrefix(fields[2], "lower"):
		return "lower tier"
	case fields[1] == "HIT":
		return "upper tier"
	case strings.Contains(fields[3], "; hit") && strings.Contains(fields[3], "detail=shared"):
		return "Redis"
	case strings.Contains(fields[3], "; hit"):
		return "node's cache"
	}
	return "replica"
}
