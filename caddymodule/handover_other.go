//go:build !linux

package caddymodule

import "io/fs"

func checkOwner(string, fs.FileInfo) error { return nil }

func notifyMainPID(int) error { return nil }
