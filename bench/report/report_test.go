package report

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/bench/measure"
)

var update = flag.Bool("update", false, "rewrite the golden document")

// row makes a row of req/s and CPU times, each in the order of the rounds.
func row(peer, way string, rps, cpu []float64, others float64) Row {
	r := Row{Peer: peer, Way: way}
	for i := range rps {
		r.Samples = append(r.Samples, measure.Sample{
			measure.RequestsPerSecond: rps[i], measure.CPUPerRequest: cpu[i],
			measure.P50: 0.734, measure.OtherCores: others,
		})
	}
	return r
}

func document() Document {
	metrics := []*measure.Metric{measure.RequestsPerSecond, measure.P50, measure.CPUPerRequest, measure.OtherCores}
	return Document{
		Date:       time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC),
		Command:    "go run . -rounds 3",
		Method:     "In turn, three times.",
		Machine:    []Fact{{"Processor", "2 × Example"}},
		Versions:   []Fact{{"nginx", "1.2.3"}},
		Ways:       []Fact{{"nginx cache", "proxy_cache"}},
		NoisyCores: 0.2,
		Tables: []Table{
			{Name: "hit-1k", About: "Cache hits, 1 KiB", Metrics: metrics, Rows: []Row{
				row("caddy", "respond", []float64{40_000, 44_744, 50_000}, []float64{22, 20, 24}, 0.05),
				row("edge", "cache", []float64{100, 4_000, 3_000}, []float64{11, 10, 12}, 0.3),
				row("edge", "vault", []float64{1, 1, 1}, []float64{23, 23, 23}, 0),
				row("nginx", "cache", []float64{80_000, 90_000, 70_000}, []float64{44, 44, 44}, 0.2),
			}},
			{Name: "pass-1k", About: "Pass-through, 1 KiB.", Metrics: metrics, Rows: []Row{
				row("caddy", "reverse_proxy", []float64{1_234_567}, []float64{100}, 0),
				row("edge", "proxy", []float64{999.6}, []float64{100.5}, 0),
			}},
		},
	}
}

func TestDocument(t *testing.T) {
	var b bytes.Buffer
	if err := document().Write(&b); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/document.golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("differs from %s (rewrite with -update):\n%s", golden, got)
	}
}

// The golden file shows the whole; these are the sums in it, done by hand.
func TestDocumentSays(t *testing.T) {
	var b bytes.Buffer
	if err := document().Write(&b); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		"median, smallest, largest, grouped":        "| 44,744 (40,000–50,000) |",
		"vs nginx: 3,000 / 80,000; vs caddy: 0.067": "| edge cache | 3,000 (100–4,000) | 0.037 | 0.067 |",
		"a baseline is level with itself":           "| nginx cache | 80,000 (70,000–90,000) | 1.00 | 1.79 |",
		"half the CPU":                              "- hit-1k, edge cache: 11.0 µs against 22.0: kept\n",
		"a little over":                             "- pass-1k, edge proxy: 100.5 µs against 100.0: **exceeded**\n",
		"over, but less than the rounds differ":     "- hit-1k, edge vault: 23.0 µs against 22.0: **exceeded**, within the spread\n",
		"no nginx in this table":                    "| edge proxy | 1,000 (1,000–1,000) | – | 0.001 |",
		"0.3 is above 0.2, and 0.2 is not":          "more than 0.2 cores in 3 of 14 samples",
	}
	for name, want := range cases {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(b.String(), want) {
				t.Errorf("want %q in\n%s", want, b.String())
			}
		})
	}
}

func TestNumber(t *testing.T) {
	cases := map[string]struct {
		value  float64
		digits int
		want   string
	}{
		"below a thousand":   {999, 0, "999"},
		"rounded up to one":  {999.5, 0, "1,000"},
		"millions":           {1_234_567, 0, "1,234,567"},
		"digits after it":    {12_345.678, 2, "12,345.68"},
		"a small number":     {0.05, 1, "0.1"},
		"negative thousands": {-123_456, 0, "-123,456"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := number(c.value, c.digits); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
