package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/process"
)

// Wrk is a closed loop: every connection sends its next request when the last
// one has been answered. Its latencies are latencies at saturation.
type Wrk struct {
	URL         string
	Connections int
	// Seconds to run: whole ones, since wrk reads no others.
	Seconds int
	// CPU that the generator is pinned to.
	CPU int
	// Script, in Lua, says what is asked for; without one, it is the URL.
	Script string
}

// Posts is a script for POSTs with a body of so many bytes.
func Posts(bytes int) string {
	return fmt.Sprintf(`wrk.method = "POST"
wrk.headers["Content-Type"] = "application/octet-stream"
wrk.body = string.rep("x", %d)
`, bytes)
}

// LoadResult is what one run of a load generator says.
type LoadResult struct {
	Requests int64
	// Bytes read, headers included. wrk rounds them to two decimals of its
	// unit.
	Bytes    float64
	Elapsed  time.Duration
	P50, P99 time.Duration
	// Errors counts connections that failed and answers outside 2xx and 3xx.
	Errors int64
	// CPU that the generator used.
	CPU time.Duration
}

// wrkTimeout is when wrk counts a request as timed out, and half of what it
// may take beyond its time.
const wrkTimeout = 5 * time.Second

// Run runs wrk to its end. Errors that wrk counted are in the result; only a
// run without a result is an error.
func (w Wrk) Run(ctx context.Context) (LoadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.Seconds)*time.Second+2*wrkTimeout)
	defer cancel()
	args := []string{
		"-t1", "-c" + strconv.Itoa(w.Connections), fmt.Sprintf("-d%ds", w.Seconds),
		"--latency", "--timeout", fmt.Sprintf("%ds", int(wrkTimeout.Seconds())),
	}
	if w.Script != "" {
		dir, err := os.MkdirTemp("", "edge-bench-")
		if err != nil {
			return LoadResult{}, err
		}
		defer os.RemoveAll(dir)
		script := filepath.Join(dir, "load.lua")
		if err := os.WriteFile(script, []byte(w.Script), 0o600); err != nil {
			return LoadResult{}, err
		}
		args = append(args, "--script", script)
	}
	return generate(ctx, w.CPU, ParseWrk, w.URL, "wrk", args...)
}

// generate runs a load generator, pinned to a CPU, with the URL as its last
// argument, and reads what it prints.
func generate(ctx context.Context, cpu int, parse func(string) (LoadResult, error), url, generator string, args ...string) (LoadResult, error) {
	name, args := process.Pin(cpu, generator, append(args, url)...)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return LoadResult{}, fmt.Errorf("%s %s: %w: %s", generator, url, errors.Join(err, ctx.Err()), bytes.TrimSpace(stderr.Bytes()))
	}
	result, err := parse(string(out))
	if err != nil {
		return LoadResult{}, fmt.Errorf("%s %s: %w", generator, url, err)
	}
	result.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return result, nil
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(\d+) requests in (\S+), (\S+) read$`)
	wrkP50     = regexp.MustCompile(`(?m)^\s+50%\s+(\S+)\s*$`)
	wrkP99     = regexp.MustCompile(`(?m)^\s+99%\s+(\S+)\s*$`)
	wrkSockets = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)$`)
	wrkStatus  = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)$`)
)

// ParseWrk reads what wrk 4.1 and 4.2 print with --latency.
func ParseWrk(out string) (LoadResult, error) {
	var r LoadResult
	var errs []error
	note := func(err error) { errs = append(errs, err) }

	total := wrkTotal.FindStringSubmatch(out)
	p50, p99 := wrkP50.FindStringSubmatch(out), wrkP99.FindStringSubmatch(out)
	if total == nil || p50 == nil || p99 == nil {
		return r, fmt.Errorf("want totals and a latency distribution, got %q", strings.TrimSpace(out))
	}
	var err error
	r.Requests, err = strconv.ParseInt(total[1], 10, 64)
	note(err)
	r.Elapsed, err = parseWrkTime(total[2])
	note(err)
	r.Bytes, err = parseWrkBytes(total[3])
	note(err)
	r.P50, err = parseWrkTime(p50[1])
	note(err)
	r.P99, err = parseWrkTime(p99[1])
	note(err)

	var counts []string
	if m := wrkSockets.FindStringSubmatch(out); m != nil {
		counts = append(counts, m[1:]...)
	}
	if m := wrkStatus.FindStringSubmatch(out); m != nil {
		counts = append(counts, m[1])
	}
	for _, text := range counts {
		n, err := strconv.ParseInt(text, 10, 64)
		note(err)
		r.Errors += n
	}
	return r, errors.Join(errs...)
}

// parseWrkTime reads "635.00us", "1.38ms", "3.00s", "1.50m" and "1.00h", which
// are Go's units too.
func parseWrkTime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("time %q: want one such as 635.00us or 1.38ms", text)
	}
	return d, nil
}

// parseWrkBytes reads "999.00B", "12.34KB", "1.23GB": units of 1024.
func parseWrkBytes(text string) (float64, error) {
	number, factor := strings.TrimSuffix(text, "B"), 1.0
	for i, unit := range []string{"K", "M", "G", "T", "P"} {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, factor = rest, float64(int64(1)<<(10*(i+1)))
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || number == text {
		return 0, fmt.Errorf("size %q: want one such as 12.34KB or 1.23GB", text)
	}
	return n * factor, nil
}
