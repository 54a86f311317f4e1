package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/browsertest"
	"github.com/edgegw/edge/internal/redistest"
)

// troubles is a world in which things go wrong.
type troubles struct {
	t        *testing.T
	g, fleet *gateway
	redis    *redistest.Server
	p        *prometheus
	pages    map[*gateway]*browsertest.Tab // the dashboards
	members  map[string][]*member          // of the pools that have troubles of their own
	port     string
}

// newTroubles is a world in which all is well but what is wrong from the start:
// a certificate that ends, a token that was revoked, and an address at which
// nobody is.
func newTroubles(t *testing.T) *troubles {
	t.Helper()
	x := &troubles{t: t, members: make(map[string][]*member)}
	_, cdn := cloudflare(t)
	certificate, key := oldCertificate(t, "crm.test")
	lines := []string{strings.Replace(cdn, cloudflareToken, "a-token-that-was-revoked-long-ago", 1), "cache {\ndisk 16MiB\n}", "log_sampling {\n}"}
	sites := fmt.Sprintf("crm.test {\n\ttls %s %s\n\tedge_proxy app\n}\n", certificate, key)
	for name, pool := range map[string]struct {
		members int
		words   string
	}{
		"dying": {2, ""}, "down": {2, ""}, "half": {2, ""},
		"slow":  {3, "eject {\nbase 1s\nmax 1s\n}"},
		"lying": {2, "eject off\nbreaker {\nmin_requests 5\nopen 1s\n}"},
	} {
		for range pool.members {
			x.members[name] = append(x.members[name], newMember(t))
		}
		line, site := poolOf(name, pool.words, x.members[name]...)
		lines, sites = append(lines, line), sites+site
	}
	x.g = configure(t, troubled(t), lines...)
	x.port = x.g.url[len("http://127.0.0.1:"):]
	text := strings.Replace(read(t, x.g.config), "\tadmin ", "\tauto_https disable_redirects\n\thttps_port "+freeAddress(t)[len("127.0.0.1:"):]+"\n\tadmin ", 1)
	text = strings.Replace(text, x.g.url+" {", x.g.url+" {\n\tlog", 1) + strings.ReplaceAll(sites, "%s", x.port)
	if err := os.WriteFile(x.g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x.g.onFullDisk()
	x.g.launch()

	x.redis = redistest.New(t)
	x.fleet = configure(t, origin(t), "fleet unix://"+x.redis.Socket+" {\nnode a\nlease 2s\n}")
	x.fleet.launch()
	x.fleet.ready()
	x.g.answers("/.edge/readyz")
	x.look(browsertest.Start(t))
	x.p = startPrometheus(t, x.g.admin(), x.fleet.admin(), freeAddress(t))
	x.g.eventually("Prometheus has scraped", func() bool {
		var found struct{ Result []any }
		return x.p.ask("query?query=edge_deploys_total", &found) && len(found.Result) > 0
	})
	return x
}

// look opens the dashboards, in a tab and another.
func (x *troubles) look(tab *browsertest.Tab) {
	x.t.Helper()
	x.pages = map[*gateway]*browsertest.Tab{x.g: tab, x.fleet: tab.Another()}
	for g, tab := range x.pages {
		tab.Open(g.url + "/.edge/dashboard")
		tab.EnterToken(controlToken)
		tab.See("the gateway answers", "document.getElementById('live').innerText === 'Live'")
	}
}

// readable looks whether the pages can be read with all that on them, and keeps
// pictures for people.
func (x *troubles) readable() {
	x.t.Helper()
	for g, tab := range x.pages {
		name := map[*gateway]string{x.g: "troubles", x.fleet: "cut-off"}[g]
		for _, scheme := range []string{"light", "dark"} {
			tab.Prefer(scheme)
			tab.Shoot(name + "-" + scheme)
		}
		tab.Prefer("light")
		tab.Phone()
		tab.Shoot(name + "-phone")
		tab.NoComplaints()
	}
}

// visits asks for everything, until ctx is done.
func (x *troubles) visits(ctx context.Context) {
	for path, every := range map[string]time.Duration{
		"/page": 200 * time.Millisecond, "/other?n=%d": 200 * time.Millisecond, "/big?n=%d": 200 * time.Millisecond,
		"/wp-1%d": 20 * time.Millisecond, "/wp-2%d": 20 * time.Millisecond, "/greets?n=%d": time.Second, "/broken?n=%d": 50 * time.Millisecond,
	} {
		go x.g.visit(ctx, "", path, every)
	}
	go x.g.visit(ctx, "lying.test:"+x.port, "/", 100*time.Millisecond)
	for range 8 { // each waits for the answer that it got
		go x.g.visit(ctx, "", "/slow?n=%d", time.Second)
		go x.g.visit(ctx, "slow.test:"+x.port, "/", 100*time.Millisecond)
	}
}

// cause has everything else go wrong.
func (x *troubles) cause() {
	x.t.Helper()
	x.members["dying"][0].Close()
	for _, m := range x.members["down"] {
		m.Close()
	}
	x.members["slow"][0].lingers.Store(int64(500 * time.Millisecond))
	x.members["lying"][0].lies.Store(true)
	x.members["half"][1].runs("v2")
	x.redis.Kill()
	if r := x.g.edge("purge", "--tag", "pages", "--wait", "1m"); r.code != 3 {
		x.t.Errorf("a purge with a revoked token: exit %d, want 3\n%s", r.code, r.stderr)
	}
	if r := x.g.edge("deploy", "--version", "v2", "--pool", "half", "--timeout", "2s"); r.code != 7 {
		x.t.Errorf("a deploy that half arrives: exit %d, want 7\n%s", r.code, r.stderr)
	}
}

// list is what was caused, and where it must be seen.
func (x *troubles) list() []*trouble {
	first := func(pool string) string { return x.members[pool][0].address() }
	visits := func(path, facts string) string { return `"handled request" ... "uri":"` + path + " ... " + facts }
	const share = ` ([1-9]\d?\.\d|100\.0) % `
	return []*trouble{
		{"EdgeReplicaSick/dying", `edge_pool_replicas{pool="dying",state="sick"} == 1`, `"pool changed" ... "replica_sick" ... ` + first("dying"), "warning " + first("dying") + ` in pool dying is sick: dial tcp .{1,50}: connection refused\. EdgeReplicaSick`, x.g},
		{"EdgeReplicaEjected/slow", `edge_replica_ejections_total{pool="slow"} > 2`, `"pool changed" ... "replica_ejected" ... ` + first("slow"), "warning " + first("slow") + ` in pool slow is set aside, worse than its peers: [^.]*(\.\d[^.]*)*\. EdgeReplicaEjected`, x.g},
		{"EdgeBreakerOpen/lying", `max_over_time(edge_replica_breaker{pool="lying"}[1m]) == 2`, `"pool changed" ... "breaker_opened" ... ` + first("lying"), "warning The breaker of " + first("lying") + ` in pool lying is open\. EdgeBreakerOpen`, x.g},
		{"EdgeNoReplicaUp/down", `edge_pool_replicas{pool="down",state="up"} == 0`, `"pool changed" ... "replica_sick" ... ` + first("down"), `critical Pool down has no replica up\. EdgeNoReplicaUp`, x.g},
		{"EdgeDeployFailed/half", `edge_deploys_total{pool="half",state="failed"} == 1`, `"msg":"deploy" ... "half" ... "failed"`, `critical The deploy of v2 in pool half ended as failed: .{1,200}? EdgeDeployFailed, .* deploy v2 in half\S* .{0,40}failed`, x.g},
		{"EdgePurgeFailed", `edge_purges_total{state=~"failed|partial"} > 0`, `"level":"error" ... "purge finished"`, `critical Purge \w+ ended as (failed|partial): old pages may still be served\. EdgePurgeFailed, .* purge tags pages (failed|partial)`, x.g},
		{"EdgeFleetDistrusts", `edge_fleet_trusted == 0`, `"fleet changed" ... "cut_off"`, `critical This node cannot reach the fleet's Redis, .{1,80} EdgeFleetDistrusts .* redis down .* not up to date: nothing is served from the cache`, x.fleet},
		{"EdgeCacheDiskOff", `edge_cache_disk_serving == 0`, `"cache disk" ... "write-failed"`, `warning The cache's disk is not used; .{1,50}\. EdgeCacheDiskOff`, x.g},
		{"EdgeCertificateEnds", `edge_certificate_remaining_ratio{host="crm.test"} < 0.2`, `"dependency changed" ... "certificates" ... crm.test`, `critical The certificate of crm\.test ends on \S+ \S+ and has not been renewed\. EdgeCertificateEnds`, x.g},
		{"EdgeClientErrors", `rate(edge_requests_total{code="4xx"}[1m]) > 1`, visits("/wp-", `"status":404`), "Client errors" + share + `4xx, last minute .*/wp-\d+ `, x.g},
		{"EdgeCookieOnCachedPage", `edge_cache_not_stored_total{reason="set-cookie"} > 0`, visits("/greets", `"cache_reason":"set-cookie"`), `/greets page /\* [0-9.]+ set-cookie Explain`, x.g},
		{"EdgeSlow", `edge_response_seconds_sum{from="replica"} > 2`, visits("/slow", `"duration":3`), `/slow page /\* .{1,20} [3-9]\.\d s Explain`, x.g},
		{"EdgeErrorBudgetBurnsFast", `edge_requests_total{code="5xx"} > 0`, visits("/broken", `"status":500`), `critical [0-9.]+ % of requests failed in the last five minutes: .{1,80}\. EdgeErrorBudgetBurnsFast .*Failed` + share + "5xx or cut", x.g},
	}
}

// troubled is an application whose paths have troubles of their own.
func troubled(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(troubledPaths))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func troubledPaths(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App-Version", "v1")
	switch {
	case r.URL.Path == "/broken":
		http.Error(w, "broken", http.StatusInternalServerError)
	case r.URL.Path == "/slow":
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
		}
	case r.URL.Path == "/big":
		fmt.Fprint(w, strings.Repeat(r.URL.RawQuery+" ", 200<<10/(len(r.URL.RawQuery)+1)))
	case strings.HasPrefix(r.URL.Path, "/wp-"):
		http.NotFound(w, r)
	case r.URL.Path == "/greets":
		http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
	}
}
