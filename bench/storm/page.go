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

// row is how a contestant did.
type row struct {
	name   string
	storms []storm
	starts []started
}

// edgeFailed is an error if edge asked the origin more than once for what may be stored,
// gave anybody another's answer, or failed anybody.
func edgeFailed(rows []row) error {
	for _, r := range rows {
		if !strings.HasPrefix(r.name, "edge") {
			continue
		}
		for _, s := range r.storms {
			switch times := len(s.longest); {
			case s.failed > 0:
				return fmt.Errorf("%s, %s: %d of %d failed: %w", r.name, s.title, s.failed, s.answers, s.why)
			case s.shared > 0:
				return fmt.Errorf("%s, %s: %d of %d got another's answer", r.name, s.title, s.shared, s.answers)
			case s.storable && s.fetches != times:
				return fmt.Errorf("%s, %s: the origin was asked %d times in %d storms: want once in each", r.name, s.title, s.fetches, times)
			}
		}
	}
	return nil
}

// waits are how long somebody had to, at most.
type waits struct {
	once    time.Duration // in the storms in which each asks for a page of their own: one round trip
	longest time.Duration // in all others
	failed  int           // who waited in vain
}

func (r row) waits() (w waits) {
	for _, s := range r.storms {
		w.failed += s.failed
		if longest := slices.Max(s.longest); s.apart {
			w.once = max(w.once, longest)
		} else {
			w.longest = max(w.longest, longest)
		}
	}
	return w
}

// withinTwo: everybody had an answer after one round trip too many, or sooner.
func (w waits) withinTwo() bool { return w.failed == 0 && w.longest <= 2*w.once }

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/1e6) }

// median and range of some times, in milliseconds.
func spread(times []time.Duration) string {
	times = slices.Sorted(slices.Values(times))
	if len(times) == 0 {
		return "–"
	}
	return fmt.Sprintf("%s (%s–%s)", ms(measure.Quantile(times, 0.5)), ms(times[0]), ms(times[len(times)-1]))
}

// page writes the results.
func page(o options, versions map[string]string, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# The storm

What happens when %d clients ask for one page at once, which the origin takes %s for? If it may be stored, the origin should be asked once. If not, each must get an answer of its own, and nobody should wait longer than for two: one until it is known that the page is nobody else's, and one for the client's own. Written by `+"`make bench-storm`"+`; README.md says how.
`, o.clients, o.takes)
	for i, k := range kinds {
		writeStorms(&b, i, k, rows)
	}
	writeWaits(&b, rows)
	writeStarts(&b, o, rows)
	b.WriteString("\nEach contestant has one CPU; clients and origin share the other, so what a thousand connections take of it is in every time. The configurations are those of RESULTS.md, in `peers/`, but for the limit of 200 requests at a time that edge has for a replica: it is lifted, as the others have none.\n\n")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, versions[name])
	}
	for _, f := range machine.Known(append(machine.Facts(), machine.Load())...) {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./storm -clients %d -rounds %d -starts %d -takes %s`\n", o.clients, o.rounds, o.starts, o.takes)
	return b.String()
}

// writeStorms writes what became of the i-th kind.
func writeStorms(b *strings.Builder, i int, k kind, rows []row) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n\n| | storms | fetches | got another's | failed | half waited ms | 99 %% waited ms | the last of a storm, ms: median (range) |\n| --- | --: | --: | --: | --: | --: | --: | --: |\n", k.title, k.about)
	for _, r := range rows {
		s := r.storms[i]
		fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %s | %s | %s |\n", r.name, len(s.longest), s.fetches, s.shared, s.failed,
			ms(measure.Quantile(s.took, 0.5)), ms(measure.Quantile(s.took, 0.99)), spread(s.longest))
	}
}

func writeWaits(b *strings.Builder, rows []row) {
	b.WriteString("\n## Who waits for two at most\n\nThe longest wait of all storms over one page, beside that of the storms in which each asks for a page of their own, which is one round trip in such a crowd.\n\n| | one round trip ms | longest wait ms | all had an answer within two |\n| --- | --: | --: | --- |\n")
	for _, r := range rows {
		w, verdict := r.waits(), "no"
		if w.withinTwo() {
			verdict = "yes"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", r.name, ms(w.once), ms(w.longest), verdict)
	}
}

func writeStarts(b *strings.Builder, o options, rows []row) {
	fmt.Fprintf(b, "\n## Start\n\nFrom the start of the process, of an empty cache, until the first answer and the first hit, asked for every millisecond; %d starts, medians and ranges in ms.\n\n| | first answer | first hit |\n| --- | --: | --: |\n", o.starts)
	for _, r := range rows {
		var answers, hits []time.Duration
		for _, s := range r.starts {
			answers, hits = append(answers, s.answer), append(hits, s.hit)
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", r.name, spread(answers), spread(hits))
	}
}
