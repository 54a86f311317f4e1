package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

const (
	leastSpace       = 64 << 20 // that a disk must have left
	leastCertificate = 0.2      // of its lifetime; Caddy renews at a third
)

// dependencyChanged tells the log.
func (a *App) dependencyChanged(s health.State) {
	level := zapcore.InfoLevel
	if !s.OK {
		level = zapcore.WarnLevel
	}
	a.logger.Log(level, "dependency changed", zap.String("dependency", s.Name), zap.Bool("ok", s.OK),
		zap.String("severity", string(s.Severity)), zap.String("detail", s.Detail))
}

// checks are what is asked in the background, since it may be slow or hang.
func (a *App) checks() []health.Check {
	var skew atomic.Int64 // how far our clock is ahead of Redis'
	checks := []health.Check{
		{Name: "purge journal", Severity: health.Degraded, Every: time.Second, Patience: 5 * time.Second, Ask: a.askJournal},
		{Name: "disk", Severity: health.Degraded, Every: 10 * time.Second, Patience: 5 * time.Second, Ask: a.askDisk},
		{Name: "certificates", Severity: health.Degraded, Every: 10 * time.Second, Patience: 5 * time.Second, Ask: a.askCertificates},
		{Name: "clock", Severity: health.Notice, Every: 10 * time.Second, Patience: 5 * time.Second, Ask: askClock(&skew)},
	}
	if m := a.gateway.member; m != nil {
		checks = append(checks, health.Check{Name: "redis", Severity: health.Degraded, Every: 2 * time.Second, Patience: 2 * time.Second, Ask: func(ctx context.Context) (string, error) {
			sent := time.Now()
			theirs, err := m.Time(ctx)
			if err == nil {
				skew.Store(int64(sent.Add(time.Since(sent) / 2).Sub(theirs)))
			}
			return "answers", err
		}})
	}
	for _, t := range a.targets {
		checks = append(checks, health.Check{Name: t.Name(), Severity: health.Degraded, Every: time.Second, Patience: 5 * time.Second, Ask: a.askTarget(t.Name())})
	}
	if c := a.Cloudflare; c != nil {
		// Seldom, since the API counts calls; a purge finds out at once.
		checks = append(checks, health.Check{Name: "cloudflare api", Severity: health.Degraded, First: time.Minute, Every: 5 * time.Minute, Patience: 10 * time.Second, Ask: func(ctx context.Context) (string, error) {
			return "knows the token", purge.AskCloudflare(ctx, *c)
		}})
	}
	return checks
}

func (a *App) askJournal(context.Context) (string, error) {
	c := a.gateway.coordinator()
	switch {
	case !a.gateway.atHome():
		return "kept by another process", nil
	case c == nil:
		return "", errNotStarted
	}
	return a.StateDir, c.Health().Journal
}

// askDisk writes to the state folder, down to the disk, and looks how much is left.
func (a *App) askDisk(context.Context) (string, error) {
	if err := tryDisk(a.StateDir); err != nil {
		return "", err
	}
	free, known := freeSpace(a.StateDir)
	if !known {
		return a.StateDir, nil
	}
	left := fmt.Sprintf("%s: %d MiB left", a.StateDir, free>>20)
	if free < leastSpace {
		return "", fmt.Errorf("%s: want at least %d MiB", left, leastSpace>>20)
	}
	return left, nil
}

func tryDisk(folder string) (err error) {
	file, err := os.CreateTemp(folder, ".probe-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(filepath.Clean(file.Name()))) }()
	if _, err := file.WriteString("probe\n"); err != nil {
		return err
	}
	return file.Sync()
}

// askCertificates names those that end soon and were not renewed.
func (a *App) askCertificates(context.Context) (string, error) {
	now, certificates := time.Now(), certificatesOf(a.hosts)
	var errs []error
	for _, host := range slices.Sorted(maps.Keys(certificates)) {
		c := certificates[host]
		switch left := c.NotAfter.Sub(now).Round(time.Minute); {
		case left <= 0:
			errs = append(errs, fmt.Errorf("%s: has ended", host))
		case remaining(c, now) < leastCertificate:
			errs = append(errs, fmt.Errorf("%s: ends in %s and has not been renewed", host, left))
		}
	}
	return fmt.Sprintf("%d in order", len(certificates)-len(errs)), errors.Join(errs...)
}

func askClock(skew *atomic.Int64) func(context.Context) (string, error) {
	clock, began := new(health.Clock), time.Now() // only the check's goroutine uses it
	return func(context.Context) (string, error) {
		now := time.Now()
		return clock.Look(now, now.Sub(began), time.Duration(skew.Load()), synchronised())
	}
}

// askTarget judges a CDN by the newest order that reached it.
func (a *App) askTarget(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		c := a.gateway.coordinator()
		switch {
		case !a.gateway.atHome():
			return "purged by another process", nil
		case c == nil:
			return "", errNotStarted
		}
		return targetState(name, c.List(10))
	}
}

func targetState(name string, records []purge.Record) (string, error) {
	for _, record := range records {
		for _, t := range record.Targets {
			if t.Name != name || t.Attempts == 0 {
				continue
			}
			if t.Error != nil {
				return "", t.Error
			}
			return "took the last purge", nil
		}
	}
	return "not called yet", nil
}

// dependencies are what this node needs besides itself. Nothing here waits: it
// tells what is known.
func (a *App) dependencies() []control.Dependency {
	all := []control.Dependency{}
	now := time.Now()
	add := func(d control.Dependency, severity health.Severity) {
		d.Severity, d.Checked = string(severity), now
		d.Since = a.gateway.history.Note(d.Name, d.OK, now)
		all = append(all, d)
	}
	for _, name := range slices.Sorted(maps.Keys(a.pools)) {
		add(poolState(name, a.pools[name].Status()), health.Critical)
	}
	if m := a.gateway.member; m != nil {
		add(fleetState(m.Status()), health.Degraded)
	}
	if a.gateway.disk != "" {
		add(diskState(a.gateway.disk, a.gateway.store.Stats().Disk), health.Degraded)
	}
	if a.vault != nil {
		d := backupState(a.gateway.backups.Status(), now)
		add(d, health.Notice)
	}
	if a.watch == nil {
		return all
	}
	for _, s := range a.watch.States() {
		all = append(all, control.Dependency{
			Name: s.Name, OK: s.OK, Severity: string(s.Severity), Detail: s.Detail,
			Latency: unit.Duration(s.Latency.Round(time.Microsecond)), Checked: s.Checked, Since: s.Since,
		})
	}
	return all
}

// poolState judges a pool. Its latency is that of its quickest replica.
func poolState(name string, status lb.Status) control.Dependency {
	up, quickest := 0, 0.0
	for _, r := range status.Replicas {
		if r.State != "up" {
			continue
		}
		if up++; up == 1 || r.EWMA < quickest {
			quickest = r.EWMA
		}
	}
	d := control.Dependency{
		Name: "pool " + name, OK: up > 0, Detail: fmt.Sprintf("%d of %d replicas up", up, len(status.Replicas)),
		Latency: unit.Duration(time.Duration(quickest * float64(time.Millisecond)).Round(time.Microsecond)),
	}
	for _, source := range status.Sources {
		if source.Problem != "" {
			d.Detail += "; " + source.Source + ": " + source.Problem
		}
	}
	return d
}
