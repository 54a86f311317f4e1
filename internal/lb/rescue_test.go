package lb

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// absent is how the tests' callers tell that a replica has nothing.
func absent(_ *http.Request, answer *http.Response) bool {
	return answer.StatusCode == http.StatusNotFound || strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html")
}

// runs says what a replica is known to run.
func (v *virtual) runs(version string) { v.identity.Store(&identity{version: version}) }

// versioned is a world of replicas of these versions.
func inVersioned(t *testing.T, name string, c Config, versions []string, test func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, name, len(versions), c, func(t *testing.T, w *world) {
		for i, v := range w.apps {
			v.runs(versions[i])
		}
		test(t, w)
	})
}

func lacks(text string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("X-From", "lacks")
		out.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(out, text)
	}
}

// asset sends a request for an asset, and reads the answer.
func asset(t *testing.T, w *world, method string, trace *Trace) (int, string) {
	t.Helper()
	if trace.Absent == nil {
		trace.Absent = absent
	}
	r := must(http.NewRequestWithContext(WithTrace(t.Context(), trace), method, "http://pool/assets/app.1.js", nil))
	resp, err := w.pool.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestWhatAReplicaLacksIsAskedOfAnotherVersion(t *testing.T) {
	page := func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(out, "<!doctype html>")
	}
	large := strings.Repeat("nothing. ", rescueKeeps/4)
	gives := func(code int) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(code) }
	}
	tests := map[string]struct {
		versions []string // of the replicas; the first is asked first
		answers  []http.HandlerFunc
		method   string
		code     int
		text     string
		attempts int
		version  string
		rescued  bool
	}{
		"another version has it": {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), say("chunk")}, "GET", 200, "chunk", 2, "v2", true},
		"a page instead of it":   {[]string{"v1", "v2"}, []http.HandlerFunc{page, say("chunk")}, "GET", 200, "chunk", 2, "v2", true},
		"HEAD":                   {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), say("chunk")}, "HEAD", 200, "", 2, "v2", true},
		"nothing new is an answer": {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), gives(304)}, "GET",
			304, "", 2, "v2", true},
		"another replica of the version is not asked": {[]string{"v1", "v1"}, []http.HandlerFunc{lacks("no"), say("chunk")}, "GET",
			404, "no", 1, "v1", false},
		"nobody has it: the first answer stands": {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), lacks("neither")}, "GET",
			404, "no", 2, "v1", false},
		"nobody has it, and the body is large": {[]string{"v1", "v2"}, []http.HandlerFunc{lacks(large), lacks("neither")}, "GET",
			404, large, 2, "v1", false},
		"it is there, and the first body was large": {[]string{"v1", "v2"}, []http.HandlerFunc{lacks(large), say("chunk")}, "GET",
			200, "chunk", 2, "v2", true},
		"two of four versions are asked": {[]string{"v1", "v2", "v3", "v4"}, []http.HandlerFunc{lacks("no"), lacks("2"), lacks("3"), lacks("4")}, "GET",
			404, "no", 3, "v1", false},
		"the version that most run is asked first": {[]string{"v1", "v2", "v3", "v3"}, []http.HandlerFunc{lacks("no"), say("v2's"), say("v3's"), say("v3's")}, "GET",
			200, "v3's", 2, "v3", true},
		"the other version fails":       {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), gives(500)}, "GET", 404, "no", 2, "v1", false},
		"the other version forbids":     {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), gives(403)}, "GET", 404, "no", 2, "v1", false},
		"the other version hangs up":    {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}, "GET", 404, "no", 2, "v1", false},
		"before versions were told":     {[]string{"v1", ""}, []http.HandlerFunc{lacks("no"), say("chunk")}, "GET", 200, "chunk", 2, "", true},
		"since versions are told":       {[]string{"", "v2"}, []http.HandlerFunc{lacks("no"), say("chunk")}, "GET", 200, "chunk", 2, "v2", true},
		"no versions are told":          {[]string{"", ""}, []http.HandlerFunc{lacks("no"), say("chunk")}, "GET", 404, "no", 1, "", false},
		"what is there is not asked on": {[]string{"v1", "v2"}, []http.HandlerFunc{say("mine"), say("chunk")}, "GET", 200, "mine", 1, "v1", false},
		"a POST is not asked on":        {[]string{"v1", "v2"}, []http.HandlerFunc{lacks("no"), say("chunk")}, "POST", 404, "no", 1, "v1", false},
	}
	for name, tt := range tests {
		inVersioned(t, name, policyConfig("round_robin"), tt.versions, func(t *testing.T, w *world) {
			for i, answer := range tt.answers {
				w.pipe(t, w.apps[i], answer)
			}
			var trace Trace
			code, text := asset(t, w, tt.method, &trace)
			if code != tt.code || text != tt.text {
				t.Errorf("%d %.40q (%d bytes): want %d %.40q", code, text, len(text), tt.code, tt.text)
			}
			if trace.Attempts != tt.attempts || trace.Version != tt.version || trace.Rescued != tt.rescued {
				t.Errorf("%d attempts, of version %q, rescued %t: want %d, %q, %t",
					trace.Attempts, trace.Version, trace.Rescued, tt.attempts, tt.version, tt.rescued)
			}
			if rescued := w.pool.Status().Rescued; (rescued == 1) != tt.rescued {
				t.Errorf("%d rescued", rescued)
			}
			idleAfter(t, w)
			first := w.apps[0].record.Load()
			if first.failures.Load() != 0 || sum(&w.pool.budget.retries, secondOf(w.pool.now())) != 0 || w.pool.retries.Load() != 0 {
				t.Error("it counts as a failure or a retry")
			}
		})
	}
}

// Who says nothing of absence wants no other version's answer.
func TestWithoutAPredicateAnAnswerStands(t *testing.T) {
	inVersioned(t, "404", policyConfig("round_robin"), []string{"v1", "v2"}, func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], lacks("no"))
		w.pipe(t, w.apps[1], say("chunk"))
		resp := must(w.pool.RoundTrip(get(t)))
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%d: want 404", resp.StatusCode)
		}
	})
}

func TestWhoIsNotAskedForWhatAnotherVersionLacks(t *testing.T) {
	tests := map[string]func(w *world, v *virtual){
		"sick":                func(_ *world, v *virtual) { v.state.Store(uint32(sick)) },
		"joining":             func(_ *world, v *virtual) { v.state.Store(uint32(joining)) },
		"draining":            func(_ *world, v *virtual) { v.state.Store(uint32(draining)) },
		"ejected":             func(_ *world, v *virtual) { v.record.Load().ejection.until.Store(1 << 60) },
		"its breaker is open": func(w *world, v *virtual) { openBreaker(w, v) },
	}
	for name, spoil := range tests {
		inVersioned(t, name, policyConfig("round_robin"), []string{"v1", "v2"}, func(t *testing.T, w *world) {
			w.pipe(t, w.apps[0], lacks("no"))
			w.pipe(t, w.apps[1], say("chunk"))
			spoil(w, w.apps[1])
			var trace Trace
			if code, text := asset(t, w, "GET", &trace); code != 404 || text != "no" || trace.Attempts != 1 {
				t.Errorf("%d %q after %d attempts: want 404 of the only one that may be asked", code, text, trace.Attempts)
			}
			idleAfter(t, w)
		})
	}
}

// openBreaker opens a replica's breaker.
func openBreaker(w *world, v *virtual) {
	for range 100 {
		v.record.Load().breaker.Load().report(refused)
	}
	w.pool.assess()
}

// Visitors with a page of a version that the guard keeps requests from need its
// assets all the same.
func TestAVersionThatIsAvoidedIsAskedForItsAssets(t *testing.T) {
	inVersioned(t, "avoided", policyConfig("round_robin"), []string{"v1", "v2"}, func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], lacks("no"))
		w.pipe(t, w.apps[1], say("chunk"))
		w.pool.Avoid("v2")
		for range 4 {
			var trace Trace
			if code, text := asset(t, w, "GET", &trace); code != 200 || text != "chunk" || !trace.Rescued {
				t.Errorf("%d %q: want v2's", code, text)
			}
		}
	})
}

// The one that is asked besides never answers: the first answer goes out, and
// nobody is to blame.
func TestAnotherVersionThatTakesTooLongIsLeft(t *testing.T) {
	inVersioned(t, "silent", policyConfig("round_robin"), []string{"v1", "v2"}, func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], lacks("no"))
		w.pipe(t, w.apps[1], func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		began := time.Now()
		var trace Trace
		if code, text := asset(t, w, "GET", &trace); code != 404 || text != "no" {
			t.Errorf("%d %q: want the first answer", code, text)
		}
		if took := time.Since(began); took < rescueWithin || took > 2*rescueWithin {
			t.Errorf("after %v: want %v", took, rescueWithin)
		}
		idleAfter(t, w)
		if n := w.apps[1].record.Load().failures.Load(); n != 0 {
			t.Errorf("%d failures of the slow one: want none", n)
		}
	})
}

// The answer that is found is read for longer than it may take to come.
func TestAFoundAnswerMayTakeItsTime(t *testing.T) {
	inVersioned(t, "slow body", policyConfig("round_robin"), []string{"v1", "v2"}, func(t *testing.T, w *world) {
		w.pipe(t, w.apps[0], lacks("no"))
		w.pipe(t, w.apps[1], func(out http.ResponseWriter, _ *http.Request) {
			for range 4 {
				_, _ = io.WriteString(out, "piece,")
				_ = http.NewResponseController(out).Flush()
				time.Sleep(rescueWithin)
			}
		})
		if code, text := asset(t, w, "GET", new(Trace)); code != 200 || text != strings.Repeat("piece,", 4) {
			t.Errorf("%d %q: want all of it", code, text)
		}
		idleAfter(t, w)
	})
}

// The only replica that has it is full: the request waits, with no slot in its
// hand, and limits hold.
func TestARequestWaitsForTheReplicaThatHasIt(t *testing.T) {
	c := policyConfig("round_robin")
	c.Queue = Queue{MaxInflight: 1, Wait: ms(60_000), Length: 100}
	inVersioned(t, "both full, both ways", c, []string{"v1", "v2"}, func(t *testing.T, w *world) {
		for i, mine := range []string{"/1", "/2"} {
			w.pipe(t, w.apps[i], func(out http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				if r.URL.Path != mine {
					out.WriteHeader(http.StatusNotFound)
				}
			})
		}
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				trace := Trace{Absent: absent}
				r := must(http.NewRequestWithContext(WithTrace(t.Context(), &trace), http.MethodGet, fmt.Sprint("http://pool/", 1+i%2), nil))
				resp, err := w.pool.RoundTrip(r)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%v, %v: want 200", resp, err)
					return
				}
				_ = resp.Body.Close()
			})
		}
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for range 200 {
				time.Sleep(100 * time.Millisecond)
				for _, v := range w.apps {
					v.most = max(v.most, v.inflight.Load())
				}
			}
		}()
		wg.Wait()
		<-watched
		for _, v := range w.apps {
			if v.most > 1 {
				t.Errorf("%d in flight at %s: want 1 at most", v.most, v.address)
			}
		}
		idleAfter(t, w)
	})
}

// FuzzSlots: whatever replicas answer, and however clients leave, no slot is lost,
// no limit is exceeded, and what a client gets is whole.
func FuzzSlots(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		synctest.Test(t, func(t *testing.T) { slotsHold(t, rand.New(rand.NewPCG(seed, 1))) })
	})
}

func slotsHold(t *testing.T, dice *rand.Rand) {
	c := policyConfig("round_robin")
	c.Queue = Queue{MaxInflight: 1 + dice.IntN(3), Wait: ms(1000), Length: 20}
	c.Retry.Timeout = ms(dice.IntN(2) * 200)
	if dice.IntN(2) == 0 {
		c = hedged(c, ms(100))
	}
	w := newWorld(t, 2+dice.IntN(4), c)
	for _, v := range w.apps {
		v.runs([]string{"", "v1", "v2", "v3"}[dice.IntN(4)])
		seeds := [2]uint64{dice.Uint64(), dice.Uint64()}
		var mu sync.Mutex
		own := rand.New(rand.NewPCG(seeds[0], seeds[1]))
		w.pipe(t, v, func(out http.ResponseWriter, r *http.Request) {
			if n := v.inflight.Load(); n > int64(c.Queue.MaxInflight)+1 { // claims count first, and look after
				t.Errorf("%d in flight: want %d at most", n, c.Queue.MaxInflight)
			}
			mu.Lock()
			what, size, pause := own.IntN(8), own.IntN(3)*rescueKeeps, time.Duration(own.IntN(4))*100*time.Millisecond
			mu.Unlock()
			misbehave(out, r, what, size, pause)
		})
	}
	var clients sync.WaitGroup
	for range 40 {
		leaves, patience := dice.IntN(4), time.Duration(dice.IntN(3000))*time.Millisecond
		time.Sleep(time.Duration(dice.IntN(100)) * time.Millisecond)
		clients.Go(func() { comeAndGo(t, w, leaves, patience) })
	}
	clients.Wait()
	time.Sleep(time.Hour) // whoever was left has ended
	idleAfter(t, w)
	if n := w.pool.rescuers.waiting.Load() + w.pool.queue.waiting.Load(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}

// misbehave answers in one of many ways. A body that is whole ends with a dot.
func misbehave(out http.ResponseWriter, r *http.Request, what, size int, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-r.Context().Done():
		return
	}
	switch what {
	case 0, 1, 2:
		out.WriteHeader(http.StatusNotFound)
	case 3:
		out.Header().Set("Content-Type", "text/html")
	case 4:
		out.WriteHeader(http.StatusServiceUnavailable)
	case 5:
		if size == 0 {
			panic(http.ErrAbortHandler)
		}
	case 6:
		<-r.Context().Done() // says nothing at all
		return
	}
	_, _ = io.WriteString(out, strings.Repeat("x", size))
	if what == 5 {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(out, ".")
}

// comeAndGo sends a request, and reads the answer or leaves.
func comeAndGo(t *testing.T, w *world, leaves int, patience time.Duration) {
	ctx, leave := context.WithCancel(WithTrace(t.Context(), &Trace{Absent: absent}))
	defer leave()
	if leaves == 0 {
		defer time.AfterFunc(patience, leave).Stop()
	} else {
		defer time.AfterFunc(time.Minute, leave).Stop()
	}
	resp, err := w.pool.RoundTrip(must(http.NewRequestWithContext(ctx, http.MethodGet, "http://pool/assets/x.js", nil)))
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if leaves == 1 {
		return
	}
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.Header.Get("Retry-After") == "" && !strings.HasSuffix(string(text), ".") {
		t.Errorf("%d bytes of %d, without their end, and no error", len(text), resp.StatusCode)
	}
}
