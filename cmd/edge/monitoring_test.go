package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const monitoring = "../../docs/monitoring"

func TestAlertRulesFireWhenTheyShould(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		c := exec.Command("promtool", args...)
		c.Dir = monitoring
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all are the first groups of a pattern's matches.
func all(pattern, text string) (found []string) {
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

func TestEveryAlertIsTestedAndHasARunbook(t *testing.T) {
	rules, tests := read(t, monitoring+"/alerts.yml"), read(t, monitoring+"/alerts_test.yml")
	alerts := all(`(?m)^ +- alert: (\w+)$`, rules)
	if len(alerts) < 10 {
		t.Fatalf("found the alerts %q: want all of the file's", alerts)
	}
	runbooks := make(map[string]bool)
	for _, alert := range alerts {
		runbooks[alert+".md"] = true
		if !strings.Contains(rules, "runbook: runbooks/"+alert+".md\n") {
			t.Errorf("%s links no runbook of its name", alert)
		}
		if !strings.Contains(tests, "alertname: "+alert+"\n        exp_alerts:\n") {
			t.Errorf("%s: no test in alerts_test.yml has it fire", alert)
		}
		page := read(t, "../../docs/runbooks/"+alert+".md")
		for _, part := range []string{"# " + alert + "\n", "## Symptom\n", "## What tells more\n", "## Remedy\n", "## How to know that it worked\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("docs/runbooks/%s.md: want a part %q", alert, strings.TrimSpace(part))
			}
		}
	}
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if !runbooks[filepath.Base(page)] {
			t.Errorf("%s belongs to no alert", page)
		}
	}
}

// panels are the queries of the Grafana dashboard, by the panel's title.
func panels(t *testing.T) map[string][]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, monitoring+"/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := make(map[string][]string)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries[panel.Title] = append(queries[panel.Title], target.Expr)
		}
		if panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", panel.Title)
		}
	}
	return queries
}

func TestRulesAndDashboardAskForMetricsThatThereAre(t *testing.T) {
	documented := make(map[string]bool)
	for _, name := range all("(?m)^\\| `(edge_[a-z_]+)` \\|", read(t, "../../docs/observability.md")) {
		documented[name] = true
	}
	asked := map[string]string{"alerts.yml": read(t, monitoring+"/alerts.yml")}
	for title, queries := range panels(t) {
		asked["panel "+title] = strings.Join(queries, "\n")
	}
	for where, text := range asked {
		for _, name := range all(`\b(edge_[a-z_]+)`, text) {
			if !documented[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s asks for %s, which docs/observability.md does not know", where, name)
			}
		}
	}
}
