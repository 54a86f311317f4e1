package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/machine"
	"github.com/edgegw/edge/bench/measure"
)

// page writes the results.
func page(o options, version string, r result) string {
	var b strings.Builder
	said := "kept"
	if err := r.verdict(); err != nil {
		said = "NOT kept: " + err.Error()
	}
	title, target := "The churn", "make churn"
	if o.long() {
		title, target = "The long run", "make soak"
	}
	fmt.Fprintf(&b, `# %s

Does a visitor lose anything when replicas come, go and are killed? Nothing that may be asked for again, and nothing when a replica leaves in good order, is the promise. Written by `+"`%s`"+`; README.md says how.

**%s**: %d requests and streams in %s, %d of them lost by the gateway's fault.

- 1 → %d → 1 replicas, %d rolling replacements at that size, %d at a time; %d replicas in all, %d at most at a time
- %d times `+"`kill -9`"+`, at random
- %d requests were sent again to another replica by the pool

`, title, target, said, sum(r.tally.asked), r.took.Round(time.Second), len(r.tally.faults()), o.most, sum(r.manners)-o.most+1, o.atOnce, r.started, r.most, r.kills, r.retries)

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
			measure.Quantile(took, 0.5).Milliseconds(), measure.Quantile(took, 0.99).Milliseconds(), measure.Quantile(took, 1).Milliseconds())
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
	b.WriteString("\n")
	if r.journal != nil {
		b.WriteString(r.journal.section(o, r.tally))
	}
	fmt.Fprintf(&b, `The gateway's process with one replica and nobody asking, before and after: %d and %d open files, %d and %d goroutines, %.1f and %.1f MiB resident.

Others worked on the machine meanwhile: the times say how long what was saved took at most, and compare with nothing.

- edge %s
`, r.before.files, r.after.files, r.before.goroutines, r.after.goroutines, mebibytes(r.before.resident), mebibytes(r.after.resident), version)
	for _, fact := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", fact.Name, fact.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./churn %s`\n", strings.Join(o.said(), " "))
	return b.String()
}

// said are the arguments of the run.
func (o options) said() []string {
	args := []string{"-most", fmt.Sprint(o.most), "-at-once", fmt.Sprint(o.atOnce), "-visitors", fmt.Sprint(o.visitors),
		"-streams", fmt.Sprint(o.streams), "-seed", fmt.Sprint(o.seed), "-drain", o.drain.String(), "-kills", o.kills.String()}
	if o.long() {
		return append(args, "-duration", o.duration.String(), "-crowd", fmt.Sprint(o.crowd), "-rest", o.rest.String())
	}
	return append(args, "-replacements", fmt.Sprint(o.replacements))
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
