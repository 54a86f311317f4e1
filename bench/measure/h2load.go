package measure

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// H2load is a closed loop over HTTP/2: every connection has as many requests
// under way as it has streams.
type H2load struct {
	URL                  string
	Connections, Streams int
	// Seconds to run.
	Seconds int
	// CPU that the generator is pinned to.
	CPU int
}

// Run runs h2load to its end. Requests that failed are in the result; only a
// run without a result is an error.
func (h H2load) Run(ctx context.Context) (LoadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.Seconds)*time.Second+2*wrkTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "edge-bench-")
	if err != nil {
		return LoadResult{}, err
	}
	defer os.RemoveAll(dir)
	times := filepath.Join(dir, "times")
	result, err := generate(ctx, h.CPU, ParseH2load, h.URL, "h2load", "-t1", "-c", strconv.Itoa(h.Connections),
		"-m", strconv.Itoa(h.Streams), "-D", strconv.Itoa(h.Seconds), "--log-file", times)
	if err != nil {
		return LoadResult{}, err
	}
	log, err := os.Open(times)
	if err != nil {
		return LoadResult{}, err
	}
	defer log.Close()
	if result.P50, result.P99, err = h2loadTimes(bufio.NewScanner(log)); err != nil {
		return LoadResult{}, fmt.Errorf("h2load %s: %w", h.URL, err)
	}
	result.Elapsed = time.Duration(h.Seconds) * time.Second
	return result, nil
}

var (
	h2loadRequests = regexp.MustCompile(`(?m)^requests: \d+ total, \d+ started, (\d+) done, \d+ succeeded, (\d+) failed, \d+ errored, \d+ timeout$`)
	h2loadStatus   = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, `)
	h2loadTraffic  = regexp.MustCompile(`(?m)^traffic: \S+ \((\d+)\) total`)
	h2loadProtocol = regexp.MustCompile(`(?m)^Application protocol: (\S+)$`)
)

// ParseH2load reads what h2load of nghttp2 1.52 prints, but for the times.
func ParseH2load(out string) (LoadResult, error) {
	requests, status := h2loadRequests.FindStringSubmatch(out), h2loadStatus.FindStringSubmatch(out)
	traffic, protocol := h2loadTraffic.FindStringSubmatch(out), h2loadProtocol.FindStringSubmatch(out)
	if requests == nil || status == nil || traffic == nil || protocol == nil {
		return LoadResult{}, fmt.Errorf("want totals, status codes, traffic and a protocol, got %q", strings.TrimSpace(out))
	}
	if protocol[1] != "h2" {
		return LoadResult{}, fmt.Errorf("spoke %s: want h2", protocol[1])
	}
	var numbers [4]int64
	for i, text := range []string{requests[1], requests[2], status[1], traffic[1]} {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return LoadResult{}, err
		}
		numbers[i] = n
	}
	return LoadResult{Requests: numbers[0], Errors: numbers[1] + numbers[0] - numbers[2], Bytes: float64(numbers[3])}, nil
}

// h2loadTimes reads the log, of which a line has when a request began, its
// status and how many microseconds it took.
func h2loadTimes(log *bufio.Scanner) (p50, p99 time.Duration, err error) {
	var all []int64
	for log.Scan() {
		fields := strings.Fields(log.Text())
		if len(fields) != 3 {
			return 0, 0, fmt.Errorf("log %q: want three columns", log.Text())
		}
		n, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		all = append(all, n)
	}
	if len(all) == 0 {
		return 0, 0, errors.Join(errors.New("no request in the log"), log.Err())
	}
	slices.Sort(all)
	at := func(part float64) time.Duration {
		return time.Duration(all[int(part*float64(len(all)-1))]) * time.Microsecond
	}
	return at(0.5), at(0.99), log.Err()
}
