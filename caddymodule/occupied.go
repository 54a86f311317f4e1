package caddymodule

import (
	"sync"
	"sync/atomic"
)

// occupied puts an end off until the last request has gone. Caddy's reverse_proxy
// writes into itself when its configuration is replaced, and copies itself for each
// answer: it must not be cleaned up under those that it still serves.
type occupied struct {
	requests atomic.Int64
	ending   atomic.Bool
	once     sync.Once
	end      func() // called once
}

// enter counts a request, until leave is called for it.
func (o *occupied) enter() { o.requests.Add(1) }

func (o *occupied) leave() {
	if o.requests.Add(-1) == 0 && o.ending.Load() {
		o.once.Do(o.end)
	}
}

// finish calls end, now or when the last request leaves.
func (o *occupied) finish(end func()) {
	o.end = end
	o.ending.Store(true)
	if o.requests.Load() == 0 {
		o.once.Do(o.end)
	}
}
