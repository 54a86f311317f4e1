//go:build !linux && !darwin

package caddymodule

// freeSpace is not known here.
func freeSpace(string) (bytes int64, ok bool) { return 0, false }

// mayWrite is not known here.
func mayWrite(string, bool) error { return nil }
