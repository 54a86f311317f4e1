package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

const token = "tGk3vQ9sLm2xWz7rPb5n"

// gateway takes orders and lets a test say what becomes of them.
type gateway struct {
	mu sync.Mutex

	orders  []purge.Order
	records map[string]purge.Record
	keys    map[string]string // idempotency key → id

	// refuse is the error of each Submit.
	refuse error
	// become changes a record at each look at it.
	become func(*purge.Record)
	// book keeps the deploys, of a pool app; roll, if set, is what follows a call.
	book *deploy.Book
	roll func(deploy.Record)
	// explanation is the answer to Explain, status to Status.
	explanation any
	query       control.ExplainQuery
	status      control.Status
	// drained is asked what becomes of a drain order, and of one that undoes it;
	// seen, if set, of each look at the status.
	drained func(pool string, o control.DrainOrder, undo bool) ([]control.Drainee, error)
	seen    func()
}

func newGateway() *gateway {
	g := &gateway{
		records: make(map[string]purge.Record), keys: make(map[string]string), become: done,
		book: deploy.OpenBook(nil, func([]byte) error { return nil }, nil),
	}
	g.book.Adopt("app", new(deploy.Tracker), new(deploy.Answers))
	return g
}

func done(r *purge.Record) {
	r.State, r.Generation = purge.Done, 18
	r.Steps = []purge.Step{{Name: purge.StepGeneration}, {Name: purge.StepNode, Detail: "7 entries"}}
}

// targetFails leaves an order partial, with a target's error of this kind.
func targetFails(kind purge.Kind) func(*purge.Record) {
	return func(r *purge.Record) {
		r.State = purge.Partial
		r.Targets = []purge.TargetState{{Name: "cloudflare", State: purge.Partial, Attempts: 3,
			Error: &purge.TargetError{Kind: kind, HTTP: 429, Code: 1134, Message: "limit reached"}}}
	}
}

func (g *gateway) Submit(_ context.Context, o purge.Order) (purge.Record, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return purge.Record{}, g.refuse
	}
	if id, again := g.keys[o.IdempotencyKey]; again {
		return g.records[id], nil
	}
	g.orders = append(g.orders, o)
	r := purge.Record{Order: o, State: purge.Accepted}
	if o.DryRun {
		r.State = purge.Planned
		r.Targets = []purge.TargetState{{Name: "cloudflare", State: purge.Planned, Batches: 1, Items: 1}}
		return r, nil
	}
	r.ID = fmt.Sprintf("p%d", len(g.orders))
	g.records[r.ID], g.keys[o.IdempotencyKey] = r, r.ID
	return r, nil
}

func (g *gateway) Purge(id string) (purge.Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.records[id]
	return r, ok
}

func (g *gateway) WaitPurge(ctx context.Context, id string) (purge.Record, bool) {
	g.mu.Lock()
	r, ok := g.records[id]
	if ok {
		g.become(&r)
		g.records[id] = r
	}
	g.mu.Unlock()
	if ok && !r.State.Final() {
		<-ctx.Done()
	}
	return r, ok
}

func (g *gateway) Status(context.Context) control.Status {
	if g.seen != nil {
		g.seen()
	}
	return g.status
}

func (g *gateway) Drain(pool string, o control.DrainOrder) ([]control.Drainee, error) {
	return g.drained(pool, o, false)
}

func (g *gateway) Undrain(pool string, o control.DrainOrder) ([]control.Drainee, error) {
	return g.drained(pool, o, true)
}

func (g *gateway) Ready(context.Context) control.Readiness    { return control.Readiness{Ready: true} }
func (g *gateway) Purges(context.Context, int) []purge.Record { return nil }
func (g *gateway) CancelPurge(id string) error {
	if _, ok := g.Purge(id); !ok {
		return purge.ErrUnknown
	}
	return nil
}

func (g *gateway) Hint()                                                  {}
func (g *gateway) Traffic(time.Time) any                                  { return nil }
func (g *gateway) Register(string, string, time.Duration) (string, error) { return "", nil }
func (g *gateway) Deregister(string) error                                { return nil }
func (g *gateway) Autoscale(string) (any, error)                          { return nil, nil }
func (g *gateway) Versions() map[string]deploy.Status                     { return nil }
func (g *gateway) Deploys(pool string, limit int) []deploy.Record         { return g.book.List(pool, limit) }
func (g *gateway) Deployed(id string) (deploy.Record, bool)               { return g.book.Get(id) }
func (g *gateway) Deploy(_ context.Context, c deploy.Call) (deploy.Record, error) {
	c.Pool = "app"
	r, err := g.book.Call(time.Now(), c)
	if err == nil && g.roll != nil {
		g.roll(r)
	}
	return r, err
}

func (g *gateway) WaitDeploy(ctx context.Context, id string) (deploy.Record, bool) {
	return g.book.Wait(ctx, id)
}

func (g *gateway) CancelDeploy(id string) error {
	_, err := g.book.Cancel(time.Now(), id)
	return err
}

func (g *gateway) Explain(_ context.Context, q control.ExplainQuery) (any, error) {
	g.query = q
	if g.explanation == nil {
		return nil, errors.New("nothing to explain with")
	}
	return g.explanation, nil
}

// site is a gateway's control API on a site, at /.edge, behind a token.
type site struct {
	*gateway
	url   string
	calls atomic.Int32
}

func newSite(t *testing.T, g *gateway) *site {
	t.Helper()
	s := &site{gateway: g}
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	s.url = server.URL + "/.edge"
	return s
}

func (s *site) handler() http.Handler {
	api := control.New(control.Config{Gateway: s.gateway, Tokens: []string{token}})
	mount := http.StripPrefix("/.edge", api)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		mount.ServeHTTP(w, r)
	})
}

func (s *site) connection() Connection { return connection(s.url) }

func connection(server string) Connection {
	return Connection{Server: server, Getenv: environment(map[string]string{TokenEnv: token})}
}

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

// outcome is what a command left behind.
type outcome struct {
	code           int
	stdout, stderr string
}

func runPurge(ctx context.Context, c PurgeConfig) outcome {
	var stdout, stderr bytes.Buffer
	code := Purge(ctx, c, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pipes is a network within a synctest bubble: a server listens, a transport
// dials, and time passes only while all wait.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// bubble serves a handler within a synctest bubble and gives a transport to it.
func bubble(t *testing.T, handler http.Handler) http.RoundTripper {
	t.Helper()
	network := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: handler}
	served := make(chan error, 1)
	go func() { served <- server.Serve(network) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		select {
		case network.accept <- server:
			return client, nil
		case <-network.closed:
			return nil, errors.New("connection refused")
		}
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-served
	})
	return transport
}
