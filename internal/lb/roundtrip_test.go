package lb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadAddress is where nothing listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// hangUp reads the request and closes the connection without an answer.
func hangUp(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

// failingFirst is a pool whose first pick is bad and whose second is good, in
// that order, by round robin.
func failingFirst(t *testing.T, bad http.HandlerFunc) (p *Pool, first, second *app) {
	t.Helper()
	one, two := newApp(t, say("good")), newApp(t, say("good"))
	first, second = one, two
	if two.address < one.address { // the order of a view
		first, second = two, one
	}
	first.answer(bad)
	c := testConfig(first, second)
	c.Health.Interval = ms(60_000) // what requests see must do
	c.SlowStart = 0                // a pool that starts has none: turns are exact
	p, _ = upPool(t, c, first, second)
	return p, first, second
}

func TestRetries(t *testing.T) {
	tests := map[string]struct {
		method, body string
		bad          http.HandlerFunc
		code         int // 0: an error
		attempts     int
	}{
		"GET after a reset":                         {"GET", "", hangUp, 200, 2},
		"HEAD after a reset":                        {"HEAD", "", hangUp, 200, 2},
		"DELETE without a body after a reset":       {"DELETE", "", hangUp, 200, 2},
		"PUT with a body after a reset":             {"PUT", "x", hangUp, 200, 2},
		"OPTIONS after a reset":                     {"OPTIONS", "", hangUp, 200, 2},
		"OPTIONS after 503":                         {"OPTIONS", "", status(503), 200, 2},
		"POST after a reset: it may have been done": {"POST", "", hangUp, 0, 1},
		"GET after 503":                             {"GET", "", status(503), 200, 2},
		"HEAD after 502":                            {"HEAD", "", status(502), 200, 2},
		"GET after 504":                             {"GET", "", status(504), 200, 2},
		"DELETE after 503: it may have been done":   {"DELETE", "", status(503), 503, 1},
		"POST after 503":                            {"POST", "x", status(503), 503, 1},
		"GET after 500: the answer is the answer":   {"GET", "", status(500), 500, 1},
		"GET after 404":                             {"GET", "", status(404), 404, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p, first, second := failingFirst(t, test.bad)
			code, _, trace, err := fetch(t.Context(), p, test.method, test.body)
			if (err != nil) != (test.code == 0) || code != test.code || trace.Attempts != test.attempts {
				t.Errorf("%d after %d attempts, %v: want %d after %d", code, trace.Attempts, err, test.code, test.attempts)
			}
			if got := first.hits.Load() + second.hits.Load(); got != int64(test.attempts) {
				t.Errorf("%d requests at the replicas: want %d", got, test.attempts)
			}
			noneInFlight(t, p)
		})
	}
}

func TestARefusedConnectionIsRetriedWithTheBodyUntouched(t *testing.T) {
	for name, whole := range map[string]bool{"a stream": false, "a body that can be had again": true} {
		t.Run(name, func(t *testing.T) {
			p, first, second := failingFirst(t, nil)
			second.answer(func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				_, _ = w.Write(bytes.ToUpper(text))
			})
			first.Server.Close()
			var src io.Reader = struct{ io.Reader }{strings.NewReader("order")}
			if whole {
				src = strings.NewReader("order")
			}
			resp, err := p.RoundTrip(must(http.NewRequestWithContext(t.Context(), "POST", "http://pool/", src)))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); string(text) != "ORDER" {
				t.Errorf("%d %q: want ORDER", resp.StatusCode, text)
			}
		})
	}
}

func TestAPUTWithABodyThatCanBeHadAgainIsRetried(t *testing.T) {
	p, _, second := failingFirst(t, hangUp)
	second.answer(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	req := must(http.NewRequestWithContext(t.Context(), "PUT", "http://pool/", strings.NewReader("order")))
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); string(text) != "order" {
		t.Errorf("%q: want the whole body", text)
	}
}

func TestRetriesEndWithTheBudgetAndWithAttempts(t *testing.T) {
	tests := map[string]struct {
		prepare  func(*Config, *Pool)
		attempts int
	}{
		"attempts -1: none": {func(c *Config, _ *Pool) { c.Retry.Attempts = -1 }, 1},
		"a budget that is used up": {func(_ *Config, p *Pool) {
			for range budgetReserve * budgetSeconds {
				p.budget.retry(p.now(), 0)
			}
		}, 1},
		"two more than the first, of four": {func(*Config, *Pool) {}, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			apps := make([]*app, 4)
			for i := range apps {
				apps[i] = newApp(t, status(503))
			}
			c := testConfig(apps...)
			p, _ := upPool(t, c, apps...)
			test.prepare(&c, p)
			if err := p.Configure(c); err != nil {
				t.Fatal(err)
			}
			code, _, trace := mustGet(t, p)
			if code != 503 || trace.Attempts != test.attempts || trace.Refused != "" {
				t.Errorf("%d after %d: want the replica's 503 after %d", code, trace.Attempts, test.attempts)
			}
		})
	}
}

func TestNeverTheSameReplicaTwiceInARequest(t *testing.T) {
	a := newApp(t, status(503))
	p, _ := upPool(t, testConfig(a), a)
	if code, _, trace := mustGet(t, p); code != 503 || trace.Attempts != 1 || a.hits.Load() != 1 {
		t.Errorf("%d after %d attempts, %d hits: want one", code, trace.Attempts, a.hits.Load())
	}
}

func TestWhatAReplicaSees(t *testing.T) {
	var got *http.Request
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) { got = r.Clone(context.Background()) })
	a.version.Store("v7")
	p, _ := upPool(t, testConfig(a), a)
	var trace Trace
	req := must(http.NewRequestWithContext(WithTrace(t.Context(), &trace), "GET", "https://shop.test/a%2Fb?q=1", nil))
	req.Host = "shop.test"
	resp, err := p.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got.Host != "shop.test" || got.RequestURI != "/a%2Fb?q=1" {
		t.Errorf("the replica sees %s %s: want shop.test /a%%2Fb?q=1", got.Host, got.RequestURI)
	}
	if v := got.Header.Get("Accept-Encoding"); v != "" {
		t.Errorf("Accept-Encoding %q was added", v)
	}
	if req.URL.Host != "shop.test" || req.URL.Scheme != "https" {
		t.Errorf("the request was changed: %s", req.URL)
	}
	if trace.Address != a.address || trace.Version != "v7" || trace.Attempts != 1 || trace.Replica == "" {
		t.Errorf("%+v", trace)
	}
}

func TestNoReplicaIsA503ThatSaysWhenToComeBack(t *testing.T) {
	c := Config{}
	c.Queue.Wait = ms(1)
	configured, _ := newTestPool(t, c)
	for name, p := range map[string]*Pool{"without replicas": configured, "not configured": NewPool("app", nil)} {
		var trace Trace
		closed := &closing{Reader: strings.NewReader("x")}
		req := must(http.NewRequestWithContext(WithTrace(t.Context(), &trace), "POST", "http://pool/", closed))
		resp, err := p.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || int64(len(text)) != resp.ContentLength {
			t.Errorf("%s: %d, Retry-After %q, %q", name, resp.StatusCode, resp.Header.Get("Retry-After"), text)
		}
		if trace.Attempts != 0 || trace.Refused == "" || !closed.closed {
			t.Errorf("%s: %+v, body closed %t", name, trace, closed.closed)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

func TestABodyIsClosedWhateverHappens(t *testing.T) {
	p, first, second := failingFirst(t, nil)
	first.Server.Close()
	second.Server.Close()
	body := &closing{Reader: strings.NewReader("x")}
	_, err := p.RoundTrip(must(http.NewRequestWithContext(t.Context(), "POST", "http://pool/", body)))
	var dial *dialError
	if !errors.As(err, &dial) || !body.closed {
		t.Errorf("%v, body closed %t: want a dial error and a closed body", err, body.closed)
	}
	noneInFlight(t, p)
}

func TestAClientThatLeavesSaysNothingAboutTheReplica(t *testing.T) {
	entered := make(chan struct{}, 20)
	a := newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
	})
	p, _ := upPool(t, testConfig(a), a)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-entered
			cancel()
		}()
		if _, _, trace, err := fetch(ctx, p, "GET", ""); !errors.Is(err, context.Canceled) || trace.Attempts != 1 {
			t.Fatalf("%v after %d attempts: want context canceled after one", err, trace.Attempts)
		}
	}
	noneInFlight(t, p)
	if r, _ := replicaOf(p, a.address); r.Breaker != "closed" || r.Failures != 0 {
		t.Errorf("%+v: want a closed breaker and no failures", r)
	}
}

func TestACutBodyCountsAndABodyNotReadDoesNot(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100000")
		_, _ = w.Write(make([]byte, 50000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	p, _ := upPool(t, testConfig(a), a)
	if _, _, _, err := fetch(t.Context(), p, "GET", ""); err == nil {
		t.Error("a cut body looks whole")
	}
	noneInFlight(t, p)
	if r, _ := replicaOf(p, a.address); r.Failures != 1 {
		t.Errorf("%d failures: want 1", r.Failures)
	}
	resp, err := p.RoundTrip(get(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	_ = resp.Body.Close() // Twice is as good as once.
	noneInFlight(t, p)
	if r, _ := replicaOf(p, a.address); r.Failures != 1 {
		t.Errorf("%d failures after a body that nobody read: want 1", r.Failures)
	}
}

func TestAHungReplicaIsLeftForAnother(t *testing.T) {
	release := make(chan struct{})
	one, two := newApp(t, nil), newApp(t, nil)
	var once sync.Once
	hang := func(w http.ResponseWriter, _ *http.Request) {
		hung := false
		once.Do(func() { hung = true })
		if hung {
			<-release
		}
		_, _ = io.WriteString(w, "good")
	}
	one.answer(hang)
	two.answer(hang)
	t.Cleanup(func() { close(release) })
	c := testConfig(one, two)
	c.Transport.HeaderTimeout = ms(50)
	p, _ := upPool(t, c, one, two)
	began := time.Now()
	if code, text, trace := mustGet(t, p); code != 200 || text != "good" || trace.Attempts != 2 {
		t.Errorf("%d %q after %d attempts: want 200 after 2", code, text, trace.Attempts)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("left after %s: want the 50 ms of header_timeout", took)
	}
}
