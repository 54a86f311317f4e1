package workloads

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/process"
)

// useWrk puts a script in wrk's place: it notes its arguments, and the script of
// Lua among them, and prints what wrk prints, or fails.
func useWrk(t *testing.T, output string, status int) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	noted := filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%[1]s\ncat /dev/null $(echo \"$@\" | grep -o '[^ ]*\\.lua') >>%[1]s\ncat <<'END'\n%[2]s\nEND\nexit %[3]d\n", noted, output, status)
	if err := os.WriteFile(filepath.Join(dir, "wrk"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		text, err := os.ReadFile(noted)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
}

const answered = "     50%  500.00us\n     99%    2.00ms\n  1000 requests in 3.00s, 1.20MB read"

// testStand has a peer and an origin that stand still, and an origin whose
// count goes through the given values.
func testStand(t *testing.T, counts ...int64) Stand {
	t.Helper()
	cpus, err := process.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	idle := "7 (idle) S 1 1 1 0 -1 0 0 0 0 0 100 0 0 0 20 0 1 0 0 0 0 0\n"
	return Stand{
		URL: "http://127.0.0.1:1", Warmup: 1, Seconds: 3, ClientCPU: cpus[0],
		Meter: measure.Meter{Proc: measure.Procfs{FS: fstest.MapFS{
			"stat":    {Data: []byte("cpu  900 0 0 0 0 0 0 0 0 0\n")},
			"10/stat": {Data: []byte(idle)},
			"20/stat": {Data: []byte(idle)},
		}}, Server: 10, Origin: 20},
		Fetches: func(context.Context) (int64, error) {
			if len(counts) == 0 {
				return 0, errors.New("the origin has gone")
			}
			n := counts[0]
			counts = counts[1:]
			return n, nil
		},
	}
}

func TestClosedLoopWarmsUpThenMeasures(t *testing.T) {
	calls := useWrk(t, answered, 0)
	sample, err := closedLoop{kind: Hit, size: 1024}.measure(t.Context(), testStand(t, 5, 5))
	if err != nil {
		t.Fatal(err)
	}
	if got := sample[measure.P99]; got != 2 {
		t.Errorf("p99: got %v ms, want 2", got)
	}
	const (
		warmup  = "-t1 -c64 -d1s --latency --timeout 5s http://127.0.0.1:1/objects/1024\n"
		sampled = "-t1 -c64 -d3s --latency --timeout 5s http://127.0.0.1:1/objects/1024\n"
	)
	if got := calls(); got != warmup+sampled {
		t.Errorf("wrk was called with\n%swant\n%s", got, warmup+sampled)
	}
}

func TestClosedLoopWithoutWarmup(t *testing.T) {
	calls := useWrk(t, answered, 0)
	stand := testStand(t, 5, 1005)
	stand.Warmup = 0
	if _, err := (closedLoop{kind: Pass, size: 1024}).measure(t.Context(), stand); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(calls(), "\n"); got != 1 {
		t.Errorf("wrk was called %d times, want once", got)
	}
}

func TestClosedLoopPosts(t *testing.T) {
	calls := useWrk(t, answered, 0)
	if _, err := (closedLoop{kind: Pass, size: 1024, script: measure.Posts(5)}).measure(t.Context(), testStand(t, 0, 1000)); err != nil {
		t.Fatal(err)
	}
	if got := calls(); strings.Count(got, `wrk.body = string.rep("x", 5)`) != 2 {
		t.Errorf("wrk was called with\n%s\nwant a script with a body of 5 bytes, for the warm-up too", got)
	}
}

func TestClosedLoopFails(t *testing.T) {
	cases := map[string]struct {
		output string
		status int
		counts []int64
		gone   bool // the server's process
		want   string
	}{
		"nobody listens":                         {"unable to connect", 1, []int64{0, 0}, false, "warm up: wrk http://127.0.0.1:1/objects/1024: exit status 1"},
		"wrk says something else":                {"hello", 0, []int64{0, 0}, false, "want totals"},
		"a hit that reached the origin":          {answered, 0, []int64{5, 6}, false, "asked 1 times"},
		"the origin has gone":                    {answered, 0, nil, false, "the origin has gone"},
		"the origin has gone during the sample":  {answered, 0, []int64{5}, false, "the origin has gone"},
		"the server has gone":                    {answered, 0, []int64{5, 5}, true, "process 11"},
		"answers that failed, whatever the rest": {answered + "\n  Non-2xx or 3xx responses: 3", 0, []int64{5, 5}, false, "3 of 1000 requests failed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			useWrk(t, c.output, c.status)
			stand := testStand(t, c.counts...)
			if c.gone {
				stand.Meter.Server = 11
			}
			sample, err := closedLoop{kind: Hit, size: 1024}.measure(t.Context(), stand)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, %v; want an error with %q", sample, err, c.want)
			}
		})
	}
}

func TestClosedLoopStopsWhenInterrupted(t *testing.T) {
	useWrk(t, answered, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (closedLoop{kind: Hit, size: 1024}).measure(ctx, testStand(t, 5, 5)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}
