package caddymodule

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

const metricsPage = "../docs/observability.md"

// described matches what a metric says of itself: its name and its labels.
var described = regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// metricLabels gives each metric's labels, as the page has them.
func metricLabels(t *testing.T) map[string]string {
	t.Helper()
	all := make(chan *prometheus.Desc)
	go func() {
		defer close(all)
		for _, c := range collectors() {
			c.Describe(all)
		}
	}()
	labels := make(map[string]string)
	for d := range all {
		found := described.FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("%s: want a name and labels in it", d)
		}
		quoted := ""
		if found[2] != "" {
			quoted = "`" + strings.ReplaceAll(found[2], ",", "`, `") + "`"
		}
		labels[found[1]] = quoted
	}
	return labels
}

// declared finds every name of a metric in metrics.go, registered or not.
func declared(t *testing.T) []string {
	t.Helper()
	var source []byte
	for _, file := range []string{"metrics.go", "visits.go", "errors.go", "fleet_metrics.go", "shared_metrics.go", "backup_metrics.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, text...)
	}
	var names []string
	for _, found := range regexp.MustCompile(`"(edge_[a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		names = append(names, found[1])
	}
	return names
}

func TestEveryMetricIsExplainedAndNoOther(t *testing.T) {
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	labels := metricLabels(t)
	for _, name := range declared(t) {
		if _, known := labels[name]; !known {
			t.Errorf("%s is declared in metrics.go: want it described, and here", name)
		}
	}
	row := regexp.MustCompile("(?m)^\\| `(edge_[a-z_]+)` \\| (?:counter|counter ●|gauge|histogram) \\| ?(.*?) ?\\| (.+) \\|$")
	explained := make(map[string]bool)
	for _, found := range row.FindAllStringSubmatch(string(page), -1) {
		name, written := found[1], found[2]
		explained[name] = true
		if want, known := labels[name]; !known {
			t.Errorf("%s: %s is no metric: remove its row", metricsPage, name)
		} else if written != want {
			t.Errorf("%s: %s has labels %q: want %q", metricsPage, name, written, want)
		}
	}
	for name := range labels {
		if !explained[name] {
			t.Errorf("%s: %s has no row: say its type, labels, unit and meaning", metricsPage, name)
		}
	}
}
