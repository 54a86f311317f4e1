package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/machine"
)

const heading = "| after | resident set, mean MiB | highest MiB | highest / cap | requests | distinct URLs | answers stored | accounted MiB | evicted |\n" +
	"| --: | --: | --: | --: | --: | --: | --: | --: | --: |\n"

// text is a line of the table.
func (r row) text(o options) string {
	return fmt.Sprintf("| %s | %s | %s | %.3f | %d | %d | %d | %s | %d |", r.until.Round(time.Second), plain(r.mean), plain(r.max),
		ratio(r.max, o), r.requests, r.distinct, r.cache.Entries, plain(r.cache.Bytes), r.cache.Evictions)
}

func plain(n int64) string     { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }
func mebibytes(n int64) string { return plain(n) + " MiB" }

func ratio(n int64, o options) float64 { return float64(n) / float64(int64(o.cap)<<20) }

// page writes the results.
func page(o options, version string, s series) string {
	var b strings.Builder
	verdict := "kept"
	if err := s.verdict(o); err != nil {
		verdict = "NOT kept: " + err.Error()
	}
	disk := ""
	if o.disk > 0 {
		disk = fmt.Sprintf(" and %d MiB of disk", o.disk)
	}
	fmt.Fprintf(&b, `# The soak

What memory does the process have that caches a great many URLs, each asked for over sockets? At most %d %% of the cap on its cache, at every moment, is the promise. Written by `+"`make soak-memory`"+`; README.md says how.

**%s**: cap %d MiB%s, highest resident set %s, %.3f of the cap. %d samples, one a second.

- %d requests in %s, %d of them for distinct URLs; every answer compared with the origin's, byte by byte
- %s before the first request
- %d purges by tag meanwhile
- CPU of the gateway: %s, %.2f cores on average

`,
		most, verdict, o.cap, disk, mebibytes(s.highest), ratio(s.highest, o), s.samples,
		s.requests, s.took.Round(time.Second), s.distinct,
		mebibytes(s.idle), s.purges, s.cpu.Round(time.Second), s.cpu.Seconds()/s.took.Seconds())
	b.WriteString(heading)
	for _, r := range s.rows {
		b.WriteString(r.text(o) + "\n")
	}
	fmt.Fprintf(&b, `
The resident set is that of `+"`/proc/PID/statm`"+`, pages of the program's file and all. Others worked on the machine meanwhile; nothing here depends on time.

- edge %s
`, version)
	for _, f := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./soak -duration %s -urls %d -cap %d -disk %d`\n", o.duration, o.urls, o.cap, o.disk)
	return b.String()
}
