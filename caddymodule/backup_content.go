package caddymodule

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/purge"
)

// The folders of a backup.
const (
	stateFolder   = "state/"   // what is in the state folder
	storageFolder = "storage/" // what Caddy stores: certificates, accounts, keys
	configFolder  = "config/"  // files with the configuration
)

const (
	journalFile = "purge.journal"
	// lineageFile names the state from its first backup on.
	lineageFile = "backup.id"
)

// lineageOf reads the name of a state, or gives it one.
func lineageOf(stateDir string) (string, error) {
	path := filepath.Join(stateDir, lineageFile)
	text, err := os.ReadFile(path)
	if lineage := strings.TrimSpace(string(text)); err == nil && lineage != "" {
		return lineage, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	lineage := strings.ToLower(rand.Text()[:8])
	return lineage, writeDurably(path, []byte(lineage+"\n"))
}

// collectBackup copies what a gateway must not lose. It may be called beside a
// gateway that runs, by another process too: files are replaced in one step, and the
// journal is appended to.
func (a *App) collectBackup(ctx context.Context) (backup.Content, error) {
	var c backup.Content
	m := &c.Manifest
	m.Created, m.Fleet = time.Now().Truncate(time.Millisecond), a.Fleet != nil
	m.Edge, _ = versions()
	m.Node, _ = os.Hostname() // for people
	err := os.MkdirAll(a.StateDir, 0o700)
	if err == nil {
		m.Lineage, err = lineageOf(a.StateDir)
	}
	if err == nil {
		c.Files, err = stateFiles(a.StateDir)
	}
	if err != nil {
		return c, fmt.Errorf("state_dir: %w", err)
	}
	stored, err := storedFiles(ctx, a.ctx.Storage(), a.StateDir)
	if err != nil {
		return c, fmt.Errorf("storage: %w", err)
	}
	written, err := configFiles(a.Backup.files())
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	c.Files = slices.Concat(c.Files, stored, written)
	return c, nil
}

// files are those that hold the configuration.
func (c *BackupConfig) files() []string {
	if c != nil && len(c.Config) > 0 {
		return c.Config
	}
	return configOf(os.Args[1:])
}

// configOf is the configuration that edge run, or another command, was given.
func configOf(args []string) []string {
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		switch {
		case name != "--config" && name != "-config" && name != "-c":
		case joined:
			return []string{value}
		case i+1 < len(args):
			return []string{args[i+1]}
		}
	}
	if _, err := os.Stat("Caddyfile"); err == nil && len(args) > 0 && (args[0] == "run" || args[0] == "backup") {
		return []string{"Caddyfile"}
	}
	return nil
}

// passing are files of the state folder that are of no use to another start.
func passing(name string) bool {
	return name == diskID || name == restoredFile || name == backup.LockName || name == backup.OwnerLockName || strings.HasPrefix(name, ".") ||
		strings.HasSuffix(name, ".new") || strings.HasPrefix(name, stickyKeyFile+"-")
}

// stateFiles reads the state folder, and the journal last: what the others tell of
// is in it then.
func stateFiles(dir string) ([]backup.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && e.Name() != journalFile && !passing(e.Name()) {
			names = append(names, e.Name())
		}
	}
	var files []backup.File
	for _, name := range append(names, journalFile) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if name == journalFile {
			data = data[:bytes.LastIndexByte(data, '\n')+1] // a line may be on its way
		}
		files = append(files, backup.File{Name: stateFolder + name, Data: data, From: path})
	}
	return files, nil
}

// fleeting are folders of Caddy's storage that are made again.
var fleeting = map[string]bool{"locks": true, "ocsp": true}

// storedFiles reads Caddy's storage, wherever it is: all folders, but for the state
// folder, which may be in one of them.
func storedFiles(ctx context.Context, from certmagic.Storage, stateDir string) ([]backup.File, error) {
	tops, err := from.List(ctx, "", false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []backup.File
	for _, top := range tops {
		info, err := from.Stat(ctx, top)
		if err != nil || info.IsTerminal || fleeting[top] || holds(from, top, stateDir) {
			continue
		}
		keys, err := from.List(ctx, top, true)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			info, err := from.Stat(ctx, key)
			if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsTerminal {
				continue
			}
			data, err := from.Load(ctx, key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, err
			}
			files = append(files, backup.File{Name: storageFolder + key, Data: data})
		}
	}
	return files, nil
}

// holds reports whether a folder of a storage on disk is the state folder, or around
// it.
func holds(s certmagic.Storage, key, stateDir string) bool {
	files, onDisk := s.(*certmagic.FileStorage)
	if !onDisk {
		return false
	}
	folder, err := filepath.Abs(files.Filename(key))
	state, wrong := filepath.Abs(stateDir)
	if err != nil || wrong != nil {
		return false
	}
	way, err := filepath.Rel(folder, state)
	return err == nil && filepath.IsLocal(way)
}

// configFiles reads files, and what those that are Caddyfiles import.
func configFiles(paths []string) ([]backup.File, error) {
	var files []backup.File
	seen := make(map[string]bool)
	add := func(path string) ([]byte, error) {
		path, err := filepath.Abs(path)
		if err != nil || seen[path] {
			return nil, err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		seen[path] = true
		name := configFolder + strconv.Itoa(len(files)) + "-" + strings.Map(plainName, filepath.Base(path))
		files = append(files, backup.File{Name: name, Data: data, From: path})
		return data, nil
	}
	for _, path := range paths {
		data, err := add(path)
		if err != nil {
			return nil, err
		}
		for _, imported := range importedBy(path, data) {
			if _, err := add(imported); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// plainName leaves out of a file's name what an archive's must not have.
func plainName(r rune) rune {
	if r == '\\' || r == 0 {
		return '_'
	}
	return r
}

// importedBy lists the files that a Caddyfile imports.
func importedBy(path string, text []byte) []string {
	blocks, err := caddyfile.Parse(path, text)
	if err != nil {
		return nil // no Caddyfile, or one that would not be loaded
	}
	var files []string
	note := func(file string) {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	for _, b := range blocks {
		for _, key := range b.Keys {
			note(key.File)
		}
		for _, segment := range b.Segments {
			for _, token := range segment {
				note(token.File)
			}
		}
	}
	return files
}

// proveBackup opens what was unpacked into a folder as a start would.
func proveBackup(dir string, c backup.Content) error {
	var errs []error
	state := filepath.Join(dir, filepath.FromSlash(stateFolder))
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	journal, err := purge.OpenJournal(state, nil)
	if err != nil {
		return err
	}
	if journal.Damaged() {
		errs = append(errs, errors.New("the purge journal has damaged lines"))
	}
	errs = append(errs, journal.Close())
	pairs := make(map[string][2][]byte)
	for _, f := range c.Files {
		folder, name, _ := strings.Cut(f.Name, "/")
		switch ext := path.Ext(name); {
		case folder+"/" == stateFolder && ext == ".json" && !json.Valid(f.Data):
			errs = append(errs, fmt.Errorf("%s: not JSON", name))
		case folder+"/" == stateFolder && name == stickyKeyFile && len(bytes.TrimSpace(f.Data)) == 0:
			errs = append(errs, fmt.Errorf("%s: empty", name))
		case folder+"/" == storageFolder && ext == ".crt":
			pair := pairs[strings.TrimSuffix(name, ext)]
			pairs[strings.TrimSuffix(name, ext)] = [2][]byte{f.Data, pair[1]}
		case folder+"/" == storageFolder && ext == ".key":
			pair := pairs[strings.TrimSuffix(name, ext)]
			pairs[strings.TrimSuffix(name, ext)] = [2][]byte{pair[0], f.Data}
		}
	}
	for name, pair := range pairs {
		if pair[0] == nil || pair[1] == nil {
			continue // such as the key of an account
		}
		if _, err := tls.X509KeyPair(pair[0], pair[1]); err != nil {
			errs = append(errs, fmt.Errorf("certificate %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
