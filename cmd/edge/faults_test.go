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
	"net/http/httptest"
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

// firing are the alerts that fire.
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

// troubled is an application whose paths have troubles of their own.
func troubled(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", "v1")
		switch {
		case r.URL.Path == "/broken":
			http.Error(w, "broken", http.StatusInternalServerError)
		case r.URL.Path == "/slow":
			select {
			case <-time.After(3 * time.Second):
			case <-r.Context().Done():
			}
		case strings.HasPrefix(r.URL.Path, "/wp-"):
			http.NotFound(w, r)
		case r.URL.Path == "/greets":
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
		}
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// visit asks for a path again and again until ctx is done.
func (g *gateway) visit(ctx context.Context, path string, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+strings.ReplaceAll(path, "%d", strconv.Itoa(n)), nil)
		if err != nil {
			panic(err) // the paths are ours
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

// TestTroublesAreSeenWithinFiveMinutes causes them, all at once, and has a real
// Prometheus tell of each. Then every query of the dashboard finds something.
func TestTroublesAreSeenWithinFiveMinutes(t *testing.T) {
	t.Parallel()
	_, cdn := cloudflare(t)
	app, nobody, admin := troubled(t), freeAddress(t), freeAddress(t)
	certificate, key := oldCertificate(t, "crm.test")
	g := configure(t, app+" "+nobody, strings.Replace(cdn, cloudflareToken, "a-token-that-was-revoked-long-ago", 1),
		"pool down {\ndiscover static "+nobody+"\nhealth /healthz {\ninterval 200ms\n}\n}", "cache {\ndisk 64MiB\n}")
	text := strings.Replace(read(t, g.config), "admin ", "auto_https disable_redirects\n\thttps_port "+freeAddress(t)[len("127.0.0.1:"):]+"\n\tadmin "+admin+" #", 1)
	text += fmt.Sprintf("crm.test {\n\ttls %s %s\n\tedge_proxy app\n}\nhttp://down.test:%s {\n\tedge_proxy down\n}\n", certificate, key, g.url[len("http://127.0.0.1:"):])
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.launch()
	g.answers("/.edge/healthz")
	p := startPrometheus(t, admin, nobody)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for path, every := range map[string]time.Duration{
		"/page": 200 * time.Millisecond, "/other?n=%d": 200 * time.Millisecond, "/slow?n=%d": time.Second,
		"/wp-%d": 100 * time.Millisecond, "/greets?n=%d": time.Second, "/broken?n=%d": time.Second,
	} {
		go g.visit(ctx, path, every)
	}
	began := time.Now()
	g.eventually("Prometheus has scraped", func() bool {
		var found struct{ Result []any }
		return p.ask("query?query=edge_purges_total", &found) && len(found.Result) > 0
	})
	if r := g.edge("purge", "--tag", "pages", "--wait", "1m"); r.code != 3 {
		t.Errorf("a purge with a revoked token: exit %d, want 3\n%s", r.code, r.stderr)
	}
	want := map[string]bool{
		"EdgeDown": true, "EdgeNoReplicaUp": true, "EdgeReplicaSick": true, "EdgeErrorBudgetBurnsFast": true, "EdgeSlow": true,
		"EdgePurgeFailed": true, "EdgeCertificateEnds": true, "EdgeCookieOnCachedPage": true, "EdgeClientErrors": true,
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for len(want) > 0 {
		for alert := range p.firing() {
			if want[alert] {
				t.Logf("%s fires after %s", alert, time.Since(began).Round(time.Second))
				delete(want, alert)
			}
		}
		if time.Since(began) > 5*time.Minute {
			t.Fatalf("not within five minutes: %v", want)
		}
		<-tick.C
	}
	for title, queries := range panels(t) {
		for _, query := range queries {
			var found struct{ Result []any }
			asked := strings.ReplaceAll(query, "$__rate_interval", "1m")
			if !p.ask("query?query="+url.QueryEscape(asked), &found) || len(found.Result) == 0 {
				t.Errorf("panel %q: %s finds nothing", title, asked)
			}
		}
	}
}
