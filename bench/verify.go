package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/bench/workloads"
)

// readyWithin is how long a peer may take to start and to find its origin
// healthy.
const readyWithin = 30 * time.Second

// client asks for what is checked. It opens a connection for each request, so
// that none of its own stands between peers and load.
var client = newClient(nil)

// newClient trusts a certificate.
func newClient(secure *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: secure},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// verify waits for each peer and sees to it that it answers right: the bodies
// are the origin's, hits are hits, and what should pass through does.
func (s *stand) verify(ctx context.Context) error {
	if err := awaitReady(ctx, s.origin, "origin", s.originURL+"/"); err != nil {
		return err
	}
	for _, r := range s.rows {
		if err := awaitReady(ctx, r.server, r.name(), r.url()+object.Path(s.sizes()[0])); err != nil {
			return err
		}
	}
	var errs []error
	for _, w := range s.plan.workloads {
		for _, r := range s.rowsOf(w) {
			for _, size := range w.Sizes {
				if err := s.verifyObject(ctx, r, size); err != nil {
					errs = append(errs, fmt.Errorf("%s, %s: %w", w.Name, r.name(), err))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func (s *stand) rowsOf(w workloads.Workload) []*row {
	var rows []*row
	for _, r := range s.rows {
		if r.way.Kind == w.Kind {
			rows = append(rows, r)
		}
	}
	return rows
}

// awaitReady asks until the answer is 200, the process ends or time is up.
func awaitReady(ctx context.Context, p *process.Process, name, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		_, err := fetch(ctx, url)
		if err == nil {
			return nil
		}
		select {
		case <-p.Exited():
			return fmt.Errorf("%s: %w", name, p.Failure())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %v: %w", name, readyWithin, err)
		case <-again.C:
		}
	}
}

// verifyObject asks three times: once to fill a cache, twice to see what it
// does.
func (s *stand) verifyObject(ctx context.Context, r *row, size int) error {
	url, want := r.url()+object.Path(size), object.Hash(object.Body(size))
	var before int64
	for i := range 3 {
		body, err := fetch(ctx, url)
		if err != nil {
			return err
		}
		if got := object.Hash(body); got != want {
			return fmt.Errorf("%s: %d bytes with hash %s: want the origin's %d with %s", url, len(body), got, size, want)
		}
		if i == 0 {
			if before, err = s.fetches(ctx); err != nil {
				return err
			}
		}
	}
	after, err := s.fetches(ctx)
	if err != nil {
		return err
	}
	var wanted int64
	if r.way.Kind.ReachesOrigin() {
		wanted = 2
	}
	if got := after - before; got != wanted {
		return fmt.Errorf("%s: the origin was asked %d times for two requests: want %d", url, got, wanted)
	}
	return nil
}

// fetches is how many objects the origin has served.
func (s *stand) fetches(ctx context.Context) (int64, error) {
	body, err := fetch(ctx, s.originURL+"/fetches")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(body), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the origin's count: %w", err)
	}
	return n, nil
}

// fetch is the body of a 200.
func fetch(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: want 200", url, response.Status)
	}
	return body, nil
}
