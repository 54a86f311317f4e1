//go:build !unix

package backup

import (
	"io"
	"os"
	"path/filepath"
)

// Share is for systems with locks of files: here nobody is kept out.
func Share(dir string) (io.Closer, error) { return Hold(dir) }

// Hold is for systems with locks of files: here nobody is kept out.
func Hold(dir string) (io.Closer, error) { return open(dir, LockName) }

// Own is for systems with locks of files: here nobody is kept out.
func Own(dir string) (io.Closer, error) { return open(dir, OwnerLockName) }

func open(dir, name string) (io.Closer, error) {
	return os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
}
