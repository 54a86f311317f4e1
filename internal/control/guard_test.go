package control

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// guarded is a handler whose clients say who they are by a header.
func guarded(seen *events) *Handler {
	return New(Config{
		Gateway: newFakeGateway(),
		Tokens:  []string{rightToken},
		Client:  func(r *http.Request) string { return r.Header.Get("X-Client") },
		Event:   seen.add,
	})
}

// knock tries a token and gives the status and how long the answer took.
func knock(h http.Handler, client, token string) (int, time.Duration) {
	began := time.Now()
	response := ask(h, "GET", "/status", "", "X-Client", client, "Authorization", "Bearer "+token)
	return response.StatusCode, time.Since(began)
}

func expect(t *testing.T, h http.Handler, client, token string, status int, took time.Duration) {
	t.Helper()
	if gotStatus, gotTook := knock(h, client, token); gotStatus != status || gotTook != took {
		t.Errorf("client %s: %d after %v, want %d after %v", client, gotStatus, gotTook, status, took)
	}
}

func TestTheSixthBadTokenInAMinuteIsSlowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(new(events))
		for range clientFailures {
			expect(t, h, "192.0.2.1", wrongToken, 401, 0)
		}
		expect(t, h, "192.0.2.1", wrongToken, 401, slowBy)
		// Nobody else is.
		expect(t, h, "192.0.2.2", wrongToken, 401, 0)
		// A right token never is, and forgives nothing.
		expect(t, h, "192.0.2.1", rightToken, 200, 0)
		expect(t, h, "192.0.2.1", wrongToken, 401, slowBy)
		time.Sleep(failureWindow)
		expect(t, h, "192.0.2.1", wrongToken, 401, 0)
	})
}

func TestOneIPv6NetworkIsOneClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(new(events))
		for i := range clientFailures {
			expect(t, h, fmt.Sprintf("2001:db8:0:1::%d", i), wrongToken, 401, 0)
		}
		expect(t, h, "2001:db8:0:1:ffff::9", wrongToken, 401, slowBy)
		expect(t, h, "2001:db8:0:2::1", wrongToken, 401, 0)
	})
}

func TestGuessingFromManyAddressesIsSlowedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(new(events))
		for i := range allFailures {
			expect(t, h, fmt.Sprintf("192.0.2.%d", i), wrongToken, 401, 0)
		}
		expect(t, h, "198.51.100.1", wrongToken, 401, slowBy)
		expect(t, h, "198.51.100.1", rightToken, 200, 0)
	})
}

func TestOnlySoManyAnswersAreHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := new(events)
		h := guarded(seen)
		for range clientFailures {
			knock(h, "192.0.2.1", wrongToken)
		}
		var held sync.WaitGroup
		var slowed atomic.Int32
		for range maxWaiting {
			held.Go(func() {
				if status, took := knock(h, "192.0.2.1", wrongToken); status == 401 && took == slowBy {
					slowed.Add(1)
				}
			})
		}
		synctest.Wait() // all are held back now
		for range 10 {
			response := ask(h, "GET", "/status", "", "X-Client", "192.0.2.1", "Authorization", "Bearer "+wrongToken)
			if response.StatusCode != 429 || response.Header.Get("Retry-After") != "60" {
				t.Errorf("%d, Retry-After %q: want 429 at once, 60", response.StatusCode, response.Header.Get("Retry-After"))
			}
		}
		// While they wait, the right token passes at once.
		expect(t, h, "192.0.2.1", rightToken, 200, 0)
		held.Wait()
		if slowed.Load() != maxWaiting {
			t.Errorf("%d answers were slowed: want %d", slowed.Load(), maxWaiting)
		}
		// The places are free again.
		expect(t, h, "192.0.2.1", wrongToken, 401, slowBy)
		if seen.count(Refused) != 10 {
			t.Errorf("%d refusals reported: want 10", seen.count(Refused))
		}
	})
}

func TestACallerThatLeavesFreesItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(time.Now)
		for range clientFailures {
			g.fail(t.Context(), "192.0.2.1")
		}
		ctx, leave := context.WithCancel(t.Context())
		answered := make(chan struct{})
		go func() {
			g.fail(ctx, "192.0.2.1")
			close(answered)
		}()
		synctest.Wait()
		leave()
		<-answered
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waiting != 0 {
			t.Errorf("%d still wait: want none", g.waiting)
		}
	})
}

func TestMemoryOfClientsIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := newGuard(func() time.Time { return now })
	address := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i>>8, i&255) }
	for i := range maxClients {
		g.count(address(i))
	}
	// Beyond the bound strangers share one record. The count of all is above
	// its own bound by now, so look at the records themselves.
	for i := range 10 {
		if record := g.recordLocked(address(maxClients+i), now); record != g.others {
			t.Fatalf("client %d got a record of its own: want the shared one", maxClients+i)
		}
	}
	if len(g.clients) != maxClients {
		t.Errorf("%d clients remembered: want %d", len(g.clients), maxClients)
	}
	now = now.Add(failureWindow)
	if record := g.recordLocked("192.0.2.1", now); record == g.others || len(g.clients) != 1 {
		t.Errorf("%d clients remembered after a minute: want the new one alone", len(g.clients))
	}
}

func TestGuessingConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := guarded(new(events))
		var all sync.WaitGroup
		var let, denied atomic.Int32
		for i := range 200 {
			all.Go(func() {
				if status, took := knock(h, fmt.Sprintf("192.0.2.%d", i%20), rightToken); status == 200 && took == 0 {
					let.Add(1)
				}
			})
			all.Go(func() {
				if status, _ := knock(h, fmt.Sprintf("192.0.2.%d", i%20), wrongToken); status == 401 || status == 429 {
					denied.Add(1)
				}
			})
		}
		all.Wait()
		if let.Load() != 200 || denied.Load() != 200 {
			t.Errorf("%d let in at once, %d denied: want 200 of each", let.Load(), denied.Load())
		}
	})
}
