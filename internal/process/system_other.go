//go:build !unix

package process

import (
	"errors"
	"os"
	"syscall"
)

// attributesFor are the system's defaults.
func attributesFor(user string) (*syscall.SysProcAttr, error) {
	if user != "" {
		return nil, errors.New("user: works on Unix only: leave it out")
	}
	return nil, nil
}

// awaitEnd leaves it to the caller, who waits for the process anyway.
func awaitEnd(int) {}

// signalGroup knows to kill one process only.
func signalGroup(pid int, signal syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if signal != syscall.SIGKILL {
		return errors.New("no such signal here")
	}
	return p.Kill()
}
