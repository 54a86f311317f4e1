package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// besides makes the process that c starts a child of this one's parent, and gives
// where its descriptor will be. Where the kernel has none, nil: then it stays a child,
// whose end is known without.
func besides(c *exec.Cmd) *int {
	own := watch(os.Getpid())
	if own < 0 {
		return nil
	}
	_ = unix.Close(own) // was a trial
	pidfd := -1
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT, PidFD: &pidfd}
	return &pidfd
}

// watch gives a descriptor that tells of a process's end, negative for none.
func watch(pid int) int {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1
	}
	return pidfd
}

// awaitEnd waits for the end of a process, and closes its descriptor.
func awaitEnd(pidfd int) error {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1)
		if !errors.Is(err, unix.EINTR) {
			return errors.Join(err, unix.Close(pidfd))
		}
	}
}

func hasEnded(pidfd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// maker is the process that made both ends of a connection, as pair does.
func maker(conn net.Conn) (int, error) {
	own, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T: want a socket between processes", conn)
	}
	raw, err := own.SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { who, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("whose socket: %w", err)
	}
	return int(who.Pid), nil
}
