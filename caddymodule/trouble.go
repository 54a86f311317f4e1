package caddymodule

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/traffic"
)

// Trouble is what this node sees at once of what docs/monitoring/alerts.yml
// finds over time, under the same names: no Prometheus is needed to see it, and
// nothing has to last first. Rates over many hours are for Prometheus.
const (
	critical = "critical"
	warning  = "warning"

	// recent is for how long something that ended badly is trouble.
	recent = 15 * time.Minute
	// pendingLong is when a purge that is not finished begins to be.
	pendingLong = time.Minute
	// skewLong is when two versions side by side do.
	skewLong = 30 * time.Minute
	// leastLifetime is the share of a certificate's lifetime at which Caddy
	// should long have renewed it: it does at a third.
	leastLifetime = 0.2

	// fastBurn is the share of failures, over an hour and now, that empties a month's
	// error budget of 0.1 % in two days; fewFailures are none of a quiet night.
	fastBurn    = 14.4 * 0.001
	fewFailures = 10
	// manyUnwanted is the share of answers 4xx that is not what visitors do.
	manyUnwanted = 0.3
	// shortWindow and longWindow are those of the alerts.
	shortWindow, longWindow = 5 * time.Minute, time.Hour
)

// sights are what trouble is judged by.
type sights struct {
	now          time.Time
	pools        []lb.Status
	versions     map[string]deploy.Status
	deploys      []deploy.Record
	purges       []purge.Record
	diskWanted   bool
	disk         *httpcache.DiskStats
	fleet        *fleet.Status
	certificates map[string]*x509.Certificate
	lately       []traffic.Point // the last hour
	backups      *backup.Status  // nil without a backup block
}

// troubles decides what is wrong, the worst first.
func (s sights) troubles() []control.Trouble {
	list := []control.Trouble{}
	say := func(alert, severity string, since time.Time, format string, args ...any) {
		list = append(list, control.Trouble{Alert: alert, Severity: severity, Since: since, Summary: fmt.Sprintf(format, args...)})
	}
	for _, p := range s.pools {
		s.inPool(p, say)
	}
	s.inVersions(say)
	s.inPurges(say)
	s.inFleet(say)
	if s.backups != nil {
		if err := backupOverdue(*s.backups, s.now); err != nil {
			say("EdgeBackupFails", critical, s.backups.Since, "No good backup: %v.", err)
		}
	}
	s.inAnswers(say)
	if s.diskWanted && (s.disk == nil || !s.disk.Serving || s.disk.Failing) {
		say("EdgeCacheDiskOff", warning, time.Time{}, "The cache's disk is not used; what is cached lives in memory only.")
	}
	for _, host := range slices.Sorted(maps.Keys(s.certificates)) {
		if c := s.certificates[host]; remaining(c, s.now) < leastLifetime {
			say("EdgeCertificateEnds", critical, time.Time{}, "The certificate of %s ends on %s and has not been renewed.", host, c.NotAfter.UTC().Format(time.DateTime))
		}
	}
	slices.SortStableFunc(list, func(a, b control.Trouble) int { return strings.Compare(a.Severity, b.Severity) }) // critical, warning
	return list
}

// sayer takes one trouble.
type sayer func(alert, severity string, since time.Time, format string, args ...any)

func (s sights) inPool(p lb.Status, say sayer) {
	up := 0
	for _, r := range p.Replicas {
		who := r.Address + " in pool " + p.Name
		switch {
		case r.State == "up":
			up++
		case r.State == "sick":
			say("EdgeReplicaSick", warning, r.Since, "%s is sick: %s.", who, r.Why)
		case r.State == "joining" && s.now.Sub(r.Since) > pendingLong:
			say("EdgeReplicaSick", warning, r.Since, "%s has never passed a check: %s.", who, r.Why)
		}
		if r.Breaker == "open" {
			say("EdgeBreakerOpen", warning, time.Time{}, "The breaker of %s is open.", who)
		}
		if r.EjectedUntil != nil {
			say("EdgeReplicaEjected", warning, time.Time{}, "%s is set aside, worse than its peers: %s.", who, r.EjectedFor)
		}
	}
	if up == 0 {
		say("EdgeNoReplicaUp", critical, time.Time{}, "Pool %s has no replica up.", p.Name)
	}
	if p.Panic {
		say("EdgePoolPanic", critical, time.Time{}, "Most replicas of pool %s look sick: health is ignored.", p.Name)
	}
	if d := p.Scaling.Driver; d != nil && d.Failures > 3 {
		say("EdgeScalingFails", warning, time.Time{}, "Driver %s of pool %s has refused %d orders in a row.", d.Driver, p.Name, d.Failures)
	}
}

func (s sights) inVersions(say sayer) {
	for _, name := range slices.Sorted(maps.Keys(s.versions)) {
		if r := s.versions[name].Rollout; r.On && s.now.Sub(r.Since) > skewLong {
			say("EdgeVersionSkew", warning, r.Since, "Pool %s runs %s and %s.", name, r.From, r.To)
		}
	}
	for _, d := range s.deploys {
		switch {
		case d.Stage == deploy.Held:
			say("EdgeDeployHeld", critical, d.Began, "The guard holds back %s in pool %s: it is worse than the version before.", d.Version, d.Pool)
		case !d.Finished.IsZero() && s.now.Sub(d.Finished) < recent && (d.Stage == deploy.Failed || d.Stage == deploy.Partial || d.Stage == deploy.Refused):
			say("EdgeDeployFailed", critical, d.Finished, "The deploy of %s in pool %s ended as %s: %s", d.Version, d.Pool, d.Stage, d.Error)
		}
	}
}

func (s sights) inPurges(say sayer) {
	for _, r := range s.purges {
		switch {
		case !r.State.Final() && s.now.Sub(r.Created) > pendingLong:
			say("EdgePurgePending", warning, r.Created, "Purge %s is not finished.", r.ID)
		case (r.State == purge.Partial || r.State == purge.Failed) && s.now.Sub(r.Finished) < recent:
			say("EdgePurgeFailed", critical, r.Finished, "Purge %s ended as %s: old pages may still be served.", r.ID, r.State)
		}
	}
}

// inAnswers looks at what visitors got.
func (s sights) inAnswers(say sayer) {
	lately := func(d time.Duration) traffic.Answers { return traffic.AnswersAfter(s.lately, s.now.Add(-d)) }
	if refused := lately(time.Minute).Refused; refused > 0 {
		say("EdgeRefusing", warning, time.Time{}, "%d visitors were turned away with 503 in the last minute.", refused)
	}
	short, long := lately(shortWindow), lately(longWindow)
	if short.Failures >= fewFailures && short.Failed() > fastBurn && long.Failed() > fastBurn {
		say("EdgeErrorBudgetBurnsFast", critical, time.Time{}, "%.1f %% of requests failed in the last five minutes: at this pace two days empty the month's error budget.", 100*short.Failed())
	}
	if float64(short.ClientErrors) > short.Seconds && short.Unwanted() > manyUnwanted {
		say("EdgeClientErrors", warning, time.Time{}, "%.0f %% of answers were 4xx in the last five minutes: somebody scans, or an asset is missing.", 100*short.Unwanted())
	}
}

func (s sights) inFleet(say sayer) {
	f := s.fleet
	if f == nil {
		return
	}
	if !f.Trusted {
		say("EdgeFleetDistrusts", critical, time.Time{}, "This node cannot reach the fleet's Redis, or has not caught up: it serves nothing from its cache.")
	}
	if f.Lag > 0 {
		say("EdgeFleetBehind", warning, time.Time{}, "This node has %d purges to apply.", f.Lag)
	}
	for _, m := range f.Members {
		if !m.Self && m.Applied < f.Position {
			say("EdgeFleetBehind", warning, time.Time{}, "Node %s has not applied %d purges.", m.Node, f.Position-m.Applied)
		}
	}
}

// sights are what this configuration sees now.
func (a *App) sights(now time.Time) sights {
	s := sights{
		now: now, versions: controlled{}.Versions(), deploys: controlled{}.Deploys("", 20),
		disk: a.gateway.store.Stats().Disk, diskWanted: a.gateway.disk != "",
		certificates: certificatesOf(a.hosts), lately: a.gateway.traffic.Lately(now.Add(-longWindow)),
	}
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		s.pools = append(s.pools, a.pools[name].Status())
	}
	if c := a.gateway.coordinator(); c != nil {
		s.purges = c.List(100)
	}
	if m := a.gateway.member; m != nil {
		status := m.Status()
		s.fleet = &status
	}
	if a.vault != nil {
		status := a.gateway.backups.Status()
		s.backups = &status
	}
	return s
}
