package process

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// attributesFor put the child into a group of its own, so that a signal reaches
// whom it starts too and an interrupt at the terminal does not, and let the
// kernel kill it when this process dies.
func attributesFor(user string) (*syscall.SysProcAttr, error) {
	credential, err := credentialOf(user)
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: credential}, err
}

// awaitEnd returns when the process has ended, and leaves it to be waited for:
// until then nobody else gets its number.
func awaitEnd(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			return
		}
	}
}
