//go:build !linux

package handover

import (
	"errors"
	"net"
	"os"
)

func pair(bool) (net.Conn, *os.File, error) { return nil, nil, errors.ErrUnsupported }

func keepFromChildren(int) {}

func becomeStderr(int) error { return errors.ErrUnsupported }
