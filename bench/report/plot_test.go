package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/edgegw/edge/bench/measure"
)

func TestThePlotHasABarForEachRow(t *testing.T) {
	sample := func(cpu float64) measure.Sample { return measure.Sample{measure.CPUPerRequest: cpu} }
	d := Document{Tables: []Table{
		{About: "Hits, 1 KiB & more", Rows: []Row{
			{Peer: "edge", Way: "cache", Samples: []measure.Sample{sample(10), sample(12), sample(20)}},
			{Peer: "nginx", Way: "cache", Samples: []measure.Sample{sample(24)}},
		}},
		{About: "Nothing measured", Rows: []Row{{Peer: "edge", Way: "none"}}},
	}}
	var b strings.Builder
	if err := d.Plot(&b); err != nil {
		t.Fatal(err)
	}
	// The largest sample, 24, takes 760-170-110 = 480 pixels: 20 for each µs.
	for _, want := range []string{
		`width="240.0" height="14" fill="#1e88e5"`, // edge: 12 in the median
		`M370.0 57H570.0`,                          // from 10 to 20
		`width="480.0" height="14" fill="#b0bec5"`, // nginx
		`Hits, 1 KiB &amp; more`, `>edge cache<`, `>12.0<`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "Nothing measured") {
		t.Error("a table without numbers is drawn")
	}
	for decoder := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("no XML: %v", err)
		}
	}
}
