//go:build unix

package backup

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Share holds a folder of state with other gateways, and keeps a restore out, until
// the lock is closed or the process ends.
func Share(dir string) (io.Closer, error) { return lock(dir, syscall.LOCK_SH) }

// Hold holds a folder of state alone. Both fail with ErrLocked.
func Hold(dir string) (io.Closer, error) { return lock(dir, syscall.LOCK_EX) }

func lock(dir string, how int) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(dir, LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), file.Close())
	}
	return file, nil
}
