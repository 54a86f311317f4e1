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

// Share keeps a restore out of a folder of state, together with other gateways, until
// the lock is closed or the process ends.
func Share(dir string) (io.Closer, error) { return lock(dir, LockName, syscall.LOCK_SH) }

// Hold keeps gateways out of a folder of state.
func Hold(dir string) (io.Closer, error) { return lock(dir, LockName, syscall.LOCK_EX) }

// Own makes this the one gateway that writes into a folder of state. Of two that
// share it in a handover, the state is one's at a time. All three fail with ErrLocked.
func Own(dir string) (io.Closer, error) { return lock(dir, OwnerLockName, syscall.LOCK_EX) }

func lock(dir, name string, how int) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
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
