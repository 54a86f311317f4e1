package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/edgegw/edge/internal/reason"
)

const (
	// silence is how long a stream of a tick a second, or a socket that echoes,
	// may say nothing.
	silence = 5 * time.Second
	// again is how long a client waits before it connects again. A replica that
	// drains ends its streams and sockets: that is no failure, clients
	// reconnect as browsers do.
	again = 250 * time.Millisecond
	// betweenEchoes is the time between two messages of one socket.
	betweenEchoes = 300 * time.Millisecond
)

// errSilent is a stream or a socket that is open and says nothing.
var errSilent = errors.New("silent for " + silence.String())

// listen follows the stream of events until leave is done.
func listen(leave context.Context, base string, t *tally) {
	client := &http.Client{Transport: newTransport()}
	defer client.CloseIdleConnections()
	last := ""
	for leave.Err() == nil {
		err := follow(leave, client, base+"/events", &last, t)
		if err != nil && leave.Err() == nil {
			t.fail("GET /events: %v", reason.Of(err))
		}
		_ = wait(leave, again) // a done context ends the loop
	}
}

// follow reads one connection's events until it ends; last is the id of the
// last one, for the next connection to go on from.
func follow(ctx context.Context, client *http.Client, url string, last *string, t *tally) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if *last != "" {
		r.Header.Set("Last-Event-ID", *last)
	}
	response, err := client.Do(r)
	if err != nil {
		return whySilent(ctx, err)
	}
	defer response.Body.Close()
	t.asked()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: want 200", response.StatusCode)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		id, ok := strings.CutPrefix(lines.Text(), "id: ")
		if !ok {
			continue
		}
		if number(id) <= number(*last) {
			return fmt.Errorf("event %s after event %s", id, *last)
		}
		*last = id
		watchdog.Reset(silence)
		t.event()
	}
	// The end of a stream, cut or not, is what reconnecting is for; silence
	// is not.
	return whySilent(ctx, nil)
}

// whySilent is errSilent if that is why ctx is done, else the other error.
func whySilent(ctx context.Context, other error) error {
	if err := context.Cause(ctx); errors.Is(err, errSilent) {
		return err
	}
	return other
}

// number is an event's, 0 for none.
func number(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// converse sends messages over a socket and wants each back, until leave is
// done.
func converse(leave context.Context, base string, t *tally) {
	client := &http.Client{Transport: newTransport()}
	for leave.Err() == nil {
		if err := exchange(leave, client, base+"/ws", t); err != nil && leave.Err() == nil {
			t.fail("WebSocket /ws: %v", reason.Of(err))
		}
		_ = wait(leave, again) // a done context ends the loop
	}
}

// exchange is one socket's life. Its end is no error; a refused handshake, a
// wrong echo and silence are.
func exchange(ctx context.Context, client *http.Client, url string, t *tally) error {
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	socket, _, err := websocket.Dial(dialing, url, &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		return err
	}
	defer socket.CloseNow()
	t.asked()
	for sent := 1; ; sent++ {
		message := fmt.Sprintf("message %d of %s", sent, url)
		echo, err := sendAndReceive(ctx, socket, message)
		if errors.Is(err, context.DeadlineExceeded) {
			return errSilent
		}
		if err != nil {
			return nil // ended, by the replica that drains or by us
		}
		if echo != message {
			return fmt.Errorf("sent %q, got %q", message, echo)
		}
		t.echo()
		if wait(ctx, betweenEchoes) != nil {
			return socket.Close(websocket.StatusNormalClosure, "")
		}
	}
}

func sendAndReceive(ctx context.Context, socket *websocket.Conn, message string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	if err := socket.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		return "", err
	}
	_, echo, err := socket.Read(ctx)
	return string(echo), err
}
