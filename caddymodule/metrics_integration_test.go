package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// samples are the values of a scrape by name and labels, as they are written:
// edge_cache_requests_total{rule="page /*",status="hit"}.
type samples map[string]float64

func scrape(t *testing.T, url string, headers ...string) samples {
	t.Helper()
	return parseSamples(t, scrapeText(t, url, headers...))
}

func scrapeText(t *testing.T, url string, headers ...string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got, err := testClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("scrape %s: %d, %v: %s", url, got.StatusCode, err, text)
	}
	return string(text)
}

func parseSamples(t *testing.T, text string) samples {
	t.Helper()
	all := make(samples)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			t.Fatalf("not a sample: %q: %v", line, err)
		}
		if _, twice := all[line[:at]]; twice {
			t.Errorf("twice in one scrape: %s", line[:at])
		}
		all[line[:at]] = value
	}
	return all
}

// ours are the lines about edge's own metrics, comments included.
func ours(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "edge_") || strings.HasPrefix(line, "# HELP edge_") || strings.HasPrefix(line, "# TYPE edge_") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// grows scrapes until counters have grown by so much since before: what a request
// adds is counted after its client has the answer.
func grows(t *testing.T, url string, before samples, want map[string]float64) (after samples) {
	t.Helper()
	var wrong []string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(strings.Join(wrong, "\n"))
		}
	})
	eventually(t, "metrics follow", func() bool {
		after, wrong = scrape(t, url), nil
		for name, by := range want {
			if got, there := after[name]; !there || got-before[name] != by {
				wrong = append(wrong, fmt.Sprintf("%s, there: %t, grew by %v: want %v", name, there, got-before[name], by))
			}
		}
		return len(wrong) == 0
	})
	return after
}

func (e *edge) metricsURL() string { return "http://" + e.Admin + "/metrics" }

// A scrape must not be a page, which is cached for a minute.
var metricsSite = `
handle /metrics {
	metrics
}
` + strings.Replace(pagesSite, "private", "private /metrics", 1)

func TestMetricsFollowTraffic(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), pagesSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	before := scrape(t, e.metricsURL())

	for range 4 {
		e.get("/one")
	}
	e.get("/api/me")
	e.do(http.MethodPost, "/form", strings.NewReader("x"))
	if code := e.do(http.MethodGet, "/.edge/status", nil, "Authorization", "Bearer wrong-token-5f2a").StatusCode; code != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", code)
	}
	after := grows(t, e.metricsURL(), before, map[string]float64{
		`edge_cache_requests_total{rule="page /*",status="miss"}`:                   1,
		`edge_cache_requests_total{rule="page /*",status="hit"}`:                    3,
		`edge_cache_requests_total{rule="page /*",status="bypass"}`:                 1,
		`edge_cache_requests_total{rule="private /api/* /account",status="bypass"}`: 1,
		`edge_cache_stores_total`:                                                   1,
		`edge_cache_entries`:                                                        1,
		`edge_proxy_requests_total{attempts="1",pool="app"}`:                        3,
		`edge_control_events_total{event="denied"}`:                                 1,
		`edge_pool_retries_total{pool="app"}`:                                       0,
		`edge_pool_refused_total{pool="app"}`:                                       0,
		`edge_generation`:                                                           0,
	})
	for name, want := range map[string]float64{
		`edge_pool_replicas{pool="app",state="up"}`:                                              1,
		`edge_pool_replicas{pool="app",state="sick"}`:                                            0,
		`edge_pool_replicas{pool="app",state="joining"}`:                                         0,
		`edge_pool_in_flight{pool="app"}`:                                                        0,
		`edge_pool_queued{pool="app"}`:                                                           0,
		`edge_pool_panic{pool="app"}`:                                                            0,
		`edge_cache_max_bytes`:                                                                   512 << 20,
		`edge_purges_pending`:                                                                    0,
		fmt.Sprintf(`edge_replica_ejected{pool="app",replica=%q,version="v1"}`, address):         0,
		fmt.Sprintf(`edge_replica_ejections_total{pool="app",replica=%q,version="v1"}`, address): 0,
		fmt.Sprintf(`edge_replica_breaker{pool="app",replica=%q,version="v1"}`, address):         0,
		fmt.Sprintf(`edge_replica_in_flight{pool="app",replica=%q,version="v1"}`, address):       0,
	} {
		if got, there := after[name]; !there || got != want {
			t.Errorf("%s is %v, there: %t: want %v", name, got, there, want)
		}
	}
	if after["edge_cache_bytes"] <= before["edge_cache_bytes"] {
		t.Errorf("edge_cache_bytes was %v, is %v: want more", before["edge_cache_bytes"], after["edge_cache_bytes"])
	}

	if state := e.purge(map[string]any{"tags": []string{"pages"}}); state != "done" {
		t.Fatalf("purge: %s", state)
	}
	grows(t, e.metricsURL(), after, map[string]float64{
		`edge_purges_total{state="done"}`:                    1,
		`edge_purge_step_seconds_count{step="node"}`:         1,
		`edge_generation`:                                    1,
		`edge_purges_pending`:                                0,
		`edge_control_events_total{event="purge_submitted"}`: 1,
	})
}

func TestMetricsAreWellFormed(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), metricsSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	e.get("/one")
	e.purge(map[string]any{"tags": []string{"pages"}})
	for name, url := range map[string]string{"the admin endpoint": e.metricsURL(), "the metrics directive": e.URL + "/metrics"} {
		t.Run(name, func(t *testing.T) {
			text := ours(scrapeText(t, url))
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			if err != nil {
				t.Fatalf("the scrape does not parse: %v\n%s", err, text)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
			for _, family := range []string{"edge_cache_requests_total counter", "edge_proxy_requests_total counter", "edge_purges_total counter",
				"edge_purge_step_seconds histogram", "edge_pool_replicas gauge", "edge_cache_fenced_total counter", "edge_replica_latency_seconds gauge"} {
				if !strings.Contains(text, "# TYPE "+family+"\n") {
					t.Errorf("no family %s", family)
				}
			}
		})
	}
	open := scrapeText(t, e.URL+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasSuffix(open, "# EOF\n") || !strings.Contains(open, "edge_cache_requests_total{") {
		t.Errorf("OpenMetrics: want a whole exposition with our counters, got\n%s", ours(open))
	}
}

func TestMetricsOutliveReloads(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), metricsSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	before := scrape(t, e.metricsURL())
	e.get("/one")
	before = grows(t, e.metricsURL(), before, map[string]float64{`edge_cache_requests_total{rule="page /*",status="miss"}`: 1, `edge_cache_entries`: 1})
	for n := range 3 {
		if err := e.reload(strings.Replace(staticPool(address), "200ms", fmt.Sprintf("%dms", 201+n), 1), metricsSite); err != nil {
			t.Fatal(err)
		}
		e.get("/one")
	}
	for place, url := range map[string]string{"the admin endpoint": e.metricsURL(), "the metrics directive": e.URL + "/metrics"} {
		after := grows(t, url, before, map[string]float64{
			`edge_cache_requests_total{rule="page /*",status="hit"}`:  3,
			`edge_cache_requests_total{rule="page /*",status="miss"}`: 0,
			`edge_cache_stores_total`:                                 0,
			`edge_cache_entries`:                                      0,
		})
		for sample, was := range before {
			name, _, _ := strings.Cut(sample, "{")
			if strings.HasPrefix(name, "edge_") && strings.HasSuffix(name, "_total") && after[sample] < was {
				t.Errorf("%s: %s was %v, is %v", place, sample, was, after[sample])
			}
		}
	}
}

// Who visits must not be able to make a time series.
func TestVisitorsMakeNoLabels(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), pagesSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	visit := func(n int) {
		mark := fmt.Sprintf("visitor%d", n)
		e.get("/"+mark+"?q="+mark, "User-Agent", mark, "X-App-Version", mark, "X-Request-Id", mark+mark, "Host", mark)
		e.get("/api/"+mark, "Cookie", mark+"="+mark)
		e.do("VISITOR"+strconv.Itoa(n), "/"+mark, nil)
		e.get("/.edge/"+mark, "Authorization", "Bearer "+testToken)
		e.get("/.edge/purge/" + mark)
	}
	visit(0)
	before := scrape(t, e.metricsURL())
	for n := range 5 {
		visit(n + 1)
	}
	text := ours(scrapeText(t, e.metricsURL()))
	after := parseSamples(t, text)
	if strings.Contains(strings.ToLower(text), "visitor") {
		t.Errorf("the scrape holds what a visitor sent:\n%s", text)
	}
	for sample := range after {
		if _, there := before[sample]; !there {
			t.Errorf("five more visitors made %s", sample)
		}
	}
}
