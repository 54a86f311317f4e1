package caddymodule

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/unit"
)

// Vault is the part of the cache's memory that keeps assets of past versions,
// whatever else wants the room.
type Vault struct {
	// Off keeps none.
	Off bool `json:"off,omitempty"`
	// Size is the most that it may take. Default: an eighth of the cache's memory.
	// Half of it at most.
	Size unit.Bytes `json:"size,omitempty"`
	// Versions is of how many versions it keeps assets. Default: 10.
	Versions int `json:"versions,omitempty"`
}

// options is nil for no vault.
func (v *Vault) options() *httpcache.VaultOptions {
	if v.Off {
		return nil
	}
	return &httpcache.VaultOptions{MaxBytes: int64(v.Size), Versions: v.Versions}
}

// check says what is wrong with the vault of a cache of so much memory.
func (v *Vault) check(memory unit.Bytes) error {
	var errs []error
	if most := cmp.Or(memory, httpcache.DefaultMaxBytes) / 2; v.Size < 0 || v.Size > most {
		errs = append(errs, fmt.Errorf("cache vault %s: want %s at most: half of the memory", v.Size, most))
	}
	if v.Versions < 0 {
		errs = append(errs, fmt.Errorf("cache vault versions %d: want 1 or more", v.Versions))
	}
	if v.Off && (v.Size != 0 || v.Versions != 0) {
		errs = append(errs, errors.New("cache vault off: want neither a size nor versions"))
	}
	return errors.Join(errs...)
}

// parseVault reads "vault off" or "vault [SIZE] { versions COUNT }".
func parseVault(v *Vault) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		switch args := d.RemainingArgs(); {
		case len(args) > 1:
			return d.Errf("vault: spare argument %q: want off, or a size", args[1])
		case len(args) == 1 && args[0] == "off":
			v.Off = true
			return noBlock(d, "vault off")
		case len(args) == 1:
			var err error
			if v.Size, err = positive(unit.ParseBytes)(args[0]); err != nil {
				return d.Errf("vault %v", err)
			}
		}
		return readBlock(d, words{"versions": count(&v.Versions)})
	}
}
