package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/machine"
)

// page writes the results.
func page(o options, version string, rows []*row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The cache in common

What does an answer cost that a node finds in the Redis that it has in common with others (`+"`cache { shared }`"+`), beside one from its own memory and one from a replica? Written by `+"`make bench-shared`"+`; README.md says how.

Each way is visited %d times with %d requests, %d at a time, all in turn in one run, so that whatever else goes on befalls all of them. Times are those that the client sees; processor time is that of the node, of Redis, and of the application.

| size | answer from | p50 ms | p99 ms | over 5 ms | edge µs | Redis µs | application µs | came from there |
| --: | --- | --: | --: | --: | --: | --: | --: | --: |
`, o.rounds, o.requests, o.clients)
	for _, r := range rows {
		each := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(r.asked) }
		fmt.Fprintf(&b, "| %d KiB | %s | %.2f | %.2f | %.1f%% | %.0f | %.0f | %.0f | %.1f%% |\n", r.size>>10, r.way.name,
			r.quantile(0.5), r.quantile(0.99), r.slow(), each(r.edge), each(r.redis), each(r.app), 100*float64(len(r.took))/float64(r.asked))
	}
	fmt.Fprintf(&b, `
Looks may take 100 ms here, so that slow ones are measured; by default, a look is given up after 5 ms, and a replica is asked. The application is one that has its answers ready; what a page costs a real one comes on top of the last columns, and is what a hit saves.

- edge %s
`, version)
	for _, fact := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", fact.Name, fact.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./shared -rounds %d -requests %d -clients %d`\n", o.rounds, o.requests, o.clients)
	return b.String()
}

// quantile in milliseconds, of what came from there.
func (r *row) quantile(q float64) float64 {
	return float64(r.took[int(q*float64(len(r.took)-1))].Microseconds()) / 1000
}

// slow is the share of answers, in percent, that took longer than a look may by
// default.
func (r *row) slow() float64 {
	n := 0
	for _, took := range r.took {
		if took > 5*time.Millisecond {
			n++
		}
	}
	return 100 * float64(n) / float64(len(r.took))
}
