package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Vault makes backups in a store, and finds them there.
type Vault struct {
	Store Store
	// Key encrypts; nil for nobody.
	Key *Key
	// Keep is how many backups of one lineage stay, at least one.
	Keep int
	// Collect copies what is to be backed up.
	Collect func(ctx context.Context) (Content, error)
	// Prove looks at a backup that was unpacked into a folder, as whoever restores
	// it would. It may be called for any backup.
	Prove func(dir string, c Content) error

	mu sync.Mutex
	// read are the markers that were read before: they do not change.
	read map[string]Marker
}

// Make makes a backup: it copies, packs, stores, reads back, unpacks into a scratch
// folder, has it proved, and only then marks it, so that it counts, and lets old ones
// go. After an error nothing counts that did not before. One that says Tidying made a
// backup, which counts.
func (v *Vault) Make(ctx context.Context) (Marker, error) {
	content, err := v.Collect(ctx)
	if err != nil {
		return Marker{}, err
	}
	packed, err := Pack(content, v.Key)
	if err != nil {
		return Marker{}, err
	}
	m := Marker{
		Lineage: content.Manifest.Lineage, Created: content.Manifest.Created, SHA256: sum(packed), Size: int64(len(packed)), Files: len(content.Files), Node: content.Manifest.Node, Encrypted: v.Key != nil,
	}
	m.Name = archiveName(content.Manifest, m.SHA256, v.Key)
	if err := v.Store.Put(ctx, m.Name, packed); err != nil {
		return Marker{}, fmt.Errorf("write %s: %w", m.Name, err)
	}
	back, err := v.Fetch(ctx, m)
	if err == nil {
		err = v.prove(back)
	}
	if err != nil {
		return Marker{}, fmt.Errorf("read back: %w", err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return Marker{}, err
	}
	if err := v.Store.Put(ctx, m.Name+markerSuffix, text); err != nil {
		return Marker{}, fmt.Errorf("write %s: %w", m.Name+markerSuffix, err)
	}
	return m, v.tidy(ctx, m)
}

// Tidying is what went wrong after a backup was made: it counts, and old ones take
// room still.
type Tidying struct{ Err error }

func (t *Tidying) Error() string { return "old backups stay: " + t.Err.Error() }

// Unwrap gives the cause.
func (t *Tidying) Unwrap() error { return t.Err }

// tidy lets old backups go. m has just been made: if the store does not list it,
// nothing is deleted.
func (v *Vault) tidy(ctx context.Context, m Marker) error {
	objects, markers, err := v.survey(ctx)
	if err == nil {
		err = fmt.Errorf("%s is not listed, though it was written", m.Name)
		for _, other := range markers {
			if other.Name == m.Name {
				err = nil
			}
		}
	}
	if err != nil {
		return &Tidying{err}
	}
	for _, name := range expired(m.Created, objects, markers, m.Lineage, v.Keep) {
		if err := v.Store.Delete(ctx, name); err != nil {
			return &Tidying{fmt.Errorf("delete %s: %w", name, err)}
		}
	}
	return nil
}

// List gives the backups that count, the newest first.
func (v *Vault) List(ctx context.Context) ([]Marker, error) {
	_, markers, err := v.survey(ctx)
	newestFirst(markers)
	return markers, err
}

// askedAtOnce is how many markers are read at a time.
const askedAtOnce = 16

// survey lists a store. A marker that says something else than its name is left out:
// it does not count.
func (v *Vault) survey(ctx context.Context) ([]Object, []Marker, error) {
	objects, err := v.Store.List(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("list: %w", err)
	}
	there := make(map[string]int64)
	for _, o := range objects {
		there[o.Name] = o.Size
	}
	read := make(map[string]Marker)
	var errs []error
	v.mu.Lock()
	known := v.read
	v.mu.Unlock()
	var mu sync.Mutex
	var reads sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, o := range objects {
		archive, isMarker := strings.CutSuffix(o.Name, markerSuffix)
		size, whole := there[archive]
		if !isMarker || !whole {
			continue
		}
		if m, ok := known[o.Name]; ok {
			mu.Lock()
			read[o.Name] = m
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		reads.Go(func() {
			defer func() { <-slots }()
			text, err := v.Store.Get(ctx, o.Name)
			m, bad := readMarker(o.Name, text)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, fs.ErrNotExist): // the gateway has let it go since it was listed
			case err != nil:
				errs = append(errs, fmt.Errorf("read %s: %w", o.Name, err))
			case bad == nil && m.Size == size:
				read[o.Name] = m
			}
		})
	}
	reads.Wait()
	v.mu.Lock()
	v.read = read
	v.mu.Unlock()
	return objects, slices.Collect(maps.Values(read)), errors.Join(errs...)
}

// Fetch reads a backup, and gives it only if all of it is as it was written.
func (v *Vault) Fetch(ctx context.Context, m Marker) (Content, error) {
	data, err := v.Store.Get(ctx, m.Name)
	if err != nil {
		return Content{}, fmt.Errorf("read %s: %w", m.Name, err)
	}
	if sum(data) != m.SHA256 {
		return Content{}, fmt.Errorf("%s: damaged: it is not what its marker says", m.Name)
	}
	c, err := Unpack(data, v.Key)
	if err == nil && (c.Manifest.Lineage != m.Lineage || !c.Manifest.Created.Equal(m.Created)) {
		err = errors.New("its marker belongs to another backup")
	}
	if err != nil {
		return Content{}, fmt.Errorf("%s: %w", m.Name, err)
	}
	return c, nil
}

// Check fetches a backup and proves it.
func (v *Vault) Check(ctx context.Context, m Marker) (Content, error) {
	c, err := v.Fetch(ctx, m)
	if err == nil {
		err = v.prove(c)
	}
	return c, err
}

// prove restores into a scratch folder, and has it looked at there.
func (v *Vault) prove(c Content) (err error) {
	dir, err := os.MkdirTemp("", "edge-restore-*") // mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, f := range c.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			return err
		}
	}
	if err := v.Prove(dir, c); err != nil {
		return fmt.Errorf("restored for a trial: %w", err)
	}
	return nil
}

// Age is how long ago a backup began.
func (m Marker) Age(now time.Time) time.Duration { return now.Sub(m.Created) }
