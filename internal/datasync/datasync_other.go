//go:build !linux

package datasync

import "os"

// File waits until what was written to a file is on the platter.
func File(f *os.File) error { return f.Sync() }
