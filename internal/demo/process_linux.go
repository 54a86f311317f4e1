package demo

import "syscall"

// childAttributes keep an interrupt at the terminal from children, which end in
// order, and let them go when this process is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
