package datasync

import (
	"os"
	"syscall"
)

// File waits until what was written to a file is on the platter, with the length
// that is needed to read it. Unlike File.Sync it does not wait for the times of
// the file, for which a journaling file system has to commit, along with what
// others have written meanwhile (fdatasync(2)).
func File(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	result := error(nil)
	err = conn.Control(func(fd uintptr) {
		for {
			if result = syscall.Fdatasync(int(fd)); result != syscall.EINTR {
				return
			}
		}
	})
	if err == nil && result != nil {
		err = os.NewSyscallError("fdatasync", result)
	}
	return err
}
