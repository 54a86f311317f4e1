package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/machine"
)

// page writes the results.
func page(o options, version string, r result) string {
	var b strings.Builder
	said := "kept"
	if err := r.verdict(); err != nil {
		said = "NOT kept: " + err.Error()
	}
	fmt.Fprintf(&b, `# The churn

Does a visitor lose anything when replicas come, go and are killed? Nothing that may be asked for again, and nothing when a replica leaves in good order, is the promise. Written by `+"`make churn`"+`; README.md says how.

**%s**: %d requests and streams in %s, %d of them lost by the gateway's fault.

- 1 → %d → 1 replicas, %d rolling replacements at that size, %d at a time; %d replicas in all, %d at most at a time
- %d times `+"`kill -9`"+`, at random
- %d requests were sent again to another replica by the pool

`, said, sum(r.tally.asked), r.took.Round(time.Second), len(r.tally.faults()), o.most, o.replacements, o.atOnce, r.started, r.most, r.kills, r.retries)

	b.WriteString("| how replicas left | replicas |\n| --- | --: |\n")
	for _, how := range manners {
		fmt.Fprintf(&b, "| %s | %d |\n", how, r.manners[how])
	}
	fmt.Fprintf(&b, "| %s | %d |\n\n", killed, r.kills)

	b.WriteString("| requests | whole answers | the gateway's fault | not to be saved | p50 ms | p99 ms | longest ms |\n| --- | --: | --: | --: | --: | --: | --: |\n")
	for _, k := range kinds {
		if k.stream {
			continue
		}
		took, lost := r.tally.took[k], r.tally.of(k)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d |\n", k.name, len(took), lost[fault], sum(lost)-lost[fault],
			quantile(took, 0.5).Milliseconds(), quantile(took, 0.99).Milliseconds(), quantile(took, 1).Milliseconds())
	}
	b.WriteString("\n| streams | opened | events or echoes | ended in order | cut by kill -9 | the gateway's fault |\n| --- | --: | --: | --- | --: | --: |\n")
	for _, k := range []*kind{sse, socket} {
		lost := r.tally.of(k)
		fmt.Fprintf(&b, "| %s | %d | %d | %s | %d | %d |\n", k.name, r.tally.asked[k], r.tally.events[k], listed(r.tally.ends[k]), lost[streamCut], lost[fault])
	}
	reasons := make(map[verdict]int)
	for _, l := range r.tally.losses {
		if l.verdict != fault && !l.kind.stream {
			reasons[l.verdict]++
		}
	}
	b.WriteString("\n| why a request could not be saved | requests |\n| --- | --: |\n")
	for _, why := range slices.Sorted(maps.Keys(reasons)) {
		fmt.Fprintf(&b, "| %s | %d |\n", why, reasons[why])
	}
	fmt.Fprintf(&b, `
The gateway's process with one replica and nobody asking, before and after: %d and %d open files, %d and %d goroutines, %.1f and %.1f MiB resident.

Others worked on the machine meanwhile: the times say how long what was saved took at most, and compare with nothing.

- edge %s
`, r.before.files, r.after.files, r.before.goroutines, r.after.goroutines, mebibytes(r.before.resident), mebibytes(r.after.resident), version)
	for _, fact := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", fact.Name, fact.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./churn -most %d -replacements %d -at-once %d -visitors %d -streams %d -seed %d -drain %s -kills %s`\n",
		o.most, o.replacements, o.atOnce, o.visitors, o.streams, o.seed, o.drain, o.kills)
	return b.String()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func sum[K comparable](counts map[K]int) (n int) {
	for _, each := range counts {
		n += each
	}
	return n
}

// listed is "3 end of the stream, 2 by the client".
func listed(counts map[string]int) string {
	var parts []string
	for _, how := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprint(counts[how], " ", how))
	}
	return strings.Join(parts, ", ")
}
