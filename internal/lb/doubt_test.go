package lb

import (
	"context"
	"net/http"
	"testing"
)

// TestInAPanicARetryGoesToWhoDoesWell: two of three are sick, which is presumed
// wrong, and is right. Who picks them is helped by the third, and only by it.
func TestInAPanicARetryGoesToWhoDoesWell(t *testing.T) {
	a, b, c := newApp(t, status(503)), newApp(t, say("b")), newApp(t, status(503))
	config := testConfig(a, b, c)
	config.Eject.Off = true
	p, seen := upPool(t, config, a, b, c)
	a.healthy.Store(false)
	c.healthy.Store(false)
	seen.await(t, PanicBegan, "")
	for range 50 {
		if code, _, _ := mustGet(t, p); code != 200 {
			t.Fatalf("status %d: want the answer of the one that is well", code)
		}
	}
	if n := p.retries.Load(); n == 0 {
		t.Error("nobody was picked that is sick: the case shows nothing")
	}
}

// TestInAPanicNobodyIsAskedTwiceInVain: when all fail, a request is tried once,
// as soon as that is known.
func TestInAPanicNobodyIsAskedTwiceInVain(t *testing.T) {
	a, b, c := newApp(t, status(503)), newApp(t, status(503)), newApp(t, status(503))
	config := testConfig(a, b, c)
	config.Breaker.Open = ms(600_000)
	p, seen := upPool(t, config, a, b, c)
	for _, one := range []*app{a, b, c} {
		one.healthy.Store(false)
	}
	seen.await(t, PanicBegan, "")
	mustGet(t, p) // It finds all three out.
	for range 20 {
		code, _, trace, err := fetch(context.Background(), p, http.MethodGet, "")
		if code != 503 || err != nil || trace.Refused != "" || trace.Attempts != 1 {
			t.Fatalf("status %d, %v, %d attempts, refused %q: want the replica's own 503 after one", code, err, trace.Attempts, trace.Refused)
		}
	}
}
