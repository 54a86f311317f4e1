package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// prometheus is a running Prometheus with our alert rules.
type prometheus struct {
	t   *testing.T
	url string
}

// startPrometheus scrapes the targets every five seconds.
func startPrometheus(t *testing.T, targets ...string) *prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(monitoring + "/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 5s, evaluation_interval: 5s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: edge\n    static_configs: [{targets: ['%s']}]\n",
		rules, strings.Join(targets, "', '"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t: t, url: "http://" + freeAddress(t)}
	process := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+strings.TrimPrefix(p.url, "http://"), "--log.level=warn")
	process.Stderr = os.Stderr
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have ended
		_ = process.Wait()
	})
	return p
}

// ask gets data from Prometheus' API; it reports false while there is none.
func (p *prometheus) ask(path string, into any) bool {
	p.t.Helper()
	got, err := http.Get(p.url + "/api/v1/" + path)
	if err != nil {
		return false // it is starting
	}
	defer got.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return false
	}
	if answer.Status != "success" {
		p.t.Fatalf("Prometheus refused %s: %s", path, answer.Error)
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		p.t.Fatalf("%s: %v", path, err)
	}
	return true
}

// firing are the alerts that fire, by name, and by name and pool.
func (p *prometheus) firing() map[string]bool {
	var found struct {
		Alerts []struct {
			State  string
			Labels map[string]string
		}
	}
	names := make(map[string]bool)
	if p.ask("alerts", &found) {
		for _, alert := range found.Alerts {
			if alert.State == "firing" {
				names[alert.Labels["alertname"]] = true
				names[alert.Labels["alertname"]+"/"+alert.Labels["pool"]] = true
			}
		}
	}
	return names
}

// oldCertificate is one of ninety days, of which few are left.
func oldCertificate(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := time.Now().Add(-85 * 24 * time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, NotBefore: from, NotAfter: from.Add(90 * 24 * time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("certificate.pem", "CERTIFICATE", signed), write("key.pem", "PRIVATE KEY", encoded)
}

// visit asks for a path of a host, the gateway's own if it is empty, again and
// again until ctx is done.
func (g *gateway) visit(ctx context.Context, host, path string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+strings.ReplaceAll(path, "%d", strconv.Itoa(n)), nil)
		if err != nil {
			panic(err) // the paths are ours
		}
		if host != "" {
			r.Host = host
		}
		if got, err := http.DefaultClient.Do(r); err == nil {
			_, _ = io.Copy(io.Discard, got.Body) // what they get is for the metrics to tell
			got.Body.Close()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// TestTroublesAreSeenWithinFiveMinutes causes them, all in one world, and looks
// for each in all places: a real Prometheus with our rules, the metrics, the log,
// and the dashboard's page in a real Chromium. Then it does what the runbooks say,
// and every query of the Grafana dashboard finds something.
func TestTroublesAreSeenWithinFiveMinutes(t *testing.T) {
	t.Parallel()
	x := newTroubles(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.visits(ctx)
	began := time.Now()
	x.cause()
	left, down := make(map[*trouble][]string), true
	for _, one := range x.list() {
		left[one] = []string{"alert", "metric", "log", "page"}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for len(left) > 0 || down {
		firing, pages := x.p.firing(), make(map[*gateway]string)
		for g, tab := range x.pages {
			pages[g] = tab.Text()
		}
		down = down && !firing["EdgeDown"]
		for one, places := range left {
			if left[one] = one.missing(x.p, firing, pages, places); len(left[one]) == 0 {
				t.Logf("%s is seen everywhere after %s", one.alert, time.Since(began).Round(time.Second))
				delete(left, one)
			}
		}
		if time.Since(began) > 5*time.Minute {
			for one, places := range left {
				t.Errorf("%s: not within five minutes: %v; the page says:\n%s", one.alert, places, pages[one.at])
			}
			t.Fatalf("EdgeDown missing: %v", down)
		}
		<-tick.C
	}
	x.readable()
	for _, one := range x.list() {
		one.runbook(t)
	}
	for title, queries := range panels(t) {
		for _, query := range queries {
			var found struct{ Result []any }
			asked := strings.ReplaceAll(query, "$__rate_interval", "1m")
			if !x.p.ask("query?query="+url.QueryEscape(asked), &found) || len(found.Result) == 0 {
				t.Errorf("panel %q: %s finds nothing", title, asked)
			}
		}
	}
}
