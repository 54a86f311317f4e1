package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/report"
)

// document puts together what was measured.
func (s *stand) document(machine []report.Fact) report.Document {
	d := report.Document{
		Date:       time.Now(),
		Command:    s.plan.command,
		Method:     s.method(),
		Machine:    machine,
		Versions:   s.versions,
		NoisyCores: noisyCores,
	}
	for _, r := range s.rows {
		d.Ways = append(d.Ways, report.Fact{Name: r.name(), Value: r.way.About})
	}
	for _, w := range s.plan.workloads {
		t := report.Table{Name: w.Name, About: w.About, Metrics: w.Metrics}
		for _, r := range s.rowsOf(w) {
			t.Rows = append(t.Rows, report.Row{Peer: r.peer.Name, Way: r.way.Name, Samples: r.samples[w.Name]})
		}
		d.Tables = append(d.Tables, t)
	}
	return d
}

func (s *stand) method() string {
	return fmt.Sprintf(`All peers run at once, each pinned to CPU %d (one worker, GOMAXPROCS=1); load generator and origin share CPU %d.
Every round visits every peer in turn: %d s of warm-up, %d s measured, %d rounds. The numbers are medians over the rounds.
Each round has new processes: one keeps for its life what it got of the machine's memory, up to a fifth of its speed.
The loop is closed, so latencies are latencies at saturation. Where the client's core is full, the load generator is the limit:
trust CPU time a request (user and system time of the server's process tree) more than req/s.
Bodies were compared with the origin's by hash; hits never reached the origin, and pass-through always did.
A sample in which others used more than %.1f cores was taken again, up to %d times, and the cleanest kept.
What a hit costs in the engine alone, its allocations and its locks are in HIT.md; purges in PURGE.md.`,
		s.plan.serverCPU, s.plan.clientCPU, s.plan.warmup, s.plan.seconds, s.plan.rounds, noisyCores, tries-1)
}

// write writes the page and, beside it, its plot: RESULTS.md and RESULTS.svg.
func write(path string, d report.Document) error {
	if path == "-" {
		return d.Write(os.Stdout)
	}
	plot := strings.TrimSuffix(path, filepath.Ext(path)) + ".svg"
	return errors.Join(replace(path, d.Write), replace(plot, d.Plot))
}

// replace replaces a file at once: whoever reads it sees the old results or the
// new ones.
func replace(path string, content func(io.Writer) error) error {
	var b bytes.Buffer
	if err := content(&b); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".results-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already unless something failed
	_, err = f.Write(b.Bytes())
	if err == nil {
		err = f.Chmod(0o644)
	}
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}
