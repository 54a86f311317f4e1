package caddymodule

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// steerToFirst has the kernel send each connection for the address to the first
// socket that was opened for it, whatever others are opened later (socket(7):
// SO_ATTACH_REUSEPORT_CBPF; the program's result is an index among the sockets
// in the order in which they were added).
func steerToFirst(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = steer(int(fd), 0) })
	if err != nil {
		return err
	}
	return failed
}

// steer has the kernel send all connections for the address of a socket to the one
// of that index, as above.
func steer(fd int, index uint32) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: index}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// unshared tells that no other socket can have the address of this one.
func unshared(l *net.TCPListener) bool {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	shared := 1
	err = raw.Control(func(fd uintptr) {
		if value, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT); err == nil {
			shared = value
		}
	})
	return err == nil && shared == 0
}

// endStalled has the kernel end connections whose client takes nothing for so long
// (tcp(7): TCP_USER_TIMEOUT, which connections inherit from their listener); 0 leaves
// that to the kernel.
func endStalled(l *net.TCPListener, patience time.Duration) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(patience.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}
