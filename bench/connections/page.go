package main

import (
	"fmt"
	"strings"

	"github.com/edgegw/edge/bench/machine"
)

// page writes the results.
func (s *stand) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Connections

What memory does a connection take that a client keeps? Written by `+"`make bench-connections`"+`; README.md says how.

Every connection of every row was kept, and got all its answers, also after its memory was read.

| connections | gateway | number | without, MiB | with, MiB | **KiB for each** | after another answer each, MiB |
| --- | --- | --: | --: | --: | --: | --: |
`)
	for _, r := range s.rows {
		fmt.Fprintf(&b, "| %s | %s | %d | %.1f | %.1f | **%.1f** | %.1f |\n",
			r.situation, r.contestant.name, r.n, mebibytes(r.before), mebibytes(r.held), r.each()/1024, mebibytes(r.after))
	}
	fmt.Fprintf(&b, `
Memory is the proportional set size of the process and its children, from `+"`/proc/PID/smaps_rollup`"+`, after %s in which nothing happens; sockets in the kernel are not in it, and are the same for all. With stock Caddy it holds garbage that is not collected yet, as it does where it serves; edge collects it when a burst is over. A request under way is held by one of %d replicas, and takes two sockets of the gateway.

- files that a process may open: %d
- edge %s
- Caddy %s
- nginx %s
- HAProxy %s
`, s.rest, replicas, s.files, s.versions["edge"], s.versions["caddy"], s.versions["nginx"], s.versions["haproxy"])
	for _, f := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./connections -n %d -rest %s -think %s`\n", s.n, s.rest, s.think)
	return b.String()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
