package caddymodule

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/unit"
)

const backupLong = `
Copies what a gateway must not lose: the journal of purges with its generation, the
history of deploys, replicas set aside, keys of sticky visitors, Cloudflare's
addresses, certificates, and the configuration. The copy is written where the backup
block of the configuration says, or --to; read back, unpacked into a scratch folder
and tried; only then does it count, and may old ones go. The gateway may run, or not.

--list shows the backups that count. --verify NAME, or --verify latest, tries one
again. --new-key prints a key for the backup block.

Exit codes: 0 done, 1 the backup was not made or is not good, 2 usage or
configuration.`

const restoreLong = `
Brings a backup back: the newest, or the one named. It is read and tried before
anything is touched. What differs from it is overwritten with --force only;
--dry-run names each file. A gateway that runs there is not disturbed: stop it.

What was purged stays so: nothing on the cache's disk is used any more, and
generations go on above all that were given out. Since purges that came after the
backup are not known, the next start purges everything, at the CDN too, unless the
gateway is of a fleet, whose Redis remembers them. --purge says otherwise.

Without a configuration: --from, --state-dir and --key-file.

Exit codes: 0 done, 1 not done, 2 usage, configuration, or files that --force would
overwrite.`

// edgeAlone is the app of a configuration without the others. Some of those write to
// Caddy's storage when they are provisioned, such as an authority that it lacks.
func edgeAlone(k checkConfig) (*App, error) {
	text, _, err := adapted(k)
	if err != nil {
		return nil, err
	}
	var whole caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &whole); err != nil {
		return nil, err
	}
	if whole.AppsRaw["edge"] == nil {
		return nil, fmt.Errorf("%s: no edge block in it", k.config)
	}
	part := caddy.Config{StorageRaw: whole.StorageRaw, AppsRaw: caddy.ModuleMap{"edge": whole.AppsRaw["edge"]}}
	quieten(&part)
	ctx, err := caddy.ProvisionContext(&part)
	if err != nil {
		return nil, withoutTrail(err)
	}
	app, err := ctx.AppIfConfigured("edge")
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// backupFlags are what both commands take.
type backupFlags struct {
	checkConfig
	target  backup.Target
	keyFile string
}

func (k *backupFlags) add(c *cobra.Command, target string) {
	f := c.Flags()
	f.StringVarP(&k.config, "config", "c", "Caddyfile", "configuration file")
	f.StringVarP(&k.adapter, "adapter", "a", "", adapterUsage)
	f.StringVar(&k.target.To, target, "", "folder, or s3://BUCKET/PREFIX (default: what the backup block says); keys for s3 are in $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY")
	f.StringVar(&k.target.Endpoint, "endpoint", "", "URL of the store, for s3 (default: AWS)")
	f.StringVar(&k.target.Region, "region", "", "region of the bucket, for s3")
	f.BoolVar(&k.target.PathStyle, "path-style", false, "put the bucket into the path, for s3")
	f.StringVar(&k.keyFile, "key-file", "", "file with the key that encrypts (default: what the backup block says)")
	f.BoolVar(&k.json, "json", false, "print JSON")
}

// open finds the configuration's vault, or that of the flags.
func (k *backupFlags) open(a *App) (*backup.Vault, error) {
	if k.target.To == "" && a.vault == nil {
		return nil, errors.New("no backup block in the configuration: want one, or a target as a flag")
	}
	if k.target.To == "" && k.keyFile == "" {
		return a.vault, nil
	}
	target, key := k.target, ""
	if a.Backup != nil {
		key = a.Backup.Key
		if target.To == "" {
			target = a.Backup.Target
		}
	}
	if k.keyFile != "" {
		text, err := os.ReadFile(k.keyFile)
		if err != nil {
			return nil, err
		}
		key = string(text)
	}
	if !strings.Contains(target.To, "://") && target.To != "" {
		absolute, err := filepath.Abs(target.To)
		if err != nil {
			return nil, err
		}
		target.To = absolute
	}
	return a.newVault(target, key)
}

func backupCommand(c *cobra.Command) {
	var k backupFlags
	var list, newKey bool
	var verify string
	c.Long, c.Args = backupLong, cobra.NoArgs
	k.add(c, "to")
	c.Flags().BoolVar(&list, "list", false, "show the backups that count")
	c.Flags().BoolVar(&newKey, "new-key", false, "print a new key")
	c.Flags().StringVar(&verify, "verify", "", "try the backup of this name, or latest")
	run(c, func(ctx context.Context, _ []string) int {
		if newKey {
			key, err := backup.NewKey()
			return printed(c, os.Stdout, key, err)
		}
		a, err := edgeAlone(k.checkConfig)
		var vault *backup.Vault
		if err == nil {
			vault, err = k.open(a)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "edge backup: %v\n", err)
			return cli.ExitUsage
		}
		switch {
		case list:
			markers, err := vault.List(ctx)
			return printed(c, os.Stdout, k.listed(markers), err)
		case verify != "":
			m, err := chosen(ctx, vault, verify)
			if err == nil {
				_, err = vault.Check(ctx, m)
			}
			return printed(c, os.Stdout, k.one("good", m), err)
		}
		m, err := vault.Make(ctx)
		if tidying := new(backup.Tidying); errors.As(err, &tidying) {
			fmt.Fprintf(os.Stderr, "edge backup: made, but %v\n", err)
			err = nil
		}
		return printed(c, os.Stdout, k.one("made", m), err)
	})
}

// printed prints what a command found, or why it did not, and returns the exit code.
func printed(c *cobra.Command, out io.Writer, text string, err error) int {
	if err != nil {
		fmt.Fprintf(os.Stderr, "edge %s: %v\n", c.Name(), err)
		return 1
	}
	fmt.Fprintln(out, text)
	return 0
}

func chosen(ctx context.Context, v *backup.Vault, name string) (backup.Marker, error) {
	markers, err := v.List(ctx)
	if err != nil {
		return backup.Marker{}, err
	}
	if name == "latest" {
		name = ""
	}
	return backup.Choose(markers, name)
}

func (k *backupFlags) one(what string, m backup.Marker) string {
	if k.json {
		return asJSON(m)
	}
	return what + ": " + backupLine(m)
}

func backupLine(m backup.Marker) string {
	sealed := "not encrypted"
	if m.Encrypted {
		sealed = "encrypted"
	}
	return fmt.Sprintf("%s  %s  %d bytes, %d files, %s, state %s of %s", m.Name, m.Created.UTC().Format(time.DateTime), m.Size, m.Files, sealed, m.Lineage, cmp.Or(m.Node, "?"))
}

func (k *backupFlags) listed(markers []backup.Marker) string {
	if k.json {
		return asJSON(slices.Concat([]backup.Marker{}, markers))
	}
	lines := []string{fmt.Sprintf("%d backups", len(markers))}
	for _, m := range markers {
		lines = append(lines, backupLine(m))
	}
	return strings.Join(lines, "\n")
}

func asJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic("caddymodule: " + err.Error()) // plain values cannot fail
	}
	return string(text)
}

// restoreFlags are what edge restore takes besides.
type restoreFlags struct {
	backupFlags
	name, stateDir, configDir, purge string
	only                             []string
	force, dryRun, ifEmpty           bool
}

func restoreCommand(c *cobra.Command) {
	var k restoreFlags
	c.Long, c.Args = restoreLong, cobra.NoArgs
	k.add(c, "from")
	f := c.Flags()
	f.StringVar(&k.name, "backup", "latest", "name of the backup, as edge backup --list shows it")
	f.StringVar(&k.stateDir, "state-dir", "", "folder to restore to, if there is no configuration")
	f.StringVar(&k.configDir, "config-dir", "", "folder to put the files with the configuration into (default: they are left out)")
	f.StringSliceVar(&k.only, "only", nil, "restore these only: state, storage (certificates), config")
	f.StringVar(&k.purge, "purge", purgeAuto, "purge everything at the next start: auto (unless a fleet remembers), always, never")
	f.BoolVar(&k.force, "force", false, "overwrite what differs")
	f.BoolVar(&k.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.BoolVar(&k.ifEmpty, "if-empty", false, "do nothing if there is a state already")
	run(c, func(ctx context.Context, _ []string) int {
		code, err := k.restore(ctx, os.Stdout)
		if err != nil {
			fmt.Fprintf(os.Stderr, "edge restore: %v\n", err)
		}
		return code
	})
}

// gateway is the configuration's, or one of the flags alone.
func (k *restoreFlags) gateway() (*App, certmagic.Storage, error) {
	if k.stateDir == "" {
		a, err := edgeAlone(k.checkConfig)
		if err != nil {
			return nil, nil, err
		}
		return a, a.ctx.Storage(), nil
	}
	if k.target.To == "" {
		return nil, nil, errors.New("--state-dir: want --from too")
	}
	return &App{StateDir: k.stateDir}, caddy.DefaultStorage, nil
}

func (k *restoreFlags) usage() error {
	var errs []error
	if !slices.Contains([]string{purgeAuto, purgeAlways, purgeNever}, k.purge) {
		errs = append(errs, fmt.Errorf("--purge %q: want auto, always or never", k.purge))
	}
	for _, part := range k.only {
		if !slices.Contains([]string{stateFolder, storageFolder, configFolder}, part+"/") {
			errs = append(errs, fmt.Errorf("--only %q: want state, storage or config", part))
		}
	}
	if slices.Contains(k.only, strings.TrimSuffix(configFolder, "/")) && k.configDir == "" {
		errs = append(errs, errors.New("--only config: want --config-dir too"))
	}
	return errors.Join(errs...)
}

func (k *restoreFlags) restore(ctx context.Context, out io.Writer) (int, error) {
	if err := k.usage(); err != nil {
		return cli.ExitUsage, err
	}
	a, storage, err := k.gateway()
	if err != nil {
		return cli.ExitUsage, err
	}
	vault, err := k.open(a)
	if err != nil {
		return cli.ExitUsage, err
	}
	if _, err := os.Stat(filepath.Join(a.StateDir, journalFile)); err == nil && k.ifEmpty {
		fmt.Fprintf(out, "%s has a state: nothing was done\n", a.StateDir)
		return 0, nil
	}
	began := time.Now()
	m, err := chosen(ctx, vault, k.name)
	if err != nil {
		return 1, fmt.Errorf("%s: %w", vault.Store, err)
	}
	content, err := vault.Check(ctx, m)
	if err != nil {
		return 1, err
	}
	r := &restoration{stateDir: a.StateDir, storage: storage, configDir: k.configDir, only: k.only, purge: k.purge, marker: m, content: content}
	changes, err := r.plan(ctx)
	if err != nil {
		return 1, err
	}
	if refused := k.refusal(changes); refused != nil && !k.dryRun {
		return cli.ExitUsage, refused
	}
	if !k.dryRun {
		if err := r.apply(ctx, changes); err != nil {
			return 1, err
		}
	}
	k.say(out, m, changes, time.Since(began))
	return 0, nil
}

// refusal names what would be overwritten without leave.
func (k *restoreFlags) refusal(changes []replacement) error {
	if k.force {
		return nil
	}
	var errs []error
	for _, c := range changes {
		if c.Action == changeReplace {
			errs = append(errs, fmt.Errorf("%s: is there, and differs: nothing was restored; --force overwrites it, --only leaves out parts", c.To))
		}
	}
	return errors.Join(errs...)
}

func (k *restoreFlags) say(out io.Writer, m backup.Marker, changes []replacement, took time.Duration) {
	if k.json {
		fmt.Fprintln(out, asJSON(map[string]any{"backup": m, "changes": slices.Concat([]replacement{}, changes), "done": !k.dryRun, "took": unit.Duration(took)}))
		return
	}
	verb := "restored"
	if k.dryRun {
		verb = "would restore"
	}
	fmt.Fprintf(out, "%s %s, %s old\n", verb, backupLine(m), m.Age(time.Now()).Round(time.Second))
	for _, c := range changes {
		fmt.Fprintf(out, "  %-8s %s\n", c.Action, c.To)
	}
	if k.dryRun {
		return
	}
	fmt.Fprintf(out, "in %s; start edge now\n", took.Round(time.Millisecond))
}
