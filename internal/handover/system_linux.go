package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// pair makes two ends of a connection: of a stream, or of messages, which may carry
// files. Ours is for the runtime's poller.
func pair(messages bool) (ours net.Conn, theirs *os.File, err error) {
	kind := syscall.SOCK_STREAM
	if messages {
		kind = syscall.SOCK_SEQPACKET
	}
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "handover")
	mine := os.NewFile(uintptr(fds[0]), "handover")
	defer mine.Close()
	if ours, err = net.FileConn(mine); err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

func keepFromChildren(fd int) { syscall.CloseOnExec(fd) }

// becomeStderr puts an open descriptor in the place of standard error.
func becomeStderr(fd int) error {
	return errors.Join(syscall.Dup3(fd, 2, 0), syscall.Close(fd))
}
