package lb

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// TestMain lets the test binary be a replica, for tests that kill one.
func TestMain(m *testing.M) {
	if os.Getenv(replicaEnv) != "" {
		runReplica()
		return
	}
	if kind := os.Getenv(childEnv); kind != "" {
		runChild(kind)
		return
	}
	os.Exit(m.Run())
}

// app is a replica in this process. Its handler may be replaced at any time.
type app struct {
	*httptest.Server
	address string
	hits    atomic.Int64 // requests other than checks
	handler atomic.Pointer[http.HandlerFunc]
	healthy atomic.Bool
	version atomic.Value
}

func newApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	return startApp(t, handler, (*httptest.Server).Start)
}

// newSecureApp speaks TLS, with a certificate that nobody knows.
func newSecureApp(t *testing.T, handler http.HandlerFunc) *app {
	t.Helper()
	return startApp(t, handler, (*httptest.Server).StartTLS)
}

func startApp(t *testing.T, handler http.HandlerFunc, start func(*httptest.Server)) *app {
	t.Helper()
	a := new(app)
	a.healthy.Store(true)
	a.version.Store("")
	a.answer(handler)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	start(a.Server)
	t.Cleanup(a.Server.Close)
	a.address = a.Server.Listener.Addr().String()
	return a
}

func (a *app) answer(handler http.HandlerFunc) { a.handler.Store(&handler) }

func (a *app) serve(w http.ResponseWriter, r *http.Request) {
	if v := a.version.Load().(string); v != "" {
		w.Header().Set("X-App-Version", v)
	}
	if r.URL.Path == "/healthz" {
		if !a.healthy.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return
	}
	a.hits.Add(1)
	(*a.handler.Load())(w, r)
}

func say(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// listing is a static discovery of apps.
func listing(apps ...*app) []named.Spec {
	if len(apps) == 0 {
		return nil
	}
	var args []string
	for _, a := range apps {
		args = append(args, a.address)
	}
	return []named.Spec{{Name: "static", Args: args}}
}

// testConfig checks quickly, and hides nothing behind long waits.
func testConfig(apps ...*app) Config {
	return Config{
		Discover:  listing(apps...),
		Health:    Health{Path: "/healthz", Interval: ms(20), Timeout: ms(2000), VersionHeader: "X-App-Version"},
		Policy:    named.Spec{Name: "round_robin"},
		SlowStart: ms(1),
	}
}

func ms(n int) unit.Duration { return unit.Duration(time.Duration(n) * time.Millisecond) }

// newTestPool is configured, and closed with the test.
func newTestPool(t *testing.T, c Config) (*Pool, *events) {
	t.Helper()
	seen := newEvents()
	p := NewPool("app", seen.add)
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	return p, seen
}

// upPool waits until every app passes its checks.
func upPool(t *testing.T, c Config, apps ...*app) (*Pool, *events) {
	t.Helper()
	p, seen := newTestPool(t, c)
	for _, a := range apps {
		seen.await(t, ReplicaUp, a.address)
	}
	return p, seen
}

// events keeps what a pool reported and lets tests wait for more.
type events struct {
	mu   sync.Mutex
	list []Event
	more chan struct{}
}

func newEvents() *events { return &events{more: make(chan struct{})} }

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
	close(e.more)
	e.more = make(chan struct{})
}

func (e *events) find(kind Kind, address string) (Event, bool, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.list {
		if event.Kind == kind && (address == "" || event.Address == address) {
			return event, true, nil
		}
	}
	return Event{}, false, e.more
}

// forget drops what was seen, so that await waits for something new.
func (e *events) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = nil
}

// await waits for an event, at most a minute.
func (e *events) await(t testing.TB, kind Kind, address string) Event {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		event, ok, more := e.find(kind, address)
		if ok {
			return event
		}
		select {
		case <-more:
		case <-limit.C:
			t.Fatalf("no event %s of %q; got %+v", kind, address, e.list)
		}
	}
}

func (e *events) count(kind Kind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, event := range e.list {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

// fetch sends a request through the pool and reads the answer to its end.
func fetch(ctx context.Context, p *Pool, method, body string) (int, string, Trace, error) {
	var trace Trace
	var src io.Reader
	if body != "" {
		src = struct{ io.Reader }{strings.NewReader(body)} // no GetBody, as with a server's request
	}
	req, err := http.NewRequestWithContext(WithTrace(ctx, &trace), method, "http://pool/page", src)
	if err != nil {
		return 0, "", trace, err
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		return 0, "", trace, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), trace, err
}

func mustGet(t *testing.T, p *Pool) (int, string, Trace) {
	t.Helper()
	code, text, trace, err := fetch(t.Context(), p, http.MethodGet, "")
	if err != nil {
		t.Fatalf("GET: %v", err)
	}
	return code, text, trace
}

// usual does something n times and gives the median of how long it took: a machine
// that is busy may hold up some of them.
func usual(n int, do func()) time.Duration {
	took := make([]time.Duration, 0, n)
	for range n {
		began := time.Now()
		do()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[n/2]
}

// replicaOf is the status of the replica at an address.
func replicaOf(p *Pool, address string) (ReplicaStatus, bool) {
	for _, r := range p.Status().Replicas {
		if r.Address == address {
			return r, true
		}
	}
	return ReplicaStatus{}, false
}

// eventually polls a fact that no event announces, at most a minute.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 30_000 {
		if fact() {
			return
		}
		<-tick.C
	}
	t.Fatal("never: " + what)
}

func noneInFlight(t *testing.T, p *Pool) {
	t.Helper()
	eventually(t, "nothing in flight", func() bool { return p.Status().InFlight == 0 })
	for _, r := range p.Status().Replicas {
		if r.InFlight != 0 || r.WebSockets != 0 || r.Streams != 0 {
			t.Errorf("%s still counts %d in flight, %d websockets, %d streams", r.Address, r.InFlight, r.WebSockets, r.Streams)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("test set-up: ", err))
	}
	return v
}

func get(t testing.TB) *http.Request {
	t.Helper()
	return must(http.NewRequest(http.MethodGet, "http://pool/page", nil))
}
