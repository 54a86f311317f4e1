//go:build !linux

package caddymodule

import (
	"errors"
	"net"
	"time"
)

func steerToFirst(*net.TCPListener) error { return errors.ErrUnsupported }

func unshared(*net.TCPListener) bool { return false }

func endStalled(*net.TCPListener, time.Duration) error { return nil } // the documentation says so
