package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// unchanged is a storage over another that is read and never changed: what is written
// is kept in memory, and gone with the process.
type unchanged struct {
	OfRaw json.RawMessage `json:"of,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	of certmagic.Storage

	mu sync.Mutex

	changes map[string][]byte // nil where a key, and all below it, was deleted
}

// CaddyModule returns the Caddy module information.
func (*unchanged) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.edge_unchanged", New: func() caddy.Module { return new(unchanged) }}
}

// Provision finds the storage below: Caddy's default one if none is named.
func (u *unchanged) Provision(ctx caddy.Context) error {
	u.of = caddy.DefaultStorage
	if u.OfRaw == nil {
		return nil
	}
	module, err := ctx.LoadModule(u, "OfRaw")
	if err != nil {
		return err
	}
	u.of, err = module.(caddy.StorageConverter).CertMagicStorage()
	return err
}

// CertMagicStorage returns the storage itself.
func (u *unchanged) CertMagicStorage() (certmagic.Storage, error) { return u, nil }

// Lock waits for nobody: no other process sees what is written here.
func (u *unchanged) Lock(context.Context, string) error { return nil }

// Unlock is Lock's other half.
func (u *unchanged) Unlock(context.Context, string) error { return nil }

// Store keeps a value in memory.
func (u *unchanged) Store(_ context.Context, key string, value []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.changeLocked(key, append([]byte{}, value...))
	return nil
}

// Delete has a key, and all below it, not found any more.
func (u *unchanged) Delete(_ context.Context, key string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	for other := range u.changes {
		if below(other, key) {
			delete(u.changes, other)
		}
	}
	u.changeLocked(key, nil)
	return nil
}

func (u *unchanged) changeLocked(key string, value []byte) {
	if u.changes == nil {
		u.changes = make(map[string][]byte)
	}
	u.changes[path.Clean(key)] = value
}

// changed tells what was written to a key; value is nil if it was deleted.
func (u *unchanged) changed(key string) (value []byte, is bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key = path.Clean(key)
	if value, is := u.changes[key]; is {
		return value, true
	}
	for above := path.Dir(key); above != "."; above = path.Dir(above) {
		if value, is := u.changes[above]; is && value == nil {
			return nil, true
		}
	}
	return nil, false
}

// Load reads a value.
func (u *unchanged) Load(ctx context.Context, key string) ([]byte, error) {
	value, is := u.changed(key)
	switch {
	case !is:
		return u.of.Load(ctx, key)
	case value == nil:
		return nil, fs.ErrNotExist
	}
	return value, nil
}

// Exists reports whether there is a value, or one below.
func (u *unchanged) Exists(ctx context.Context, key string) bool {
	if value, is := u.changed(key); value != nil || len(u.written(key)) > 0 {
		return true
	} else if is {
		return false
	}
	return u.of.Exists(ctx, key)
}

// Stat tells what is known of a key.
func (u *unchanged) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, is := u.changed(key)
	switch {
	case value != nil:
		return certmagic.KeyInfo{Key: key, Size: int64(len(value)), IsTerminal: true}, nil
	case len(u.written(key)) > 0:
		return certmagic.KeyInfo{Key: key}, nil
	case is:
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return u.of.Stat(ctx, key)
}

// List returns the keys below one, those in between too if it is recursive.
func (u *unchanged) List(ctx context.Context, key string, recursive bool) ([]string, error) {
	keys, err := u.of.List(ctx, key, recursive)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	keys = slices.DeleteFunc(keys, func(one string) bool {
		value, is := u.changed(one)
		return is && value == nil
	})
	top := path.Clean(key)
	for _, one := range u.written(key) {
		for ; one != top; one = path.Dir(one) {
			if (recursive || path.Dir(one) == top) && !slices.Contains(keys, one) {
				keys = append(keys, one)
			}
		}
	}
	value, is := u.changed(key)
	switch {
	case len(keys) > 0 || value != nil:
		return keys, nil
	case is:
		return nil, fs.ErrNotExist
	}
	return nil, err
}

// written are the keys below one to which something was written.
func (u *unchanged) written(key string) (keys []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for one, value := range u.changes {
		if value != nil && below(one, key) {
			keys = append(keys, one)
		}
	}
	return keys
}

// below reports whether one key is a file in the folder that the other is.
func below(key, folder string) bool {
	folder = path.Clean(folder)
	return folder == "." || strings.HasPrefix(key, folder+"/")
}

var (
	_ caddy.Provisioner      = (*unchanged)(nil)
	_ caddy.StorageConverter = (*unchanged)(nil)
	_ certmagic.Storage      = (*unchanged)(nil)
)
