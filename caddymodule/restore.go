package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/purge"
)

// What a restore does to a file.
const (
	changeCreate  = "create"
	changeSame    = "same"
	changeReplace = "replace"
)

// replacement is one file of a restore.
type replacement struct {
	File   string `json:"file"` // in the backup
	To     string `json:"to"`
	Action string `json:"action"`

	data  []byte
	write func(context.Context, []byte) error
}

// restoration is a backup on its way back.
type restoration struct {
	stateDir  string
	storage   certmagic.Storage
	configDir string // where files with the configuration go; empty for nowhere
	only      []string
	purge     string
	marker    backup.Marker
	content   backup.Content
}

// generationJump is what a restored journal's generation is raised by: more purges
// than can have come after the backup, whose numbers are never given again.
const generationJump = 1_000_000

// plan says what would be done to which file. It changes nothing.
func (r *restoration) plan(ctx context.Context) ([]replacement, error) {
	var changes []replacement
	hasJournal := false
	for _, f := range r.content.Files {
		folder, name, _ := strings.Cut(f.Name, "/")
		if len(r.only) > 0 && !slices.Contains(r.only, folder) {
			continue
		}
		var c replacement
		var err error
		switch folder + "/" {
		case stateFolder:
			hasJournal = hasJournal || name == journalFile
			c, err = toDisk(filepath.Join(r.stateDir, name), f)
		case storageFolder:
			c, err = r.toStorage(ctx, name, f)
		case configFolder:
			if r.configDir == "" {
				continue
			}
			_, base, _ := strings.Cut(name, "-")
			c, err = toDisk(filepath.Join(r.configDir, base), f)
		default:
			err = fmt.Errorf("%s: want a file of state, storage or config: this backup is of another edge", f.Name)
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	if r.restoresState() && !hasJournal {
		return nil, fmt.Errorf("%s: no %s in it", r.marker.Name, journalFile)
	}
	return changes, nil
}

func (r *restoration) restoresState() bool {
	return len(r.only) == 0 || slices.Contains(r.only, strings.TrimSuffix(stateFolder, "/"))
}

// toDisk is a change of a file.
func toDisk(path string, f backup.File) (replacement, error) {
	c := replacement{File: f.Name, To: path, data: f.Data, write: func(_ context.Context, data []byte) error {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return writeDurably(path, data)
	}}
	there, err := os.ReadFile(path)
	return c.beside(there, err)
}

// toStorage is a change of what Caddy stores.
func (r *restoration) toStorage(ctx context.Context, key string, f backup.File) (replacement, error) {
	c := replacement{File: f.Name, To: fmt.Sprintf("%s in %s", key, r.storage), data: f.Data, write: func(ctx context.Context, data []byte) error {
		return r.storage.Store(ctx, key, data)
	}}
	there, err := r.storage.Load(ctx, key)
	return c.beside(there, err)
}

// beside compares with what is there.
func (c replacement) beside(there []byte, err error) (replacement, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Action = changeCreate
	case err != nil:
		return c, fmt.Errorf("%s: %w", c.To, err)
	case bytes.Equal(there, c.data):
		c.Action = changeSame
	default:
		c.Action = changeReplace
	}
	return c, nil
}

// apply restores. Whatever is on the cache's disk is given up first; a start in the
// middle is refused.
func (r *restoration) apply(ctx context.Context, changes []replacement) (err error) {
	if !r.restoresState() {
		return write(ctx, changes)
	}
	if err := os.MkdirAll(r.stateDir, 0o700); err != nil {
		return err
	}
	held, err := backup.Hold(r.stateDir)
	if errors.Is(err, backup.ErrLocked) {
		return fmt.Errorf("state_dir %q: a gateway runs there: stop it first", r.stateDir)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	note := restored{Backup: r.marker.Name, Created: r.marker.Created, At: time.Now(), Purge: r.purge}
	if err := note.write(r.stateDir); err != nil {
		return err
	}
	if err := new(gateway).forgetDisk(r.stateDir); err != nil {
		return err
	}
	for i := range changes {
		if changes[i].File == stateFolder+journalFile {
			if changes[i].data, err = r.raised(changes[i].data); err != nil {
				return err
			}
			// Never the same as what is there, since its generation is another.
			if changes[i].Action == changeSame {
				changes[i].Action = changeReplace
			}
		}
	}
	if err := write(ctx, changes); err != nil {
		return err
	}
	note.Finished = true
	return note.write(r.stateDir)
}

func write(ctx context.Context, changes []replacement) error {
	for _, c := range changes {
		if c.Action == changeSame {
			continue
		}
		if err := c.write(ctx, c.data); err != nil {
			return fmt.Errorf("%s: %w", c.To, err)
		}
	}
	return nil
}

// raised is the journal of the backup, with a generation that is above every one that
// was given out before or after it, here too. Orders that were not finished end, if
// all is going to be purged: they may have been done since, and their time is over.
func (r *restoration) raised(text []byte) ([]byte, error) {
	scratch, err := os.MkdirTemp("", "edge-restore-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch) // what fails leaves a folder that nobody else can read
	highest := uint64(0)
	var records []purge.Record
	for _, data := range [][]byte{there(filepath.Join(r.stateDir, journalFile)), text} {
		if err := os.WriteFile(filepath.Join(scratch, journalFile), data, 0o600); err != nil {
			return nil, err
		}
		journal, err := purge.OpenJournal(scratch, nil)
		if err != nil {
			return nil, err
		}
		found, generation := journal.Load()
		records, highest = found, max(highest, generation)
		if err := journal.Close(); err != nil {
			return nil, err
		}
	}
	if r.purge == purgeAlways || r.purge == purgeAuto && !r.content.Manifest.Fleet {
		records = superseded(records, r.marker.Name, time.Now())
	}
	journal, err := purge.OpenJournal(scratch, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(journal.Rewrite(records, highest+generationJump), journal.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(scratch, journalFile))
}

// there is what a file holds; nothing if it cannot be read, which plan would have
// said.
func there(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return data
}

// superseded ends the orders that were not finished.
func superseded(records []purge.Record, name string, now time.Time) []purge.Record {
	all := slices.Clone(records)
	for i, r := range all {
		if !r.State.Final() {
			r.State, r.Finished = purge.Canceled, now
			r.Error = "superseded by the purge of everything after the restore of " + name
			r.Exit = purge.ExitCode(r)
			all[i] = r
		}
	}
	return all
}
