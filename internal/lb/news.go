package lb

import (
	"context"
	"fmt"
	"sync"
)

// maxNews bounds the events that wait for a slow listener.
const maxNews = 4096

// news passes events and changes on to listeners, from one goroutine, so that
// whoever has news never waits for them.
type news struct {
	event func(Event)
	wake  chan struct{}

	mu       sync.Mutex
	events   []Event
	dropped  int // mentions, since the last that was kept
	dirty    bool
	watchers []func()
}

func (n *news) add(e Event) {
	n.mu.Lock()
	if n.event != nil && len(n.events) < maxNews {
		n.events = append(n.events, e)
	}
	n.dirty = true
	n.mu.Unlock()
	n.poke()
}

// mention is add for what may be dropped, and changes nothing: it leaves half of
// the room to what does.
func (n *news) mention(e Event) {
	n.mu.Lock()
	if n.event == nil || len(n.events) >= maxNews/2 {
		n.dropped++
		n.mu.Unlock()
		return
	}
	if n.dropped > 0 {
		lost := e
		lost.Why = fmt.Sprintf("(%d lines are missing here: too many at once)", n.dropped)
		n.events, n.dropped = append(n.events, lost), 0
	}
	n.events = append(n.events, e)
	n.mu.Unlock()
	n.poke()
}

// changed says that something worth another look has changed.
func (n *news) changed() {
	n.mu.Lock()
	n.dirty = true
	n.mu.Unlock()
	n.poke()
}

func (n *news) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *news) run(ctx context.Context) {
	for {
		select {
		case <-n.wake:
			n.flush()
		case <-ctx.Done():
			return
		}
	}
}

// flush tells everybody what is new. It is called by one goroutine at a time.
func (n *news) flush() {
	n.mu.Lock()
	events, dirty, watchers := n.events, n.dirty, n.watchers
	n.events, n.dirty = nil, false
	n.mu.Unlock()
	for _, e := range events {
		n.event(e)
	}
	if !dirty {
		return
	}
	for _, watcher := range watchers {
		watcher()
	}
}

// Watch registers a function that is called whenever membership, state or a
// version has changed: once for many changes, from a goroutine of the pool's
// own, beginning with the next change.
func (p *Pool) Watch(changed func()) {
	p.news.mu.Lock()
	defer p.news.mu.Unlock()
	// A copy: flush may be ranging over the old one.
	p.news.watchers = append(p.news.watchers[:len(p.news.watchers):len(p.news.watchers)], changed)
}
