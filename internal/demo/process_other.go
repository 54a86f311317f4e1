//go:build !linux

package demo

import "syscall"

// childAttributes are the system's defaults.
func childAttributes() *syscall.SysProcAttr { return nil }
