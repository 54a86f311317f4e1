//go:build !linux

package handover

import (
	"errors"
	"net"
)

// Passage is the way on which connections go from one process to the other.
type Passage struct{}

// Passenger is a connection on its way.
type Passenger struct {
	Conn    *net.TCPConn
	Address string
	Early   []byte
}

func newPassage(net.Conn) *Passage { return nil }

func openPassage(int) (*Passage, error) { return nil, errors.ErrUnsupported }

// Send is refused.
func (*Passage) Send(Passenger) error { return errors.ErrUnsupported }

// Receive is refused.
func (*Passage) Receive() (Passenger, error) { return Passenger{}, errors.ErrUnsupported }

// Close does nothing.
func (*Passage) Close() error { return nil }
