package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Passage is one process's end of the way on which connections go from one to the
// other.
type Passage struct{ conn *net.UnixConn }

// Passenger is a connection on its way, to what listens on Address.
type Passenger struct {
	Conn    *net.TCPConn
	Address string
	// Early is what has been read of it already.
	Early []byte
}

// label is what a message says beside the connection that comes with it.
type label struct {
	Address string `json:"address"`
	Early   []byte `json:"early,omitempty"`
}

const (
	// maxLabel bounds a label: a header that is not whole, in base64.
	maxLabel = 64 << 10
	// passagePatience is how long the other process may leave the way full.
	passagePatience = 10 * time.Second
)

// newPassage is the end of one that pair has made.
func newPassage(ours net.Conn) *Passage { return &Passage{ours.(*net.UnixConn)} }

// openPassage is the end that this process was given.
func openPassage(fd int) (*Passage, error) {
	file := os.NewFile(uintptr(fd), "passage")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	own, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("passage: %T: want a socket between processes", conn), conn.Close())
	}
	return &Passage{own}, nil
}

// Send lets the other process have a connection. This one's copy stays the caller's, to
// be closed: if Send fails, the connection ends with that, and so does the way. It waits
// while that is full.
func (p *Passage) Send(who Passenger) error {
	text, err := json.Marshal(label{who.Address, who.Early})
	if err != nil {
		return err
	}
	raw, err := who.Conn.SyscallConn()
	if err != nil {
		return err
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(passagePatience)); err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		_, _, failed = p.conn.WriteMsgUnix(text, syscall.UnixRights(int(fd)), nil)
	})
	if failed != nil {
		_ = p.conn.Close() // who waits behind this one need not find out for itself
	}
	return errors.Join(err, failed)
}

// Receive waits for the next one. Any error is the end of the way.
func (p *Passage) Receive() (who Passenger, err error) {
	text, rights := make([]byte, maxLabel), make([]byte, syscall.CmsgSpace(4))
	n, m, _, _, err := p.conn.ReadMsgUnix(text, rights)
	if err != nil {
		return who, err
	}
	if who.Conn, err = passed(rights[:m]); err != nil {
		return who, err
	}
	var what label
	if err := json.Unmarshal(text[:n], &what); err != nil {
		return who, errors.Join(fmt.Errorf("passage: %w", err), who.Conn.Close())
	}
	who.Address, who.Early = what.Address, what.Early
	return who, nil
}

// passed is the connection that came with a message.
func passed(rights []byte) (*net.TCPConn, error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil || len(messages) != 1 {
		return nil, errors.Join(fmt.Errorf("passage: %d control messages: want 1", len(messages)), err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		for _, fd := range fds {
			_ = syscall.Close(fd) // it is nobody's
		}
		return nil, errors.Join(fmt.Errorf("passage: %d files: want 1", len(fds)), err)
	}
	file := os.NewFile(uintptr(fds[0]), "connection")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("passage: %w", err)
	}
	own, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("passage: %T: want a connection of TCP", conn), conn.Close())
	}
	return own, nil
}

// Close ends the way. What the other process has not received yet is closed with it.
func (p *Passage) Close() error { return p.conn.Close() }
