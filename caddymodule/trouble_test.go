package caddymodule

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/traffic"
)

// onlyPrometheus sees these: they are about rates over many hours and distributions,
// about all nodes of a fleet, or about a gateway that is not there.
var onlyPrometheus = []string{
	"EdgeDown", "EdgeErrorBudgetBurns", "EdgeSlow", "EdgeHitRatioDropped",
	"EdgeCookieOnCachedPage", "EdgeCacheFault", "EdgeFleetNobodyCalls",
}

func TestTroubleHasTheAlertsNames(t *testing.T) {
	rules, err := os.ReadFile("../docs/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	severities := make(map[string]string)
	for _, found := range regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		severities[found[1]] = found[2]
	}
	source, err := os.ReadFile("trouble.go")
	if err != nil {
		t.Fatal(err)
	}
	said := make(map[string]bool)
	for _, found := range regexp.MustCompile(`say\("(\w+)", (\w+),`).FindAllStringSubmatch(string(source), -1) {
		said[found[1]] = true
		if severities[found[1]] != found[2] {
			t.Errorf("%s is %s: want %q, as the alert has it", found[1], found[2], severities[found[1]])
		}
		if _, err := os.Stat(filepath.Join("../docs/runbooks", found[1]+".md")); err != nil {
			t.Errorf("%s has no runbook: %v", found[1], err)
		}
	}
	for alert := range severities {
		if said[alert] == slices.Contains(onlyPrometheus, alert) {
			t.Errorf("alert %s: want it said in trouble.go, or listed as one for Prometheus only", alert)
		}
	}
}

func TestTroubles(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	soon := now.Add(time.Minute)
	up := lb.ReplicaStatus{Address: "10.0.0.1:3000", State: "up", Breaker: "closed"}
	with := func(change func(*lb.ReplicaStatus)) []lb.Status {
		other := lb.ReplicaStatus{Address: "10.0.0.2:3000", State: "up", Breaker: "closed", Since: ago(2 * time.Minute)}
		change(&other)
		return []lb.Status{{Name: "app", Replicas: []lb.ReplicaStatus{up, other}}}
	}
	order := func(state purge.State, created, finished time.Time) []purge.Record {
		return []purge.Record{{Order: purge.Order{ID: "p1", Created: created}, State: state, Finished: finished}}
	}
	certificate := func(left time.Duration) map[string]*x509.Certificate {
		return map[string]*x509.Certificate{"www.example.com": {NotBefore: now.Add(left - 90*24*time.Hour), NotAfter: now.Add(left)}}
	}
	// got is what visitors got in five seconds, so long ago.
	got := func(d time.Duration, t traffic.Totals) []traffic.Point {
		return []traffic.Point{{At: ago(d), Seconds: 5, Totals: t}}
	}
	cases := map[string]struct {
		sights sights
		want   string // alerts, the worst first
		says   string
	}{
		"nothing is wrong": {sights{
			pools: with(func(*lb.ReplicaStatus) {}), purges: order(purge.Running, ago(time.Second), time.Time{}),
			deploys: []deploy.Record{{Stage: deploy.Done, Finished: ago(time.Minute)}}, diskWanted: true, disk: &httpcache.DiskStats{Serving: true},
			fleet: &fleet.Status{Trusted: true, Members: []fleet.MemberStatus{{Self: true}, {}}}, certificates: certificate(30 * 24 * time.Hour),
			lately: got(time.Minute, traffic.Totals{Visits: 10000, Failures: 100, ClientErrors: 2900}), versions: map[string]deploy.Status{"app": {Rollout: deploy.State{On: true, Since: ago(time.Minute)}}},
		}, "", ""},
		"a sick replica":                       {sights{pools: with(func(r *lb.ReplicaStatus) { r.State, r.Why = "sick", "connection refused" })}, "EdgeReplicaSick", "10.0.0.2:3000 in pool app is sick: connection refused."},
		"one that has just joined":             {sights{pools: with(func(r *lb.ReplicaStatus) { r.State, r.Since = "joining", ago(time.Second) })}, "", ""},
		"one that joins for ever":              {sights{pools: with(func(r *lb.ReplicaStatus) { r.State = "joining" })}, "EdgeReplicaSick", "never passed a check"},
		"one that drains":                      {sights{pools: with(func(r *lb.ReplicaStatus) { r.State = "draining" })}, "", ""},
		"an open breaker":                      {sights{pools: with(func(r *lb.ReplicaStatus) { r.Breaker = "open" })}, "EdgeBreakerOpen", "10.0.0.2:3000"},
		"one worse than its peers":             {sights{pools: with(func(r *lb.ReplicaStatus) { r.EjectedUntil, r.EjectedFor = &soon, "latency" })}, "EdgeReplicaEjected", "latency"},
		"an empty pool, and the worst first":   {sights{pools: []lb.Status{{Name: "app"}}, lately: got(30*time.Second, traffic.Totals{Refused: 3})}, "EdgeNoReplicaUp EdgeRefusing", "Pool app"},
		"most look sick":                       {sights{pools: []lb.Status{{Name: "app", Panic: true, Replicas: []lb.ReplicaStatus{up}}}}, "EdgePoolPanic", ""},
		"a driver that refuses":                {sights{pools: []lb.Status{{Replicas: []lb.ReplicaStatus{up}, Scaling: lb.ScalingStatus{Driver: &lb.DriverStatus{Driver: "webhook", Failures: 4}}}}}, "EdgeScalingFails", "webhook"},
		"two versions for long":                {sights{versions: map[string]deploy.Status{"app": {Rollout: deploy.State{On: true, From: "v1", To: "v2", Since: ago(time.Hour)}}}}, "EdgeVersionSkew", "v1 and v2"},
		"a deploy that is held":                {sights{deploys: []deploy.Record{{Stage: deploy.Held, Version: "v2", Pool: "app"}}}, "EdgeDeployHeld", "v2"},
		"a deploy that failed":                 {sights{deploys: []deploy.Record{{Stage: deploy.Failed, Finished: ago(time.Minute), Error: "two are behind"}}}, "EdgeDeployFailed", "two are behind"},
		"a deploy that failed an hour ago":     {sights{deploys: []deploy.Record{{Stage: deploy.Failed, Finished: ago(time.Hour)}}}, "", ""},
		"a purge that hangs":                   {sights{purges: order(purge.Running, ago(2*time.Minute), time.Time{})}, "EdgePurgePending", "p1"},
		"a purge that reached not everything":  {sights{purges: order(purge.Partial, ago(time.Hour), ago(time.Minute))}, "EdgePurgeFailed", "partial"},
		"one of this morning":                  {sights{purges: order(purge.Failed, ago(3*time.Hour), ago(2*time.Hour))}, "", ""},
		"a disk that is not used":              {sights{diskWanted: true, disk: &httpcache.DiskStats{}}, "EdgeCacheDiskOff", ""},
		"a backup that failed":                 {sights{backups: &backup.Status{Err: errors.New("store is full"), Every: time.Minute}}, "EdgeBackupFails", ""},
		"backups that are overdue":             {sights{now: now, backups: &backup.Status{Last: backup.Marker{Created: now.Add(-4 * time.Minute)}, Every: time.Minute}}, "EdgeBackupFails", ""},
		"a disk that was not opened":           {sights{diskWanted: true}, "EdgeCacheDiskOff", ""},
		"a fleet that is not reached":          {sights{fleet: &fleet.Status{}}, "EdgeFleetDistrusts", ""},
		"a node behind":                        {sights{fleet: &fleet.Status{Trusted: true, Position: 7, Members: []fleet.MemberStatus{{Self: true, Applied: 7}, {Node: "b", Applied: 5}}}}, "EdgeFleetBehind", "Node b has not applied 2"},
		"this node behind":                     {sights{fleet: &fleet.Status{Trusted: true, Position: 7, Lag: 2}}, "EdgeFleetBehind", "2 purges"},
		"visitors turned away before":          {sights{lately: got(2*time.Minute, traffic.Totals{Refused: 3})}, "", ""},
		"one in ten fails":                     {sights{lately: got(4*time.Minute, traffic.Totals{Visits: 100, Failures: 10})}, "EdgeErrorBudgetBurnsFast", "10.0 % of requests"},
		"a few fail of a few":                  {sights{lately: got(4*time.Minute, traffic.Totals{Visits: 10, Failures: 9})}, "", ""},
		"it failed ten minutes ago":            {sights{lately: got(10*time.Minute, traffic.Totals{Visits: 100, Failures: 10})}, "", ""},
		"failures of a moment, in a long hour": {sights{lately: append(got(30*time.Minute, traffic.Totals{Visits: 100000}), got(time.Minute, traffic.Totals{Visits: 100, Failures: 50})...)}, "", ""},
		"somebody scans":                       {sights{lately: got(time.Minute, traffic.Totals{Visits: 18, ClientErrors: 6})}, "EdgeClientErrors", "33 % of answers"},
		"one who scans slowly":                 {sights{lately: got(time.Minute, traffic.Totals{Visits: 5, ClientErrors: 5})}, "", ""},
		"a certificate at a tenth":             {sights{certificates: certificate(9 * 24 * time.Hour)}, "EdgeCertificateEnds", "www.example.com ends on 2026-03-10 12:00:00"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.sights.now = now
			var alerts, texts []string
			for _, one := range c.sights.troubles() {
				alerts, texts = append(alerts, one.Alert), append(texts, one.Summary)
			}
			if got := strings.Join(alerts, " "); got != c.want || !strings.Contains(strings.Join(texts, "\n"), c.says) {
				t.Errorf("%q, %q: want %q, with words about %q", got, texts, c.want, c.says)
			}
		})
	}
}
