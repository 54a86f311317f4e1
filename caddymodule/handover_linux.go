package caddymodule

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// checkOwner refuses a binary that others could have put there.
func checkOwner(binary string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if ok && stat.Uid != 0 && stat.Uid != uint32(os.Getuid()) || info.Mode()&0o022 != 0 {
		return fmt.Errorf("binary %s: want one that belongs to root or to the user of the gateway, and that nobody else may write", binary)
	}
	return nil
}

// notifyMainPID tells systemd, if that has started this process, which one it is
// about now (sd_notify(3)).
func notifyMainPID(pid int) error {
	if !supervised() {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "MAINPID=%d\nREADY=1", pid); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}
