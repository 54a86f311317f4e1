package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// processes are those that run the binary, by id.
func processes(t *testing.T) (ids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil || len(links) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	for _, link := range links {
		// A process may have ended since, and those of others are not ours to read.
		if program, err := os.Readlink(link); err == nil && strings.HasPrefix(program, binary) {
			ids = append(ids, filepath.Base(filepath.Dir(link)))
		}
	}
	return ids
}

func TestTheDemoPlaysToItsEnd(t *testing.T) {
	before := len(processes(t))
	r := command(t, nil, "demo", "--duration", "20s", "--visitors", "10", "--json")
	var s struct {
		OK              bool
		Visitors        int
		Requests        int
		Failures        int
		FailuresSeen    []string `json:"failures_seen"`
		Hits            int
		StaleAfterPurge int `json:"stale_after_purge"`
		PagesV1         int `json:"pages_v1"`
		PagesV2         int `json:"pages_v2"`
		ReplicasMax     int `json:"replicas_max"`
		Purge           struct {
			ID, State       string
			CloudflareCalls int `json:"cloudflare_calls"`
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("exit %d, stdout is not one JSON object: %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
	}
	if r.code != 0 || !s.OK || s.Failures != 0 || s.StaleAfterPurge != 0 {
		t.Errorf("exit %d, ok %t, %d failures such as %v, %d stale after the purge: want 0, true, none, none\n%s",
			r.code, s.OK, s.Failures, s.FailuresSeen, s.StaleAfterPurge, r.stderr)
	}
	if s.PagesV1 == 0 || s.PagesV2 == 0 || s.Hits == 0 || s.Visitors != 10 || s.Requests < s.PagesV1+s.PagesV2 {
		t.Errorf("%+v: want pages of both versions, and hits", s)
	}
	if s.Purge.State != "done" || s.Purge.ID == "" || s.Purge.CloudflareCalls != 2 || s.ReplicasMax < 4 {
		t.Errorf("purge %+v, %d replicas at most: want done with two calls, four", s.Purge, s.ReplicasMax)
	}
	if left := processes(t); len(left) != before {
		t.Errorf("processes %v are left: want %d", left, before)
	}
}
