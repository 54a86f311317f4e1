package main

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

	"github.com/edgegw/edge/bench/gateway"
)

const (
	// silence is how long a stream of a tick a second, or a socket that echoes,
	// may say nothing.
	silence = 8 * time.Second
	// again is how long a client waits before it connects again, as browsers do.
	again = 100 * time.Millisecond
	// betweenEchoes is the time between two messages of one socket.
	betweenEchoes = 100 * time.Millisecond
	// ourEnd is how a stream ended that we ended.
	ourEnd = "by the client"
)

var (
	errSilent = errors.New("silent for " + silence.String())
	// errCut marks a stream that was well until its connection broke.
	errCut = errors.New("cut")
)

// streamer keeps one stream open after the other.
type streamer struct {
	base   string
	client *http.Client
	tally  *tally
	last   uint64 // event that came
}

func newStreamer(base string, t *tally) *streamer {
	return &streamer{base: base, tally: t, client: &http.Client{Transport: newTransport()}}
}

// keep goes on until leave is done. Follow is one stream's life: it returns how
// that ended in order, or an error.
func (s *streamer) keep(leave context.Context, k *kind, follow func(context.Context, *loss) (string, error)) {
	defer s.client.CloseIdleConnections()
	for leave.Err() == nil {
		l := loss{kind: k, began: time.Now()}
		how, err := follow(leave, &l)
		l.ended = time.Now()
		switch {
		case leave.Err() != nil:
			s.tally.ended(k, ourEnd)
		case err != nil:
			l.what, l.begun = err.Error(), errors.Is(err, errCut)
			s.tally.lost(l)
		default:
			s.tally.ended(k, how)
		}
		gateway.Pause(leave, again)
	}
}

// events follows one stream of server-sent events.
func (s *streamer) events(ctx context.Context, l *loss) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/events", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Last-Event-ID", strconv.FormatUint(s.last, 10))
	resp, err := s.client.Do(r)
	if err != nil {
		return "", errors.Join(err, context.Cause(ctx))
	}
	defer resp.Body.Close()
	l.status, l.where = resp.StatusCode, replicaOf(resp)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: want 200", resp.StatusCode)
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		text, isID := strings.CutPrefix(lines.Text(), "id: ")
		if !isID {
			continue
		}
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id != s.last+1 {
			return "", fmt.Errorf("event %q after event %d", text, s.last)
		}
		s.last = id
		watchdog.Reset(silence)
		s.tally.event(sse)
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("%w: %w", errCut, err)
	}
	return "end of the stream", nil
}

// echoes sends messages over one WebSocket and wants each back.
func (s *streamer) echoes(ctx context.Context, l *loss) (string, error) {
	dialing, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	conn, resp, err := websocket.Dial(dialing, s.base+"/ws", &websocket.DialOptions{HTTPClient: s.client})
	if resp != nil {
		l.status, l.where = resp.StatusCode, replicaOf(resp)
	}
	if err != nil {
		return "", err
	}
	defer conn.CloseNow()
	echoes, ended := make(chan string), make(chan error, 1)
	reading, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		for {
			_, text, err := conn.Read(reading)
			if err != nil {
				ended <- err
				return
			}
			select {
			case echoes <- string(text):
			case <-reading.Done():
				return
			}
		}
	}()
	return s.converse(ctx, conn, echoes, ended)
}

func (s *streamer) converse(ctx context.Context, conn *websocket.Conn, echoes <-chan string, ended <-chan error) (string, error) {
	for n := 1; ; n++ {
		message := fmt.Sprint("message ", n)
		// An error in writing shows in reading too, and there with its reason.
		_ = conn.Write(ctx, websocket.MessageText, []byte(message))
		timer := time.NewTimer(silence)
		select {
		case echo := <-echoes:
			timer.Stop()
			if echo != message {
				return "", fmt.Errorf("sent %q, got %q", message, echo)
			}
			s.tally.event(socket)
		case err := <-ended:
			timer.Stop()
			return closing(err)
		case <-timer.C:
			return "", errSilent
		case <-ctx.Done():
			timer.Stop()
			return "", conn.Close(websocket.StatusNormalClosure, "")
		}
		if !gateway.Pause(ctx, betweenEchoes) {
			return "", conn.Close(websocket.StatusNormalClosure, "")
		}
	}
}

// closing tells a close frame from a cut: 1001 says that the peer goes away, 1012
// that the service restarts (RFC 6455, 7.4.1; IANA's registry).
func closing(err error) (string, error) {
	switch code := websocket.CloseStatus(err); code {
	case websocket.StatusGoingAway, websocket.StatusServiceRestart:
		return fmt.Sprintf("close frame %d", code), nil
	}
	return "", fmt.Errorf("%w: %w", errCut, err)
}
