package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// held is a transport whose one turn to dial is taken until release is called.
func held(t *testing.T, s *server, wait time.Duration) (tr *Transport, release func()) {
	turns := make(chan struct{}, 1)
	tr = s.transport(t, Options{Turns: turns, TurnWait: wait})
	turns <- struct{}{}
	return tr, func() { <-turns }
}

func waiting(tr *Transport) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.waiting)
}

func TestWhoWaitsForATurnTakesAConnectionThatBecomesFree(t *testing.T) {
	s := serve(t, says(hello))
	tr, release := held(t, s, time.Minute)
	release()
	first, err := tr.RoundTrip(request(t, "GET", "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.o.Turns <- struct{}{}
	var work sync.WaitGroup
	work.Go(func() { want(t, tr, request(t, "GET", "/waits"), 200, "hello") })
	eventually(t, "somebody waits", func() bool { return waiting(tr) == 1 })
	if _, err := io.ReadAll(first.Body); err != nil {
		t.Fatal(err)
	}
	work.Wait()
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections, want the one that became free", n)
	}
}

func TestWhoWaitsForATurnGetsIt(t *testing.T) {
	s := serve(t, says(hello))
	tr, release := held(t, s, time.Minute)
	var work sync.WaitGroup
	work.Go(func() { want(t, tr, request(t, "GET", "/"), 200, "hello") })
	eventually(t, "somebody waits", func() bool { return waiting(tr) == 1 })
	release()
	work.Wait()
	if len(tr.o.Turns) != 0 || waiting(tr) != 0 {
		t.Errorf("%d turns taken and %d waiting, want none", len(tr.o.Turns), waiting(tr))
	}
}

func TestNoTurnComes(t *testing.T) {
	s := serve(t, says(hello))
	var dial *DialError
	tr, _ := held(t, s, time.Millisecond)
	if _, err := tr.RoundTrip(request(t, "GET", "/"), nil); !errors.Is(err, ErrNoTurn) || !errors.As(err, &dial) {
		t.Errorf("%v, want a DialError with ErrNoTurn", err)
	}
	tr, _ = held(t, s, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		if _, err := tr.RoundTrip(request(t, "GET", "/").WithContext(ctx), nil); !errors.Is(err, context.Canceled) || !errors.As(err, &dial) {
			t.Errorf("%v, want a DialError with the context's", err)
		}
	})
	eventually(t, "somebody waits", func() bool { return waiting(tr) == 1 })
	cancel()
	work.Wait()
	if waiting(tr) != 0 || s.connections() != 0 {
		t.Errorf("%d waiting, %d connections, want none", waiting(tr), s.connections())
	}
}

func TestIdleConnectionsAreClosedInTime(t *testing.T) {
	s := serve(t, says(hello))
	tr := s.transport(t, Options{IdleTimeout: time.Minute})
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	c := tr.pop()
	if c == nil {
		t.Fatal("no idle connection")
	}
	for after, alive := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Minute: false, time.Hour: false} {
		if got := c.alive(c.since.Add(after)); got != alive {
			t.Errorf("alive after %v: %v, want %v", after, got, alive)
		}
	}
	tr.put(c)
	tr.CloseIdleConnections()
	if tr.pop() != nil {
		t.Error("it is still there")
	}
}

func TestAConnectionThatTheServerClosesTellsHowLongItWasIdle(t *testing.T) {
	closing := make(chan struct{})
	s := serve(t, func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, hello)
		<-closing
		return false
	})
	told := make(chan time.Duration, 1)
	tr := s.transport(t, Options{Quiet: func(silence time.Duration) { told <- silence }})
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	eventually(t, "it is looked at while it is open", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.idle) == 1 && tr.idle[0].seen.After(tr.idle[0].since)
	})
	tr.mu.Lock()
	least := tr.idle[0].seen.Sub(tr.idle[0].since)
	tr.mu.Unlock()
	close(closing)
	if got := <-told; got < least {
		t.Errorf("told %v, but it was open after %v", got, least)
	}
	eventually(t, "it is let go", func() bool { tr.mu.Lock(); defer tr.mu.Unlock(); return len(tr.idle) == 0 })
}

func TestWhatIsInUseClosesWhenItFallsIdle(t *testing.T) {
	s := serve(t, says(hello))
	tr := s.transport(t, Options{})
	resp, err := tr.RoundTrip(request(t, "GET", "/"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.CloseIdleConnections()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
		t.Fatalf("%q, %v", body, err)
	}
	tr.mu.Lock()
	kept := len(tr.idle)
	tr.mu.Unlock()
	if kept != 0 {
		t.Error("it was kept")
	}
	want(t, tr, request(t, "GET", "/"), 200, "hello") // as with net/http, it may be used again
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	if n := s.connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}
