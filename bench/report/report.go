// Package report writes the results as a page of Markdown.
package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/measure"
)

// Baselines are the peers that all others are compared with, by name.
var Baselines = []string{"nginx", "caddy"}

// Subject is the peer whose budget is the CPU time of BudgetBy in the same
// table.
const (
	Subject  = "edge"
	BudgetBy = "caddy"
)

// Fact is a line about how or where the run was made.
type Fact struct {
	Name, Value string
}

// Row is one peer in one table.
type Row struct {
	// Peer and Way name it.
	Peer, Way string
	// Samples, one a round.
	Samples []measure.Sample
}

// Table is the result of one workload.
type Table struct {
	// Name of the workload, and what it is about.
	Name, About string
	Metrics     []*measure.Metric
	Rows        []Row
}

// Document is a whole run.
type Document struct {
	Date time.Time
	// Command that makes the same run again.
	Command string
	// Method in a few sentences: how the numbers below came about.
	Method string
	// Machine, Versions and Ways are lists of facts: where it ran, what ran,
	// and how it was configured.
	Machine, Versions, Ways []Fact
	Tables                  []Table
	// NoisyCores is how much others may have used in a sample before it counts
	// as noisy.
	NoisyCores float64
}

// Write writes the document.
func (d Document) Write(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Peers side by side\n\n")
	fmt.Fprintf(&b, "%s, by `%s`.\n\n", d.Date.UTC().Format("2006-01-02 15:04 MST"), d.Command)
	if d.Method != "" {
		b.WriteString(d.Method + "\n\n")
	}
	d.writeBudgets(&b)
	d.writeNoise(&b)
	for _, t := range d.Tables {
		t.write(&b)
	}
	writeFacts(&b, "Configurations", d.Ways)
	writeFacts(&b, "Versions", d.Versions)
	writeFacts(&b, "Machine", d.Machine)
	_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return err
}

func writeFacts(b *strings.Builder, title string, facts []Fact) {
	if len(facts) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n", title)
	for _, f := range facts {
		fmt.Fprintf(b, "- %s: %s\n", f.Name, f.Value)
	}
	b.WriteString("\n")
}

// writeBudgets says at the top whether the subject costs more CPU than it may.
func (d Document) writeBudgets(b *strings.Builder) {
	var lines []string
	for _, t := range d.Tables {
		for _, r := range t.Rows {
			if r.Peer != Subject {
				continue
			}
			if line, ok := t.budget(r); ok {
				lines = append(lines, line)
			}
		}
	}
	if len(lines) == 0 {
		return
	}
	b.WriteString("## Budget: no more CPU for a request than stock Caddy\n\n" + strings.Join(lines, "\n") + "\n\n")
}

// budget compares medians; that the ranges overlap is said, but excuses
// nothing.
func (t Table) budget(r Row) (line string, ok bool) {
	own, ok := measure.Summarise(r.Samples, measure.CPUPerRequest)
	limit, ok2 := t.baseline(BudgetBy, measure.CPUPerRequest)
	if !ok || !ok2 {
		return "", false
	}
	verdict := "kept"
	if own.Median > limit.Median {
		verdict = "**exceeded**"
		if own.Min <= limit.Max {
			verdict += ", within the spread"
		}
	}
	return fmt.Sprintf("- %s, %s: %s µs against %s: %s", t.Name, r.name(),
		number(own.Median, 1), number(limit.Median, 1), verdict), true
}

// writeNoise says, before the tables, how far they can be trusted.
func (d Document) writeNoise(b *strings.Builder) {
	noisy, all := 0, 0
	for _, t := range d.Tables {
		for _, r := range t.Rows {
			for _, s := range r.Samples {
				all++
				if s[measure.OtherCores] > d.NoisyCores {
					noisy++
				}
			}
		}
	}
	fmt.Fprintf(b, "Failed requests: 0. Others used more than %.1f cores in %d of %d samples.\n\n", d.NoisyCores, noisy, all)
}

func (r Row) name() string { return r.Peer + " " + r.Way }

func (t Table) write(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\n%s.\n\n", t.Name, strings.TrimSuffix(t.About, "."))
	head, rule := []string{"peer"}, []string{"---"}
	for _, m := range t.Metrics {
		name := m.Name
		if m.Spread {
			name += " (min–max)"
		}
		head, rule = append(head, name), append(rule, "--:")
		if m.Ratios {
			for _, baseline := range Baselines {
				head, rule = append(head, "vs "+baseline), append(rule, "--:")
			}
		}
	}
	writeCells(b, head)
	writeCells(b, rule)
	for _, r := range t.Rows {
		writeCells(b, t.cells(r))
	}
	b.WriteString("\n")
}

func (t Table) cells(r Row) []string {
	cells := []string{r.name()}
	for _, m := range t.Metrics {
		summary, ok := measure.Summarise(r.Samples, m)
		cells = append(cells, summaryText(summary, ok, m))
		if !m.Ratios {
			continue
		}
		for _, baseline := range Baselines {
			text := "–"
			if ratio, ok := t.ratio(r, m, baseline); ok {
				text = ratioText(ratio)
			}
			cells = append(cells, text)
		}
	}
	return cells
}

// baseline sums up the first row of a baseline peer.
func (t Table) baseline(peer string, m *measure.Metric) (measure.Summary, bool) {
	i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Peer == peer })
	if i < 0 {
		return measure.Summary{}, false
	}
	return measure.Summarise(t.Rows[i].Samples, m)
}

// ratio compares medians with those of a baseline peer.
func (t Table) ratio(r Row, m *measure.Metric, peer string) (float64, bool) {
	base, ok := t.baseline(peer, m)
	own, ok2 := measure.Summarise(r.Samples, m)
	if !ok || !ok2 || base.Median <= 0 {
		return 0, false
	}
	return own.Median / base.Median, true
}

func writeCells(b *strings.Builder, cells []string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

func summaryText(s measure.Summary, ok bool, m *measure.Metric) string {
	if !ok {
		return "–"
	}
	text := number(s.Median, m.Digits)
	if m.Spread {
		text += fmt.Sprintf(" (%s–%s)", number(s.Min, m.Digits), number(s.Max, m.Digits))
	}
	return text
}

// ratioText keeps two digits after the point, and three when the first of them
// is a zero.
func ratioText(ratio float64) string {
	if ratio < 0.1 {
		return strconv.FormatFloat(ratio, 'f', 3, 64)
	}
	return strconv.FormatFloat(ratio, 'f', 2, 64)
}

// number groups the digits before the point by thousands.
func number(v float64, digits int) string {
	text := strconv.FormatFloat(v, 'f', digits, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	sign := ""
	if rest, ok := strings.CutPrefix(whole, "-"); ok {
		sign, whole = "-", rest
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if digits > 0 {
		whole += "." + fraction
	}
	return sign + whole
}
