package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// row is how a contestant did.
type row struct {
	name  string
	cells []cell // by scenario
	// schedules played, and lost: those in which something stale was served.
	schedules, lost int
	tally           tally
}

// cell is how one scenario went.
type cell struct{ tries, lost, absent int }

func (c *cell) add(v verdict) {
	switch v {
	case lost:
		c.lost++
	case absent:
		c.absent++
	}
}

func (c cell) String() string {
	if c.absent == c.tries {
		return "–"
	}
	return fmt.Sprintf("%d of %d", c.lost, c.tries-c.absent)
}

// edgeLost is an error if edge served anything that was purged, or nothing was
// played.
func edgeLost(rows []row) error {
	for _, r := range rows {
		if !strings.HasPrefix(r.name, "edge") {
			continue
		}
		for i, c := range r.cells {
			if c.lost > 0 {
				return fmt.Errorf("%s lost the race %q %d times", r.name, scenarios[i].name, c.lost)
			}
			if c.absent > 0 {
				return fmt.Errorf("%s did not take part in %q", r.name, scenarios[i].name)
			}
		}
		if r.tally.stale > 0 {
			return fmt.Errorf("%s served %d stale answers in %d schedules", r.name, r.tally.stale, r.lost)
		}
	}
	return nil
}

// page writes the results.
func page(o options, versions map[string]string, rows []row) string {
	var b strings.Builder
	b.WriteString(`# The race

Who serves what was purged? A fetch begins; its page is changed and purged, and the purge is acknowledged; then the fetch's answer arrives. Whoever asks from then on must get the new page. Written by ` + "`make bench-race`" + `; README.md says how.

How often the old page was served to somebody who asked after the purge was acknowledged:

`)
	b.WriteString("| purged in |")
	for _, s := range scenarios {
		b.WriteString(" " + s.name + " |")
	}
	b.WriteString(" random schedules lost | old pages served | of answers | of them hits |\n|---|" + strings.Repeat("---|", len(scenarios)+4) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |", r.name)
		for _, c := range r.cells {
			fmt.Fprintf(&b, " %s |", c)
		}
		share := 0
		if r.tally.answers > 0 {
			share = 100 * r.tally.hits / r.tally.answers
		}
		fmt.Fprintf(&b, " %d of %d | %d | %d | %d %% |\n", r.lost, r.schedules, r.tally.stale, r.tally.answers, share)
	}
	b.WriteString("\n\"–\" stands for what the contestant does not do.\n\n## Scenarios\n")
	for _, s := range scenarios {
		fmt.Fprintf(&b, "- **%s** (`%s`): %s\n", s.name, s.control, s.about)
	}
	fmt.Fprintf(&b, "- **random schedules**: seeds %d to %d; in each, six visitors ask 96 times for three pages, which two others purge ten times, at random moments; the origin takes up to 8 ms for each half of an answer.\n", o.seed, o.seed+uint64(max(o.schedules, 1))-1)
	b.WriteString("\n## Contestants\n")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(&b, "- %s %s\n", name, versions[name])
	}
	b.WriteString("\nVarnish: `PURGE` is `return (purge)`, the bans are of the lurker's kind, on fields of the stored object. nginx: the open source version has no purge, so the file is deleted in which it keeps the page. Configurations are in `race/contestants.go`.\n")
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./race -tries %d -schedules %d -seed %d`\n", o.tries, o.schedules, o.seed)
	return b.String()
}
