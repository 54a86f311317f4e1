//go:build !linux

package caddymodule

// synchronised: only Linux tells.
func synchronised() bool { return true }
