package workloads

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/bench/measure"
)

func TestEveryWorkloadIsWhole(t *testing.T) {
	var names []string
	for _, w := range All() {
		names = append(names, w.Name)
		if w.About == "" || w.Measure == nil || len(w.Sizes) == 0 || len(w.Metrics) == 0 {
			t.Errorf("%s: want a title, objects, metrics and a way to measure", w.Name)
		}
		if w.Kind != Hit && w.Kind != SecureHit && w.Kind != QuicHit && w.Kind != Pass && w.Kind != Mixed {
			t.Errorf("%s: unknown kind %q", w.Name, w.Kind)
		}
	}
	if got, want := strings.Join(names, " "), "hit-1k hit-16k hit-256k hit-4m hit-1k-h3x1 hit-1k-h3x16 hit-16k-h3x1 hit-16k-h3x16 hit-256k-h3x1 hit-256k-h3x16 hit-1k-h2x1 hit-1k-h2x16 hit-1k-tls hit-16k-h2x1 hit-16k-h2x16 hit-16k-tls hit-256k-h2x1 hit-256k-h2x16 hit-256k-tls hit-4m-h2x1 hit-4m-tls mix pass-1k post-16k pass-1m"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestClosedLoopRejectsWrongAnswers(t *testing.T) {
	clean := measure.LoadResult{Requests: 1000, Bytes: 1000 * 1200, Elapsed: time.Second}
	cut := clean
	cut.Bytes = 1000 * 900
	failed := clean
	failed.Errors = 1
	cases := map[string]struct {
		kind    Kind
		result  measure.LoadResult
		fetches int64
		ok      bool
	}{
		"hits: the origin is not asked":                       {Hit, clean, 0, true},
		"hits: one fetch is one too many":                     {Hit, clean, 1, false},
		"pass: a fetch for each request":                      {Pass, clean, 1000, true},
		"pass: fetches cut off when the time was up":          {Pass, clean, 1064, true},
		"pass: an answer that did not come from the origin":   {Pass, clean, 999, false},
		"mix: a fetch for each tenth":                         {Mixed, clean, 103, true},
		"mix: what may not be stored is":                      {Mixed, clean, 80, false},
		"mix: what may be stored is not":                      {Mixed, clean, 300, false},
		"a request that failed":                               {Hit, failed, 0, false},
		"nothing answered":                                    {Hit, measure.LoadResult{Elapsed: time.Second}, 0, false},
		"fewer bytes than the bodies have: something was cut": {Hit, cut, 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := closedLoop{kind: c.kind, size: 1024}.check(c.result, c.fetches)
			if (err == nil) != c.ok {
				t.Errorf("got %v, want ok %v", err, c.ok)
			}
		})
	}
}

func TestClosedLoopSample(t *testing.T) {
	got := closedLoop{}.sample(
		measure.LoadResult{Requests: 100_000, Elapsed: 2 * time.Second, P50: 500 * time.Microsecond, P99: 3 * time.Millisecond},
		measure.Usage{Elapsed: 2 * time.Second, Server: 1500 * time.Millisecond, Client: time.Second, Others: 100 * time.Millisecond},
	)
	want := measure.Sample{
		measure.RequestsPerSecond: 50_000,
		measure.P50:               0.5,
		measure.P99:               3,
		measure.CPUPerRequest:     15, // 1.5 s / 100,000
		measure.ServerCores:       0.75,
		measure.ClientCores:       0.5,
		measure.OriginCores:       0,
		measure.OtherCores:        0.05,
	}
	for metric, value := range want {
		if got[metric] != value {
			t.Errorf("%s: got %v, want %v", metric.Name, got[metric], value)
		}
	}
	for _, metric := range closedLoopMetrics(Pass) {
		if _, ok := got[metric]; !ok {
			t.Errorf("%s: a column without a value", metric.Name)
		}
	}
	if slices.Contains(closedLoopMetrics(Hit), measure.OriginCores) {
		t.Error("among hits the origin has nothing to do: want no column for it")
	}
}
