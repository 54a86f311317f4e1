package caddymodule

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/edgegw/edge/internal/idleconn"
	"github.com/edgegw/edge/internal/rawhit"
)

// firstRequest is how long a connection that a replaced configuration, or one that
// ends, has accepted may take to send its first request: net/http drops, without an
// answer, those of which it does not have one when it shuts down. A TLS handshake and
// a request are three round trips of 100 ms, and there are slower ones.
const firstRequest = 500 * time.Millisecond

// lastConn is how long the connections of a replaced configuration may take to leave
// for the new one, a few after the other: ten thousand take a second.
const lastConn = 10 * time.Second

// giveWay is told when all apps of a configuration have started, before the
// ones that it replaces are stopped. New connections are its own already.
type giveWay struct{}

// Handle has the connections of the replaced configurations that wait for a request
// leave for the new one, and gives those their time of which a header is under way.
func (giveWay) Handle(ctx context.Context, _ caddy.Event) error {
	var replaced []*face
	sockets.Lock()
	for _, s := range sockets.open {
		replaced = append(replaced, s.faces[:max(0, len(s.faces)-1)]...)
	}
	sockets.Unlock()
	for _, f := range replaced {
		bounded, cancel := context.WithTimeout(ctx, lastConn)
		f.group.Leave(bounded, func(conn *idleconn.Moved) { f.s.hand(conn) })
		cancel()
	}
	awaitHeaders(ctx, replaced)
	return nil
}

// awaitHeaders gives those connections their time of which a header is under way.
func awaitHeaders(ctx context.Context, faces []*face) {
	ctx, cancel := context.WithTimeout(ctx, firstRequest)
	defer cancel()
	for _, f := range faces {
		for f.group.Busy() {
			select {
			case <-time.After(firstRequest / 50):
			case <-ctx.Done():
				return
			}
		}
	}
}

// awaitFirstRequests gives the connections that were accepted last their time.
func awaitFirstRequests(ctx context.Context, faces []*face) {
	last := time.Time{}
	for _, f := range faces {
		if accepted := f.accepted.Load(); accepted != nil && accepted.After(last) {
			last = *accepted
		}
	}
	wait := time.NewTimer(firstRequest - time.Since(last))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// followConn tells a connection what its server says of it.
func followConn(nc net.Conn, state http.ConnState) {
	if conn, direct := keptConn(nc); conn != nil {
		conn.StateChanged(state, direct)
	}
}

// keptConn finds the connection that a face has handed out in what the server has;
// direct says that nothing between the two keeps bytes.
func keptConn(nc net.Conn) (conn *idleconn.Conn, direct bool) {
	direct = true
	for nc != nil {
		switch own := beneathCaddy(nc).(type) {
		case *idleconn.Conn:
			return own, direct
		case interface{ NetConn() net.Conn }: // of crypto/tls, above all
			direct, nc = false, own.NetConn()
		default:
			nc = rawhit.Beneath(own)
		}
	}
	return nil, false
}
