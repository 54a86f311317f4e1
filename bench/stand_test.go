package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/process"
	"github.com/edgegw/edge/bench/report"
	"github.com/edgegw/edge/bench/workloads"
)

func TestFreeAddresses(t *testing.T) {
	addresses, err := gateway.Addresses(20)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, address := range addresses {
		if seen[address] {
			t.Errorf("%s twice", address)
		}
		seen[address] = true
		if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
			t.Errorf("%s: want a loopback address", address)
		}
	}
}

// testPlan has two kinds of workload, and a peer with a way for each.
func testPlan() plan {
	p := plan{options: options{rounds: 2, seconds: 3, warmup: 1, serverCPU: 4, clientCPU: 6}, command: "go run . -rounds 2"}
	p.workloads = []workloads.Workload{
		{Name: "small", About: "Small", Kind: workloads.Hit, Sizes: []int{1024}, Metrics: []*measure.Metric{measure.P50}},
		{Name: "large", About: "Large", Kind: workloads.Hit, Sizes: []int{4096, 1024}},
		{Name: "through", About: "Through", Kind: workloads.Pass, Sizes: []int{512}},
	}
	return p
}

func TestStandServesTheObjectsOfAllWorkloads(t *testing.T) {
	s := &stand{plan: testPlan()}
	got := s.sizes()
	if len(got) != 3 || got[0] != 512 || got[1] != 1024 || got[2] != 4096 {
		t.Errorf("got %v, want each size once: 512, 1024, 4096", got)
	}
}

func TestRowsTakePartByKind(t *testing.T) {
	hit, pass := peers.Way{Name: "cache", Kind: workloads.Hit}, peers.Way{Name: "proxy", Kind: workloads.Pass}
	p := testPlan()
	s := &stand{plan: p, rows: []*row{{way: hit}, {way: pass}}}
	for i, want := range []string{"cache", "cache", "proxy"} {
		rows := s.rowsOf(p.workloads[i])
		if len(rows) != 1 || rows[0].way.Name != want {
			t.Errorf("%s: got %d rows, want the one named %s", p.workloads[i].Name, len(rows), want)
		}
	}
	if takesPart(pass, p.workloads[:2]) {
		t.Error("a proxy that no workload asks for would be started")
	}
}

func TestDocumentHoldsEverySample(t *testing.T) {
	s := &stand{plan: testPlan(), versions: []report.Fact{{Name: "nginx", Value: "1.2.3"}}}
	s.rows = []*row{{
		peer:    peers.Peer{Name: "nginx"},
		way:     peers.Way{Name: "cache", About: "proxy_cache", Kind: workloads.Hit},
		samples: map[string][]measure.Sample{"small": {{measure.P50: 1}, {measure.P50: 3}}, "large": {{}, {}}},
	}}
	var b bytes.Buffer
	if err := s.document([]report.Fact{{Name: "Kernel", Value: "6.1"}}).Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"by `go run . -rounds 2`", "pinned to CPU 4", "share CPU 6", "1 s of warm-up, 3 s measured, 2 rounds",
		"| nginx cache | 2.00 |", "## through", "- nginx cache: proxy_cache", "- nginx: 1.2.3", "- Kernel: 6.1", "of 4 samples",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in\n%s", want, b.String())
		}
	}
}

func TestWriteReplacesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "RESULTS.md")
	for _, command := range []string{"first", "second"} {
		if err := write(path, report.Document{Command: command}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), command) {
			t.Errorf("got %q, %v; want the %s document", text, err, command)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("got %v, %v; want the results, their plot and nothing else", left, err)
	}
	if err := write(filepath.Join(dir, "gone", "RESULTS.md"), report.Document{}); err == nil {
		t.Error("want an error when the folder does not exist")
	}
}

func TestAwaitReadyGivesUpOnAPeerThatEnded(t *testing.T) {
	cpus, err := process.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(process.Command{
		Name: "nginx cache", Path: "/bin/sh", Args: []string{"-c", "echo unknown directive; exit 1"}, Dir: t.TempDir(), CPU: cpus[0],
	})
	if err != nil {
		t.Fatal(err)
	}
	addresses, err := gateway.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	err = awaitReady(t.Context(), p, "nginx cache", "http://"+addresses[0])
	if err == nil || !strings.Contains(err.Error(), "nginx cache") || !strings.Contains(err.Error(), "unknown directive") {
		t.Errorf("got %v: want which peer, and what it said", err)
	}
}

func TestWhatRunsIsRenewedAndEnded(t *testing.T) {
	cpus, err := process.Allowed()
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{plan: plan{options: options{serverCPU: cpus[0]}}, originURL: "http://127.0.0.1:1", binaries: map[string]string{"shell": "/bin/sh"}}
	if err := s.makeFolders(); err != nil {
		t.Fatal(err)
	}
	up := &row{peer: peers.Peer{Name: "shell"}, way: peers.Way{Name: "idle", Configure: func(setup peers.Setup) peers.Config {
		return peers.Config{File: "script", Text: "exec tail -f /dev/null\n", Args: []string{"script"}}
	}}}
	s.rows = []*row{up}
	if err := s.renew(); err != nil {
		t.Fatal(err)
	}
	first, left := up.server, filepath.Join(s.folder(up), "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.renew(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.Exited():
	default:
		t.Error("the first process still runs")
	}
	if _, err := os.Stat(left); up.server == first || !os.IsNotExist(err) {
		t.Errorf("the second process has what the first left: %v", err)
	}
	s.rows = append(s.rows, &row{}) // this one was never started
	if err := s.close(); err != nil {
		t.Error(err)
	}
	select {
	case <-up.server.Exited():
	default:
		t.Error("the server still runs")
	}
	for _, dir := range []string{s.disk, s.memory} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: got %v, want it gone", dir, err)
		}
	}
}
