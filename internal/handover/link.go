// Package handover lets a process put another one, of another binary, in its
// place: it starts it beside itself with the sockets that it listens on, and both
// talk over a link of their own until the old one has ended. What they say to each
// other is their business; this package knows nothing of gateways.
package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrGone: the other process has ended, or the link to it.
var ErrGone = errors.New("the other process is gone")

// Refused is an error that the other process has answered.
type Refused string

func (r Refused) Error() string { return string(r) }

// Handler answers what the other process asks. It is called on a goroutine of its
// own for each question.
type Handler func(ctx context.Context, body json.RawMessage) (answer any, err error)

// Link is one process's end. Both may ask at any time, and versions of them may
// differ: a question that one does not know is answered by an error, and a field
// that one does not know is passed over.
type Link struct {
	conn     io.ReadWriteCloser
	handlers map[string]Handler
	ctx      context.Context // ends with the link
	end      context.CancelFunc
	answers  sync.WaitGroup

	writing sync.Mutex

	mu      sync.Mutex
	asked   uint64
	waiting map[uint64]chan message
}

// message is a question, or the answer to one. On the wire each is a line.
type message struct {
	ID    uint64          `json:"id"`
	Ask   string          `json:"ask,omitempty"` // empty: an answer
	Body  json.RawMessage `json:"body,omitempty"`
	Error string          `json:"error,omitempty"`
}

// maxMessage bounds one of them.
const maxMessage = 16 << 20

// NewLink begins to talk over conn. The handlers must not change any more.
func NewLink(conn io.ReadWriteCloser, handlers map[string]Handler) *Link {
	l := &Link{conn: conn, handlers: handlers, waiting: make(map[uint64]chan message)}
	l.ctx, l.end = context.WithCancel(context.Background())
	l.answers.Go(l.read)
	return l
}

// Done is closed when nothing more can be said.
func (l *Link) Done() <-chan struct{} { return l.ctx.Done() }

// Close ends the link, and waits for the answers under way.
func (l *Link) Close() {
	l.end()
	_ = l.conn.Close() // It may be closed already.
	l.answers.Wait()
}

func (l *Link) read() {
	defer l.end()
	lines := bufio.NewScanner(l.conn)
	lines.Buffer(make([]byte, 0, 64<<10), maxMessage)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) != nil {
			return // Whatever it is, it is not the other process.
		}
		if m.Ask != "" {
			l.answers.Go(func() { l.answer(m) })
			continue
		}
		l.mu.Lock()
		to := l.waiting[m.ID]
		delete(l.waiting, m.ID)
		l.mu.Unlock()
		if to != nil {
			to <- m
		}
	}
}

func (l *Link) answer(m message) {
	reply := message{ID: m.ID}
	handle := l.handlers[m.Ask]
	if handle == nil {
		reply.Error = fmt.Sprintf("unknown question %q", m.Ask)
		_ = l.write(reply) // read notices what became of the link
		return
	}
	body, err := handle(l.ctx, m.Body)
	if err == nil {
		reply.Body, err = json.Marshal(body)
	}
	if err != nil {
		reply.Error = err.Error()
	}
	_ = l.write(reply) // As above.
}

func (l *Link) write(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	_, err = l.conn.Write(append(text, '\n'))
	return err
}

// Ask puts a question and reads the answer, which may be nil for one that does not
// matter. It fails with ErrGone when the other process is, or after patience.
func (l *Link) Ask(what string, body, answer any, patience time.Duration) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	to := make(chan message, 1)
	l.mu.Lock()
	l.asked++
	m := message{ID: l.asked, Ask: what, Body: text}
	l.waiting[m.ID] = to
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, m.ID)
	}()
	if l.write(m) != nil {
		return fmt.Errorf("%s: %w", what, ErrGone)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case m = <-to:
	case <-timer.C:
		return fmt.Errorf("%s: no answer from the other process within %s", what, patience)
	case <-l.ctx.Done():
		return fmt.Errorf("%s: %w", what, ErrGone)
	}
	switch {
	case m.Error != "":
		return Refused(m.Error)
	case answer == nil:
		return nil
	}
	return json.Unmarshal(m.Body, answer)
}
