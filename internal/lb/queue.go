package lb

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// recheckEvery is how often the first in the queue looks again without being
// called: a breaker becomes due by time alone.
const recheckEvery = 50 * time.Millisecond

// queue holds the requests that wait for a replica, first come first served.
// A request stays in it until it has a replica or gives up, so that no call can
// be lost: whoever leaves calls the next.
type queue struct {
	waiting atomic.Int64 // what requests in passing look at

	mu   sync.Mutex
	line list.List // of chan struct{}
}

// call tells the first in the queue to look again. It is cheap when nobody
// waits.
func (q *queue) call() {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.callLocked()
}

func (q *queue) callLocked() {
	first := q.line.Front()
	if first == nil {
		return
	}
	select {
	case first.Value.(chan struct{}) <- struct{}{}:
	default: // It has been called and has not looked yet.
	}
}

// join takes a place, unless limit requests wait already.
func (q *queue) join(limit int) *list.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.line.Len() >= limit {
		return nil
	}
	q.waiting.Add(1)
	return q.line.PushBack(make(chan struct{}, 1))
}

func (q *queue) leave(place *list.Element) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.line.Remove(place)
	q.waiting.Add(-1)
	q.callLocked()
}

func (q *queue) isFirst(place *list.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.line.Front() == place
}

// The ways in which wait ends without success.
const (
	queueFull    = "queue full"
	queueTimeout = "waited too long"
	clientGone   = "client gone"
)

// wait calls try, in turn, until it succeeds, patience ends or ctx does. It
// returns "" on success, else why not. The order of waiters is kept; requests
// that arrive while others wait must come here too.
func (q *queue) wait(ctx context.Context, patience time.Duration, limit int, try func() bool) string {
	place := q.join(limit)
	if place == nil {
		return queueFull
	}
	defer q.leave(place)
	called := place.Value.(chan struct{})
	over := time.NewTimer(patience)
	defer over.Stop()
	again := time.NewTicker(recheckEvery)
	defer again.Stop()
	for {
		if q.isFirst(place) && try() {
			return ""
		}
		select {
		case <-called:
		case <-again.C:
		case <-over.C:
			return queueTimeout
		case <-ctx.Done():
			return clientGone
		}
	}
}
