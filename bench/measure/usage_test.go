package measure

import (
	"testing"
	"testing/fstest"
	"time"
)

func TestUsage(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	first := Reading{at: start, machine: 100 * time.Second, server: 10 * time.Second, origin: 5 * time.Second, self: time.Second}
	cases := map[string]struct {
		later  Reading
		client time.Duration
		want   Usage
	}{
		"what is left belongs to others": {
			Reading{start.Add(4 * time.Second), 108 * time.Second, 13 * time.Second, 6 * time.Second, 1500 * time.Millisecond}, 2 * time.Second,
			Usage{Elapsed: 4 * time.Second, Server: 3 * time.Second, Origin: time.Second, Client: 2 * time.Second, Others: 1500 * time.Millisecond},
		},
		"parts that exceed the whole by rounding leave nothing": {
			Reading{start.Add(time.Second), 101 * time.Second, 11 * time.Second, 5 * time.Second, time.Second}, 10 * time.Millisecond,
			Usage{Elapsed: time.Second, Server: time.Second, Client: 10 * time.Millisecond},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := c.later.Since(first, c.client); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if got := (Usage{Elapsed: 4 * time.Second}).Cores(3 * time.Second); got != 0.75 {
		t.Errorf("3 s of CPU in 4 s: got %v cores, want 0.75", got)
	}
}

func TestMeterReadsAllTakingPart(t *testing.T) {
	meter := Meter{Proc: Procfs{fstest.MapFS{
		"stat":    {Data: []byte("cpu  900 0 0 0 0 0 0 0 0 0\n")},
		"10/stat": stat(10, "server", 1, 100, 0, 0, 0),
		"20/stat": stat(20, "origin", 1, 0, 200, 0, 0),
	}}, Server: 10, Origin: 20}
	got, err := meter.Read()
	if err != nil || got.machine != 9*time.Second || got.server != time.Second || got.origin != 2*time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
	meter.Server = 11
	if _, err := meter.Read(); err == nil {
		t.Error("want an error when the server has gone")
	}
}
