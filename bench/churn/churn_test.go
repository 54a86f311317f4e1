package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLossesAreJudgedByWhatBecameOfTheReplica(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(1000+seconds), 0) }
	lives := []life{
		{instance: "r1", id: "a1", how: killed, at: at(10), over: at(11)},
		{instance: "r2", id: "a2", how: planned, at: at(10), over: at(14)},
		{instance: "r3", id: "a3", how: sudden, at: at(10), over: at(11)},
		{instance: "r4", id: "a4"},
		{instance: "r5", id: "a1", how: planned, at: at(20), over: at(21)}, // at r1's address
	}
	lost := func(k *kind, where string, from, to, status int) loss {
		return loss{kind: k, where: where, began: at(from), ended: at(to), status: status}
	}
	cut := func(k *kind, where string, from, to int) loss {
		l := lost(k, where, from, to, 200)
		l.begun = true
		return l
	}
	for name, c := range map[string]struct {
		loss loss
		want verdict
	}{
		"POST at a killed replica":                     {lost(post, "a1", 9, 10, 502), lostToKill},
		"POST that ended before the kill":              {lost(post, "a1", 1, 8, 502), fault},
		"POST that began after the end":                {lost(post, "a1", 13, 14, 502), fault},
		"POST at another process at that address":      {lost(post, "a1", 20, 20, 502), fault},
		"POST with a key at a killed replica":          {lost(keyed, "a1", 9, 10, 502), fault},
		"GET at a killed replica":                      {lost(uncached, "a1", 9, 10, 502), fault},
		"GET cut by a kill":                            {cut(uncached, "r1", 9, 10), answerCut},
		"GET cut at a replica that left in good order": {cut(uncached, "r2", 9, 12), fault},
		"POST at a replica that left in good order":    {lost(post, "a2", 9, 12, 502), fault},
		"POST at a replica that left without notice":   {lost(post, "a3", 9, 10, 502), lostToSudden},
		"POST that the pool refused":                   {lost(post, "a1", 9, 10, 503), fault},
		"POST without any answer":                      {lost(post, "", 9, 10, 0), fault},
		"POST at a replica that is well":               {lost(post, "a4", 9, 10, 502), fault},
		"POST on a connection that a reload closed":    {lost(post, "", 102, 103, 0), fault},
		"POST on a connection closed by itself":        {lost(post, "", 80, 81, 0), fault},
		"POST refused during a reload":                 {lost(post, "", 100, 101, 503), fault},
		"WebSocket on a connection that was closed":    {lost(socket, "", 100, 101, 0), fault},
		"stream cut by a kill":                         {cut(sse, "r1", 1, 10), streamCut},
		"stream cut when its drain was over":           {cut(socket, "r2", 1, 14), fault},
		"stream cut at a replica that is well":         {cut(socket, "r4", 1, 14), fault},
		"stream refused at a killed replica":           {lost(socket, "a1", 10, 10, 502), fault},
		"silent stream at a killed replica":            {lost(sse, "r1", 1, 20, 200), fault},
	} {
		if got := c.loss.judge(lives); got != c.want {
			t.Errorf("%s: %q: want %q", name, got, c.want)
		}
	}
}

// raceEdge builds an edge that notices data races.
func raceEdge(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "edge")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../..", "-race", "-o", binary, "./cmd/edge")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// noRaces fails if the gateway of a stage had data races.
func noRaces(t *testing.T, stage string) {
	t.Helper()
	output, err := os.ReadFile(filepath.Join(stage, "output.log"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(output), "DATA RACE") {
		t.Errorf("the gateway has data races:\n%s", output)
	}
}

// TestNothingIsLostInAShortChurn is the churn on a small scale, on an edge that
// notices data races.
func TestNothingIsLostInAShortChurn(t *testing.T) {
	dir := t.TempDir()
	binary := raceEdge(t, dir)
	o := options{most: 4, replacements: 10, atOnce: 2, visitors: 24, streams: 6, seed: 1, drain: 3 * time.Second, kills: time.Second}
	if err := o.check(); err != nil {
		t.Fatal(err)
	}
	stage := filepath.Join(dir, "stage")
	r, err := play(t.Context(), o, binary, stage)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	for _, k := range kinds {
		if whole := len(r.tally.took[k]); !k.stream && whole < 50 {
			t.Errorf("%s: %d whole answers: want fifty, or nothing is shown", k.name, whole)
		}
		if events := r.tally.events[k]; k.stream && events < 50 {
			t.Errorf("%s: %d events: want fifty, or nothing is shown", k.name, events)
		}
	}
	for _, how := range manners {
		if r.manners[how] == 0 {
			t.Errorf("no replica left by %s", how)
		}
	}
	if r.kills < 3 || r.retries == 0 || r.most < o.most {
		t.Errorf("%d killed, %d requests saved, %d replicas at most: want three, some, and %d", r.kills, r.retries, r.most, o.most)
	}
	noRaces(t, stage)
	if text := page(o, "under test", r); !strings.Contains(text, "**kept**") || !strings.Contains(text, "| WebSocket |") {
		t.Errorf("the page says\n%s", text)
	}
}
