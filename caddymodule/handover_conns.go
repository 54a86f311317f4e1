package caddymodule

import (
	"context"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/handover"
	"github.com/edgegw/edge/internal/idleconn"
)

// moveConns has the connections of this process that wait for a request, and later
// each that comes to wait for one, go on in the successor: this process would close
// them when it ends, and lose a request that arrives in that moment.
func (s *succession) moveConns() {
	defer close(s.moved)
	if !s.takes.Load() {
		return
	}
	for _, f := range everyFace() {
		f.group.Leave(context.Background(), func(conn *idleconn.Moved) { s.pass(f.s.address, conn) })
	}
}

// awaitMoved waits until those have left, in a process that has been told to end.
func (s *succession) awaitMoved(hurry context.Context) {
	select {
	case <-s.moved:
	case <-hurry.Done():
	}
}

// pass hands a connection to the successor. One that has ended has taken nothing.
func (s *succession) pass(address string, conn *idleconn.Moved) {
	err := s.child.Passage.Send(handover.Passenger{Conn: conn.TCPConn, Address: address, Early: conn.Early})
	_ = conn.Close() // a copy, if it was sent
	if err != nil {
		s.lost.Do(func() {
			s.app.logger.Warn("handover: connections that waited for a request are closed", zap.Error(err))
		})
	}
}

// takeConns takes the predecessor's connections until there are no more.
func (p *predecessor) takeConns() {
	passage := p.inheritance.Passage
	if passage == nil {
		return
	}
	defer passage.Close()
	for {
		who, err := passage.Receive()
		if err != nil {
			return // It has ended, or is none of ours.
		}
		sockets.Lock()
		s := sockets.open[who.Address]
		sockets.Unlock()
		if s == nil { // the new configuration does not listen there
			_ = who.Conn.Close()
			continue
		}
		s.hand(&idleconn.Moved{TCPConn: who.Conn, Early: who.Early})
	}
}
