//go:build !linux

package caddymodule

import (
	"errors"
	"net"
)

func steerToFirst(*net.TCPListener) error { return errors.ErrUnsupported }

func unshared(*net.TCPListener) bool { return false }
