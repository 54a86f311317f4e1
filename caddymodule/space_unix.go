//go:build linux || darwin

package caddymodule

import "syscall"

// freeSpace is what a user's files may still take where a folder is.
func freeSpace(folder string) (bytes int64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), true
}
