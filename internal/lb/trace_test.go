package lb

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// tries notes the tries that a trace tells of, and marks each one's header.
type tries struct {
	mu    sync.Mutex
	begun []Try
	ended map[int]int // by number: the status, or -1 for an error
}

func (n *tries) trace() *Trace {
	n.ended = make(map[int]int)
	return &Trace{Try: func(try Try, header http.Header) func(int, error) {
		header.Set("X-Try", strconv.Itoa(try.Number))
		n.mu.Lock()
		defer n.mu.Unlock()
		n.begun = append(n.begun, try)
		return func(status int, err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if err != nil {
				status = -1
			}
			if _, twice := n.ended[try.Number]; twice {
				status = -2
			}
			n.ended[try.Number] = status
		}
	}}
}

func TestATraceIsToldOfEachTry(t *testing.T) {
	inWorld(t, "a 503, then another replica", 2, policyConfig("round_robin"), func(t *testing.T, w *world) {
		var told tries
		var seen [2]string
		for i, status := range []int{http.StatusServiceUnavailable, http.StatusOK} {
			w.pipe(t, w.apps[i], func(out http.ResponseWriter, r *http.Request) {
				seen[i] = r.Header.Get("X-Try")
				out.WriteHeader(status)
			})
		}
		r := get(t)
		textOf(t, w.pool, r.WithContext(WithTrace(t.Context(), told.trace())))
		idleAfter(t, w)
		if len(told.begun) != 2 || told.begun[0].Address != string(w.apps[0].address) || told.begun[1].Address != string(w.apps[1].address) ||
			told.begun[0].Replica != w.apps[0].id || told.begun[1].Hedge {
			t.Errorf("told of %+v: want one try at each replica", told.begun)
		}
		if told.ended[1] != http.StatusServiceUnavailable || told.ended[2] != http.StatusOK {
			t.Errorf("the tries came to %v: want 503 and 200", told.ended)
		}
		if seen != [2]string{"1", "2"} {
			t.Errorf("the replicas got %q: want each the header of its try", seen)
		}
		if r.Header.Get("X-Try") != "" {
			t.Error("the caller's header was changed")
		}
	})
}

func TestATraceIsToldOfAHedge(t *testing.T) {
	inWorld(t, "the first is slow", 2, hedged(policyConfig("round_robin"), ms(50)), func(t *testing.T, w *world) {
		var told tries
		var seen string
		slowFirst(t, w, time.Second)
		w.pipe(t, w.apps[1], func(out http.ResponseWriter, r *http.Request) {
			seen = r.Header.Get("X-Try")
			_, _ = io.WriteString(out, "quick")
		})
		if got := textOf(t, w.pool, get(t).WithContext(WithTrace(t.Context(), told.trace()))); got != "quick" {
			t.Fatalf("%q: want quick", got)
		}
		idleAfter(t, w)
		if len(told.begun) != 2 || told.begun[0].Hedge || !told.begun[1].Hedge || told.begun[1].Number != 2 || seen != "2" {
			t.Errorf("told of %+v, header %q: want a second try, beside the first", told.begun, seen)
		}
		if told.ended[1] != -1 || told.ended[2] != http.StatusOK {
			t.Errorf("the tries came to %v: want the first left, and 200", told.ended)
		}
	})
}

func TestATraceIsToldOfATryWithoutAnAnswer(t *testing.T) {
	inWorld(t, "nobody listens", 1, policyConfig("round_robin"), func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		var told tries
		resp, err := w.pool.RoundTrip(get(t).WithContext(WithTrace(t.Context(), told.trace())))
		if err == nil {
			_ = resp.Body.Close()
			t.Fatalf("%d: want an error", resp.StatusCode)
		}
		if len(told.begun) != 1 || told.ended[1] != -1 {
			t.Errorf("told of %+v that came to %v: want one without an answer", told.begun, told.ended)
		}
	})
}
