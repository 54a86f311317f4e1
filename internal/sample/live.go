package sample

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
)

const (
	tickEvery   = time.Second
	socketIdle  = 2 * time.Minute // a socket that says nothing for so long is closed
	socketWrite = 10 * time.Second
)

// events streams a tick a second, numbered on from the id that the client last
// saw (Last-Event-ID of the HTML standard, 9.2), until the client leaves or
// the replica does.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w).Flush
	// A number that does not parse is another stream's: start again from 1.
	id, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 63)
	if _, err := fmt.Fprint(w, "retry: 1000\n\n"); err != nil {
		return
	}
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		id++
		_, err := fmt.Fprintf(w, "id: %d\nevent: tick\ndata: {\"version\":%q,\"instance\":%q}\n\n", id, a.version, a.instance)
		if err != nil || flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-a.streaming.Done():
			return
		}
	}
}

// echo sends every message back until the client closes, falls silent, or the
// replica leaves: then the client is told to go elsewhere (1001, RFC 6455,
// 7.4.1).
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	a.sockets.Add(1)
	defer a.sockets.Done()
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer socket.CloseNow()
	// Close while the reader waits: a cancelled read would drop the connection
	// without a word.
	release := context.AfterFunc(a.streaming, func() {
		_ = socket.Close(websocket.StatusGoingAway, "this replica is leaving")
	})
	defer release()
	for {
		if err := echoOne(socket); err != nil {
			return
		}
	}
}

func echoOne(socket *websocket.Conn) error {
	idle, cancel := context.WithTimeout(context.Background(), socketIdle)
	defer cancel()
	kind, message, err := socket.Read(idle)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), socketWrite)
	defer stop()
	return socket.Write(ctx, kind, message)
}
