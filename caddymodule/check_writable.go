package caddymodule

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// writable says why a folder cannot be written, or made if it is not there. It does
// neither.
func writable(folder string) error {
	there := nearest(folder)
	info, err := os.Stat(there)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: there, Err: syscall.ENOTDIR}
	}
	return mayWrite(there, true)
}

// writableFile says why a file cannot be written, or made if it is not there.
func writableFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writable(filepath.Dir(path))
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	return mayWrite(path, false)
}

// nearest is the folder, or what is there of the way to it.
func nearest(folder string) string {
	for {
		_, err := os.Stat(folder)
		above := filepath.Dir(folder)
		if !errors.Is(err, fs.ErrNotExist) || above == folder {
			return folder
		}
		folder = above
	}
}
