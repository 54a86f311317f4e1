package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDrain: the only replica is set aside on demand only, and taken back.
func TestDrain(t *testing.T) {
	t.Parallel()
	g := configure(t, origin(t))
	g.start()
	type report struct {
		Pool     string
		Replicas []struct{ Address, Version, State string }
		Exit     int
		Error    string
	}
	drain := func(code int, args ...string) report {
		t.Helper()
		r := g.edge(append([]string{"drain", "--json"}, args...)...)
		var parsed report
		if err := json.Unmarshal([]byte(r.stdout), &parsed); err != nil {
			t.Fatalf("%v: %v\n%s\n%s", args, err, r.stdout, r.stderr)
		}
		if r.code != code || parsed.Exit != code {
			t.Fatalf("%v: exit %d, in JSON %d: want %d\n%s", args, r.code, parsed.Exit, code, r.stderr)
		}
		return parsed
	}
	for _, args := range [][]string{{"--version", "v2"}, {"--version", "v9"}, {"--replica", "nobody"}, {}} {
		if r := drain(2, args...); r.Error == "" {
			t.Errorf("%v: no reason given", args)
		}
	}
	if text, _ := g.page("/a"); !strings.HasPrefix(text, "answer") {
		t.Errorf("%q: want that nothing was done", text)
	}
	if r := drain(0, "--version", "v2", "--force", "--wait", "1m"); r.Pool != "app" || len(r.Replicas) != 1 || r.Replicas[0].State != "drained" {
		t.Errorf("%+v: want it drained", r)
	}
	if text, _ := g.page("/b"); !strings.HasPrefix(text, "No replica") {
		t.Errorf("%q: want the pool's refusal", text)
	}
	if r := drain(0, "--version", "v2", "--undo", "--wait", "1m"); len(r.Replicas) != 1 || r.Replicas[0].State != "up" {
		t.Errorf("%+v: want it up", r)
	}
	if text, _ := g.page("/c"); !strings.HasPrefix(text, "answer") {
		t.Errorf("%q: want it to answer again", text)
	}
}
