//go:build unix && !linux

package process

import "syscall"

// attributesFor put the child into a group of its own.
func attributesFor(user string) (*syscall.SysProcAttr, error) {
	credential, err := credentialOf(user)
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential}, err
}

// awaitEnd leaves it to the caller, who waits for the process anyway.
func awaitEnd(int) {}
