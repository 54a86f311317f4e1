package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/internal/purge/history"
)

const (
	// available is which share of all requests must get its answer.
	available = 0.999
	// growth is what the process may hold at the end, of what it held before.
	growth = 1.15
	// spareBytes is how much more than that it may hold in any case.
	spareBytes = 16 << 20
)

// judge holds what readers got against what was promised meanwhile.
func (j *journal) judge() { j.violations = j.history.Violations() }

// failed are the readers' requests without an answer.
func (j *journal) failed() []history.Violation { return history.Unanswered(j.violations) }

// availability is the share of the requests, of readers and of visitors, that got
// their whole answer.
func (j *journal) availability(t *tally) (share float64, asked, lost int) {
	asked, lost = sum(t.asked)+len(j.history.Reads), len(t.losses)+len(j.failed())
	return 1 - float64(lost)/float64(max(1, asked)), asked, lost
}

// verdict is an error if a promise was broken, or nothing was shown.
func (j *journal) verdict(t *tally) error {
	var errs []error
	if share, asked, lost := j.availability(t); share < available {
		errs = append(errs, fmt.Errorf("%d of %d requests got no answer: %.3f %% did: want %.1f", lost, asked, 100*share, 100*available))
	}
	if n := len(j.violations); n > 0 {
		errs = append(errs, fmt.Errorf("%d answers to readers that should not have been: %v", n, j.violations[:min(n, 10)]))
	}
	if lies := j.commands.Lies(); len(lies) > 0 {
		errs = append(errs, fmt.Errorf("%d exit codes that were not true: %v", len(lies), lies[:min(len(lies), 5)]))
	}
	if purges, deploys := j.history.Acknowledged(); purges < 3 || deploys < 1 {
		errs = append(errs, fmt.Errorf("%d purges and %d deploys were acknowledged: want three and one, or nothing is shown", purges, deploys))
	}
	for _, d := range disturbances {
		if j.done[d.name] == 0 {
			errs = append(errs, fmt.Errorf("%s: never: want it once, or nothing is shown", d.name))
		}
	}
	return errors.Join(append(errs, flat(j.samples))...)
}

// flat is an error if the process held more in the last quarter of the samples
// than in the second: in the first it had to fill its cache.
func flat(samples []sample) error {
	if len(samples) < 8 {
		return fmt.Errorf("%d looks at the process: want eight, or nothing is shown", len(samples))
	}
	quarter := len(samples) / 4
	before, after := middle(samples[quarter:2*quarter]), middle(samples[len(samples)-quarter:])
	var errs []error
	if limit := int64(growth*float64(before.resident)) + spareBytes; after.resident > limit {
		errs = append(errs, fmt.Errorf("%.1f MiB resident in the last quarter, %.1f in the second: want %.1f at most", mebibytes(after.resident), mebibytes(before.resident), mebibytes(limit)))
	}
	for _, held := range []struct {
		name          string
		before, after int
	}{{"goroutines", before.goroutines, after.goroutines}, {"open files", before.files, after.files}} {
		if limit := int(growth*float64(held.before)) + 10*spare; held.after > limit {
			errs = append(errs, fmt.Errorf("%d %s in the last quarter, %d in the second: want %d at most", held.after, held.name, held.before, limit))
		}
	}
	return errors.Join(errs...)
}

// middle is the median of each number.
func middle(samples []sample) footprint {
	var files, goroutines, resident []int64
	for _, s := range samples {
		files, goroutines, resident = append(files, int64(s.files)), append(goroutines, int64(s.goroutines)), append(resident, s.resident)
	}
	median := func(of []int64) int64 { slices.Sort(of); return of[len(of)/2] }
	return footprint{files: int(median(files)), goroutines: int(median(goroutines)), resident: median(resident)}
}

// section is the part of the page that a long run has more.
func (j *journal) section(o options, t *tally) string {
	var b strings.Builder
	share, asked, lost := j.availability(t)
	purges, deploys := j.history.Acknowledged()
	fmt.Fprintf(&b, `## Beside the churn

- **%.4f %%** of %d requests got their whole answer, all visitors taken together; %d did not, each of which is explained above or is the gateway's fault
- %d visitors with a connection of their own each asked for a page a minute, %d readers all the time: %d answers, **%d of them stale** after a purge or a deploy had been acknowledged, %d missing
- %d of %d deploys and %d of %d purges were acknowledged with exit code 0; %d exit codes contradicted what was the case

| what befell the gateway | times |
| --- | --: |
`, 100*share, asked, lost, o.crowd, readers, len(j.history.Reads), len(j.violations)-len(j.failed()), len(j.failed()),
		deploys, len(j.history.Deploys), purges, len(j.history.Purges), len(j.commands.Lies()))
	for _, d := range disturbances {
		fmt.Fprintf(&b, "| %s | %d |\n", d.name, j.done[d.name])
	}
	b.WriteString("\n" + gateway.ExitTable(j.commands.Exits()))
	b.WriteString("\n| the gateway's process, medians | MiB resident | goroutines | open files |\n| --- | --: | --: | --: |\n")
	if len(j.samples) > 0 {
		parts := min(12, len(j.samples))
		for i := range parts {
			of := j.samples[i*len(j.samples)/parts : (i+1)*len(j.samples)/parts]
			m := middle(of)
			fmt.Fprintf(&b, "| until minute %.1f | %.1f | %d | %d |\n", of[len(of)-1].at.Sub(j.samples[0].at).Minutes(), mebibytes(m.resident), m.goroutines, m.files)
		}
	}
	b.WriteString("\n")
	return b.String()
}
