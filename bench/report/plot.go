package report

import (
	"fmt"
	"html"
	"io"
	"strings"

	"github.com/edgegw/edge/bench/measure"
)

// Sizes of a plot, in pixels.
const (
	plotWidth   = 760
	plotNames   = 170 // for the names of the rows
	plotNumbers = 110 // behind the bars
	plotBar     = 22  // from bar to bar
	plotTitle   = 40  // above the bars of a table
)

// Plot draws the CPU time of a request as an SVG: a group of bars for each
// table, with a line from the smallest to the largest sample. Groups have
// scales of their own.
func (d Document) Plot(w io.Writer) error {
	var b strings.Builder
	height := 10
	for _, t := range d.Tables {
		height = t.plot(&b, height)
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="#fff"/>
%[3]s<text x="10" y="%[4]d" fill="#666" font-size="11">%[5]s, %[6]s</text>
</svg>
`, plotWidth, height+30, b.String(), height+16, "Server CPU time a request, µs: medians, smallest and largest sample", d.Date.UTC().Format("2006-01-02"))
	return err
}

// plot draws one table from a height on, and returns that below it.
func (t Table) plot(b *strings.Builder, top int) int {
	var most float64
	for _, r := range t.Rows {
		if s, ok := measure.Summarise(r.Samples, measure.CPUPerRequest); ok {
			most = max(most, s.Max)
		}
	}
	if most == 0 {
		return top
	}
	scale := (plotWidth - plotNames - plotNumbers) / most
	fmt.Fprintf(b, "<text x=\"10\" y=\"%d\" font-weight=\"bold\">%s</text>\n", top+24, html.EscapeString(t.About))
	y := top + plotTitle
	for _, r := range t.Rows {
		s, ok := measure.Summarise(r.Samples, measure.CPUPerRequest)
		if !ok {
			continue
		}
		colour := "#b0bec5"
		if r.Peer == Subject {
			colour = "#1e88e5"
		}
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", plotNames-8, y+12, html.EscapeString(r.name()))
		fmt.Fprintf(b, "<rect x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"14\" fill=\"%s\"/>\n", plotNames, y, s.Median*scale, colour)
		fmt.Fprintf(b, "<path d=\"M%.1f %dH%.1f\" stroke=\"#37474f\"/>\n", plotNames+s.Min*scale, y+7, plotNames+s.Max*scale)
		fmt.Fprintf(b, "<text x=\"%.1f\" y=\"%d\">%s</text>\n", plotNames+s.Max*scale+6, y+12, number(s.Median, 1))
		y += plotBar
	}
	return y
}
