package caddymodule

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// stickyKeyFile is where the key of the policy sticky is kept, in the state
// folder: pins that visitors hold are good after a restart.
const stickyKeyFile = "sticky.key"

// stickyKey reads the key, or makes it. The state folder exists by then.
func (a *App) stickyKey() (string, error) {
	path := filepath.Join(a.StateDir, stickyKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeStickyKey(path)
	}
	if err != nil {
		return "", fmt.Errorf("key of policy sticky: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// makeStickyKey writes a new key in one step: a crash leaves all of it or none.
func makeStickyKey(path string) (string, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	key := hex.EncodeToString(raw)
	file, err := os.CreateTemp(filepath.Dir(path), stickyKeyFile+"-*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("key of policy sticky: %w", err)
	}
	_, err = file.WriteString(key + "\n")
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // The error before it is the one to tell.
		return "", fmt.Errorf("key of policy sticky: %w", err)
	}
	return key, nil
}
