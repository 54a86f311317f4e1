package lb

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// eventStream is the body of an answer that streams events. One that is asked
// to end does so between two events, as if the replica had ended it: the client
// comes back with the id of the last event that it has (HTML standard, 9.2).
type eventStream struct {
	*answerBody
	plain bool // its bytes are events, not an encoding of them

	asked   atomic.Bool
	between atomic.Bool // what has passed ends between two events
	patient atomic.Pointer[time.Timer]
	ended   atomic.Bool

	edges edges // the reader's
}

// newEventStream is of a body that was counted as a stream already.
func newEventStream(b *answerBody, header http.Header) *eventStream {
	e := &eventStream{answerBody: b}
	encoding := header.Get("Content-Encoding")
	e.plain = encoding == "" || strings.EqualFold(encoding, "identity")
	e.between.Store(true)
	b.x.slot.replica.lasting.add(e)
	return e
}

// Read passes events on. Once asked to end, it ends after the last whole event
// that it has.
func (e *eventStream) Read(p []byte) (int, error) {
	if e.asked.Load() && (e.between.Load() || !e.plain) {
		return 0, e.over(io.EOF)
	}
	n, err := e.src.Read(p)
	if e.asked.Load() {
		if cut, found := e.edges.last(p[:n]); found && e.plain {
			return cut, e.over(io.EOF)
		}
		if err != nil || !e.plain {
			// Whatever came of an event that is not whole, the client drops.
			return n, e.over(io.EOF)
		}
	}
	e.between.Store(e.edges.pass(p[:n]))
	if err != nil {
		o := e.outcomeOf(err)
		e.leave()
		e.end(o)
	}
	return n, err
}

// over ends the stream, which says nothing about the replica.
func (e *eventStream) over(err error) error {
	e.leave()
	e.end(neutral)
	return err
}

// part ends the stream at once when what has passed ends between two events: a
// reader that waits for the next one is woken. Otherwise the reader goes on.
func (e *eventStream) part() {
	e.asked.Store(true)
	e.patient.Store(time.AfterFunc(answerWithin, func() {
		_ = e.src.Close() // It has had its time.
	}))
	if e.ended.Load() {
		e.patient.Load().Stop()
	}
	if e.between.Load() || !e.plain {
		_ = e.src.Close() // That wakes the reader.
	}
}

// leave takes it off its replica's list.
func (e *eventStream) leave() {
	if !e.ended.CompareAndSwap(false, true) {
		return
	}
	if timer := e.patient.Load(); timer != nil {
		timer.Stop()
	}
	e.x.slot.replica.lasting.remove(e)
}

// Close ends it for whatever reason its client has.
func (e *eventStream) Close() error {
	e.leave()
	return e.answerBody.Close()
}

// edges finds the places between two events: after an empty line, where lines
// end with CR, LF or both (HTML standard, 9.2.5). The zero value has seen
// nothing, and stands at such a place.
type edges struct {
	cr     bool // what has passed ends with CR: an LF would belong to it
	text   bool // its last line has something in it
	inside bool // it ends within an event
}

// pass takes note of what passes, and reports whether it ends between two
// events.
func (e *edges) pass(p []byte) bool {
	for _, b := range p {
		e.step(b)
	}
	return !e.inside
}

func (e *edges) step(b byte) {
	switch {
	case b == '\n' && e.cr:
		e.cr = false
	case b == '\n', b == '\r':
		e.inside, e.text, e.cr = e.text, false, b == '\r'
	default:
		e.inside, e.text, e.cr = true, true, false
	}
}

// last passes p and returns how much of it there is up to the last place
// between two events, and whether there is one.
func (e *edges) last(p []byte) (n int, found bool) {
	found = !e.inside
	for i, b := range p {
		if e.step(b); !e.inside {
			n, found = i+1, true
		}
	}
	return n, found
}
