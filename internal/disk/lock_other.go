//go:build !unix

package disk

import (
	"io"
	"os"
	"path/filepath"
)

// Lock takes a folder, which is made if need be, for this process until the
// lock is closed. Other processes are not kept out here.
func Lock(dir string) (io.Closer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
}
