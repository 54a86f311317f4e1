// Package freeport finds ports for servers that must know theirs before they
// listen.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

const (
	lowest = 10000 // below live well-known servers

	// below is where the ports begin that Linux and the BSDs hand out by
	// themselves, to outgoing connections and to listeners on port 0. A port
	// from there may be gone before a server gets to listen on it.
	below = 32768

	tries = 1000
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Addresses returns n different addresses of the loopback interface, as
// host:port, on which nobody listens. No two calls in one process return the
// same. Where the system keeps its local ports above 11000, as it does unless it
// was told otherwise, it gives none of them to anybody by itself; another
// program may still take one that it was told to.
func Addresses(n int) ([]string, error) {
	given.Lock()
	defer given.Unlock()
	top := top()
	list := make([]string, 0, n)
	for range tries {
		if len(list) == n {
			return list, nil
		}
		port := lowest + rand.IntN(top-lowest)
		if given.ports[port] {
			continue
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
		if given.ports == nil {
			given.ports = make(map[int]bool)
		}
		given.ports[port] = true
		list = append(list, address)
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d", n, lowest, top)
}

// top is where the ports begin that this system hands out by itself.
func top() int {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range") // There is none but on Linux.
	return topOf(string(text))
}

func topOf(localRange string) int {
	var first int
	if _, err := fmt.Sscan(localRange, &first); err != nil || first < lowest+tries {
		return below // The usual; or the range leaves nothing under it.
	}
	return min(first, below)
}
