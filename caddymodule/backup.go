package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/health"
	"github.com/edgegw/edge/internal/unit"
)

// BackupConfig says where the gateway's state is copied, and how often.
type BackupConfig struct {
	backup.Target
	// Every is the time between two backups: what a lost machine may cost.
	// Default: 5m.
	Every unit.Duration `json:"every,omitempty"`
	// Keep is how many stay. Default: 288, a day's.
	Keep int `json:"keep,omitempty"`
	// Timeout is how long one may take. Default: 2m.
	Timeout unit.Duration `json:"timeout,omitempty"`
	// Key encrypts: lines of age, of which the first one is used and all open what
	// was encrypted before. Default: backups are not encrypted.
	Key string `json:"key,omitempty"`
	// Config lists files with the configuration. Default: the file that edge run was
	// given, and what it imports.
	Config []string `json:"config,omitempty"`
}

const (
	defaultBackupEvery   = 5 * time.Minute
	defaultBackupKeep    = 288
	defaultBackupTimeout = 2 * time.Minute
	leastBackupEvery     = time.Second
)

// parseBackup reads "backup { … }".
func (a *App) parseBackup(d *caddyfile.Dispenser) error {
	c := new(BackupConfig)
	a.Backup = c
	return block(func() words {
		return words{
			"to":      func(d *caddyfile.Dispenser) error { return parseTarget(d, &c.Target) },
			"every":   duration(&c.Every),
			"keep":    count(&c.Keep),
			"timeout": duration(&c.Timeout),
			"key":     text(&c.Key),
			"config":  texts(&c.Config),
		}
	})(d)
}

func parseTarget(d *caddyfile.Dispenser, t *backup.Target) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("to: got %d arguments: want one, a folder or s3://BUCKET/PREFIX", len(args))
	}
	t.To = args[0]
	return readBlock(d, words{
		"endpoint":   text(&t.Endpoint),
		"region":     text(&t.Region),
		"access_key": text(&t.AccessKey),
		"secret_key": text(&t.SecretKey),
		"path_style": alone(&t.PathStyle),
	})
}

func (a *App) replaceInBackup(replace func(place string, text *string)) {
	c := a.Backup
	if c == nil {
		return
	}
	replace("backup to", &c.To)
	replace("backup endpoint", &c.Endpoint)
	replace("backup region", &c.Region)
	replace("backup access_key", &c.AccessKey)
	replace("backup secret_key", &c.SecretKey)
	replace("backup key", &c.Key)
	for i := range c.Config {
		replace("backup config", &c.Config[i])
	}
}

// checkBackup names what is wrong with the backup block, and prepares what it asks
// for. Nobody is called.
func (a *App) checkBackup() error {
	c := a.Backup
	if c == nil {
		return nil
	}
	var errs []error
	say := func(err error) {
		errs = append(errs, each(err, func(mistake error) error { return fmt.Errorf("backup %w", mistake) }))
	}
	if c.Every == 0 {
		c.Every = unit.Duration(defaultBackupEvery)
	}
	if c.Timeout == 0 {
		c.Timeout = unit.Duration(defaultBackupTimeout)
	}
	if c.Keep == 0 {
		c.Keep = defaultBackupKeep
	}
	if c.Every.D() < leastBackupEvery {
		say(fmt.Errorf("every %s: want %s or more", c.Every, leastBackupEvery))
	}
	say(c.Validate())
	vault, err := a.newVault(c.Target, c.Key)
	if err == nil {
		vault.Keep = c.Keep
		a.vault = vault
	} else if c.Validate() == nil {
		say(err)
	}
	return errors.Join(errs...)
}

// newVault finds the backups of this state at a target. The key may be empty.
func (a *App) newVault(t backup.Target, key string) (*backup.Vault, error) {
	v := &backup.Vault{Keep: defaultBackupKeep, Collect: a.collectBackup, Prove: proveBackup}
	var err error
	if key != "" {
		if v.Key, err = backup.ParseKey(key); err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
	}
	v.Store, err = t.Open()
	return v, err
}

// backupPlan is what the runner follows; nil without a backup block.
func (a *App) backupPlan() *backup.Plan {
	if a.vault == nil {
		return nil
	}
	return &backup.Plan{
		Vault: a.vault, Every: a.Backup.Every.D(), Timeout: a.Backup.Timeout.D(),
		Lineage: func() (string, error) { return lineageOf(a.StateDir) },
	}
}

// onBackupEvent tells of one attempt.
func onBackupEvent(e backup.Event) {
	log := logger()
	if e.Err != nil {
		backupsDone.WithLabelValues("failed").Inc()
		log.Error("backup failed", zap.Error(e.Err), zap.Duration("took", e.Took))
		reportFault("backup failed", "backup", e.Err, nil)
		return
	}
	backupsDone.WithLabelValues("done").Inc()
	fields := []zap.Field{zap.String("name", e.Marker.Name), zap.Int64("bytes", e.Marker.Size), zap.Int("files", e.Marker.Files), zap.Duration("took", e.Took)}
	if e.Others > 0 {
		log.Warn("first backup of this state, beside those of another one: was it to be restored?", append(fields, zap.Int("others", e.Others))...)
		return
	}
	if e.Tidied != nil {
		log.Warn("backup made", append(fields, zap.Error(e.Tidied))...)
		return
	}
	log.Info("backup made", fields...)
}

// backupOverdue says what is wrong with the backups; nil if nothing is.
func backupOverdue(s backup.Status, now time.Time) error {
	switch {
	case s.Err != nil:
		return fmt.Errorf("the last one failed: %w", s.Err)
	case s.Last.Created.IsZero():
		return nil // the first one is being made
	case s.Last.Age(now) > 3*s.Every:
		return fmt.Errorf("the last one is %s old: want one every %s", s.Last.Age(now).Round(time.Second), s.Every)
	}
	return nil
}

// backupState tells of the backups among what the gateway needs.
func backupState(s backup.Status, now time.Time) control.Dependency {
	d := control.Dependency{Name: "backup", OK: true, Severity: string(health.Notice), Latency: unit.Duration(s.Took.Round(time.Microsecond))}
	if err := backupOverdue(s, now); err != nil {
		d.OK, d.Detail = false, err.Error()
		return d
	}
	if s.Last.Created.IsZero() {
		d.Detail = "none yet"
		return d
	}
	d.Detail = fmt.Sprintf("%s, %d bytes, at %s", s.Last.Name, s.Last.Size, s.Last.Created.UTC().Format(time.DateTime))
	return d
}
