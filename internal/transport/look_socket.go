//go:build linux || darwin || freebsd

package transport

import "syscall"

const supported = true

// lookAt returns what looks at an idle connection without reading from it.
func lookAt(raw syscall.RawConn) func() standing {
	found := noisy
	var one [1]byte
	peek := func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EAGAIN, err == syscall.EINTR:
			found = open
		case err == nil && n == 0:
			found = ended
		default:
			found = noisy
		}
	}
	return func() standing {
		if raw.Control(peek) != nil {
			return noisy // It is closed on our side.
		}
		return found
	}
}
