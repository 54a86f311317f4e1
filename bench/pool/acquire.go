package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// benchmarked reads a line such as
// "BenchmarkAcquire/10-2  1000000  512 ns/op  0 B/op  0 allocs/op".
var benchmarked = regexp.MustCompile(`(?m)^BenchmarkAcquire/(\d+)\S*\s+\d+\s+([\d.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

// acquire runs the pool's own benchmark of a pick.
func acquire(ctx context.Context, _ *stand) ([]row, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-C", "..", "./internal/lb", "-run", "^$", "-bench", "^BenchmarkAcquire$", "-benchmem").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	rows := []row{
		{Criterion: "a pick at 10 replicas", Bound: "≤ 1 µs, no allocation"},
		{Criterion: "a pick at 100 replicas", Bound: "≤ 3 µs, no allocation"},
	}
	most := map[string]struct {
		row int
		ns  float64
	}{"10": {0, 1000}, "100": {1, 3000}}
	for _, match := range benchmarked.FindAllSubmatch(out, -1) {
		limit, asked := most[string(match[1])]
		if !asked {
			continue
		}
		ns, err := strconv.ParseFloat(string(match[2]), 64)
		if err != nil {
			return nil, err
		}
		r := &rows[limit.row]
		r.Does, r.Virtual = "`BenchmarkAcquire`: the pick by `least_time`, the slot, and its return", "TestAPickAllocatesNothing"
		r.Numbers = map[string]string{edge.name: fmt.Sprintf("%.0f ns, %s allocations", ns, match[3])}
		r.Held = ns <= limit.ns && string(match[3]) == "0"
	}
	for _, r := range rows {
		if r.Numbers == nil {
			return nil, fmt.Errorf("%s: not among what the benchmark says:\n%s", r.Criterion, out)
		}
	}
	return rows, nil
}
