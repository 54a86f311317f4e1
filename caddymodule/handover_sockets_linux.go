package caddymodule

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// estate are the sockets that this process listens on, as it hands them over.
type estate struct {
	// inherited are those of the listener wrapper, by address: both processes
	// have them for a while, and what waits in them is lost to neither.
	inherited map[string]*os.File
	// fixed are those that a service manager gave, by number.
	fixed map[int]*os.File
	// steered are the others, by address: the kernel is told whose turn it is.
	steered map[string]group
}

// group are the sockets of this process for one address, to which the successor
// adds its own.
type group []*os.File

func (e *estate) close() {
	for _, file := range e.inherited {
		_ = file.Close() // a copy
	}
	for _, file := range e.fixed {
		_ = file.Close() // a copy
	}
	for _, g := range e.steered {
		for _, file := range g {
			_ = file.Close() // a copy
		}
	}
}

// takeStock finds the sockets on which this process listens, whoever opened them,
// and has the kernel send what arrives to this process's, whatever a successor
// opens beside them. Sockets that cannot be handed over are an error.
func takeStock() (*estate, error) {
	e := &estate{inherited: make(map[string]*os.File), fixed: make(map[int]*os.File), steered: make(map[string]group)}
	kept, err := e.keptSockets()
	if err == nil {
		err = e.others(kept)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

// keptSockets copies those of the listener wrapper, and gives their addresses.
func (e *estate) keptSockets() (addresses map[string]bool, err error) {
	sockets.Lock()
	defer sockets.Unlock()
	addresses = make(map[string]bool, len(sockets.open))
	for address, s := range sockets.open {
		addresses[address] = true
		if unshared(s.tcp) {
			continue // the service manager's, which is found by its number
		}
		file, err := s.tcp.File()
		if err != nil {
			return nil, fmt.Errorf("socket of %s: %w", address, err)
		}
		e.inherited[address] = file
	}
	return addresses, nil
}

func (e *estate) others(kept map[string]bool) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("open files of this process: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			errs = append(errs, e.consider(fd, kept))
		}
	}
	return errors.Join(errs...)
}

// consider judges one open file. Any error of asking says that it is no socket, or
// none any more.
func (e *estate) consider(fd int, kept map[string]bool) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return nil
	}
	kind, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
		file, err := copyOf(fd)
		if err == nil {
			e.fixed[fd] = file
		}
		return err
	}
	if family == unix.AF_UNIX && listens == 1 {
		return fmt.Errorf("listener %s: want TCP: a socket in the file system goes when this process does, so restart instead", addressOf(fd))
	}
	shared, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	network := family == unix.AF_INET || family == unix.AF_INET6
	if err != nil || shared == 0 || !network || kind == unix.SOCK_STREAM && listens == 0 {
		return nil
	}
	if kind == unix.SOCK_STREAM && kept[addressOf(fd)] {
		return nil // Steered since it was opened.
	}
	if err := steer(fd, 0); err != nil {
		return fmt.Errorf("listener %s: %w", addressOf(fd), err)
	}
	if kind != unix.SOCK_STREAM {
		return nil // HTTP/3 stays here to the end: its connections are not the kernel's.
	}
	return e.addSteered(fd)
}

func (e *estate) addSteered(fd int) error {
	file, err := copyOf(fd)
	if err == nil {
		address := addressOf(fd)
		e.steered[address] = append(e.steered[address], file)
	}
	return err
}

// giveTurn has what arrives from now on sent to the successor, whose sockets follow
// ours in the kernel's order.
func (e *estate) giveTurn() error {
	var errs []error
	for address, g := range e.steered {
		if err := steer(int(g[0].Fd()), uint32(len(g))); err != nil {
			errs = append(errs, fmt.Errorf("listener %s: %w", address, err))
		}
	}
	return errors.Join(errs...)
}

// letGo takes this process's sockets out of those that the kernel chooses from, once
// the handshakes under way have had their time. What listens there ends.
func (e *estate) letGo() {
	steered := e.steered
	e.steered = nil
	time.Sleep(lastHandshakes)
	for _, g := range steered {
		for _, file := range g {
			_ = unix.Shutdown(int(file.Fd()), unix.SHUT_RDWR) // it may be closed by now
			_ = file.Close()                                  // a copy
		}
	}
}

func copyOf(fd int) (*os.File, error) {
	copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("copy of file %d: %w", fd, err)
	}
	return os.NewFile(uintptr(copied), "socket"), nil
}

// addressOf is a socket's own, as net writes it.
func addressOf(fd int) string {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "unknown"
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrUnix:
		return a.Name
	}
	return "unknown"
}
