//go:build !linux

package handover

import (
	"errors"
	"net"
	"os"
	"os/exec"
)

func pair(bool) (net.Conn, *os.File, error) { return nil, nil, errors.ErrUnsupported }

func besides(*exec.Cmd) *int { return nil }

func watch(int) int { return -1 }

func awaitEnd(int) error { return errors.ErrUnsupported }

func hasEnded(int) bool { return true }

func maker(net.Conn) (int, error) { return 0, errors.ErrUnsupported }

func keepFromChildren(int) {}

func becomeStderr(int) error { return errors.ErrUnsupported }
