package caddymodule

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestTheEndWaitsForTheLastRequest(t *testing.T) {
	for range 200 {
		var o occupied
		var inside, ended atomic.Int64
		var entered, all sync.WaitGroup
		leave := make(chan struct{})
		entered.Add(8)
		for range 8 {
			all.Go(func() {
				o.enter()
				inside.Add(1)
				entered.Done()
				<-leave
				inside.Add(-1)
				o.leave()
			})
		}
		entered.Wait()
		o.finish(func() {
			if n := inside.Load(); n != 0 {
				t.Errorf("ended with %d requests", n)
			}
			ended.Add(1)
		})
		if ended.Load() != 0 {
			t.Fatal("ended at once, under eight requests")
		}
		close(leave)
		all.Wait()
		if n := ended.Load(); n != 1 {
			t.Fatalf("ended %d times: want once", n)
		}
	}
	var idle occupied
	ended := 0
	idle.finish(func() { ended++ })
	idle.enter() // one that comes late does not end it again
	idle.leave()
	if ended != 1 {
		t.Errorf("without requests it ended %d times: want once, at once", ended)
	}
}
