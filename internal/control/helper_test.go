package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

const (
	rightToken  = "tGk3vQ9sLm2xWz7rPb5n"
	secondToken = "Hq8dYc4jNf6uVa1eKo0i"
	wrongToken  = "Zz9wrongXy8guessUv7t"
)

// fakeGateway keeps orders in memory and does nothing about them.
type fakeGateway struct {
	mu sync.Mutex

	orders      []purge.Order
	records     map[string]purge.Record
	replicas    map[string]string // id → pool and address
	drained     []string
	hinted      int
	drainOrders []DrainOrder
	lease       time.Duration
	query       ExplainQuery
	submitErr   error
	ready       Readiness
	finished    chan struct{} // closing it finishes every order
	waiting     chan struct{} // gets a value when WaitPurge begins
	book        *deploy.Book
	tracker     *deploy.Tracker // of the pool app
}

func newFakeGateway() *fakeGateway {
	g := &fakeGateway{
		book:     deploy.OpenBook(nil, func([]byte) error { return nil }, nil),
		tracker:  new(deploy.Tracker),
		records:  make(map[string]purge.Record),
		replicas: make(map[string]string),
		ready:    Readiness{Ready: true, Dependencies: []Dependency{{Name: "cloudflare", OK: true}}},
		finished: make(chan struct{}),
		waiting:  make(chan struct{}, 100),
	}
	g.book.Adopt("app", g.tracker, new(deploy.Answers))
	return g
}

func (g *fakeGateway) Hint() { g.hinted++ }

func (g *fakeGateway) Status(context.Context) Status {
	return Status{Version: "1.2.3", Node: "node-a", Generation: 17, Pools: []string{}, Cache: map[string]int{"entries": 4}}
}

func (g *fakeGateway) Ready(context.Context) Readiness { return g.ready }

func (g *fakeGateway) Traffic(after time.Time) any { return map[string]time.Time{"after": after} }

func (g *fakeGateway) Explain(_ context.Context, q ExplainQuery) (any, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.query = q
	return map[string]string{"verdict": "page /*"}, nil
}

func (g *fakeGateway) Submit(_ context.Context, o purge.Order) (purge.Record, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.submitErr != nil {
		return purge.Record{}, g.submitErr
	}
	normal, err := o.Normalize()
	if err != nil {
		return purge.Record{}, err
	}
	o.Selectors = normal
	g.orders = append(g.orders, o)
	o.ID = fmt.Sprintf("order %d", len(g.orders))
	record := purge.Record{Order: o, State: purge.Accepted}
	if o.DryRun {
		record.State = purge.Planned
	}
	g.records[o.ID] = record
	return record, nil
}

func (g *fakeGateway) Purge(id string) (purge.Record, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	record, ok := g.records[id]
	return record, ok
}

func (g *fakeGateway) WaitPurge(ctx context.Context, id string) (purge.Record, bool) {
	g.waiting <- struct{}{}
	select {
	case <-g.finished:
		record, ok := g.Purge(id)
		record.State = purge.Done
		return record, ok
	case <-ctx.Done():
		return g.Purge(id)
	}
}

func (g *fakeGateway) Purges(_ context.Context, limit int) []purge.Record {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []purge.Record
	for i := len(g.orders); i > 0 && len(list) < limit; i-- {
		list = append(list, g.records[fmt.Sprintf("order %d", i)])
	}
	return list
}

func (g *fakeGateway) CancelPurge(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	record, ok := g.records[id]
	switch {
	case !ok:
		return purge.ErrUnknown
	case record.State.Final():
		return purge.ErrFinished
	}
	record.State = purge.Canceled
	g.records[id] = record
	return nil
}

func (g *fakeGateway) Register(pool, address string, lease time.Duration) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if pool == "broken" {
		return "", errors.New("pool broken: disk on fire")
	}
	if pool != "app" {
		return "", fmt.Errorf("pool %q: %w", pool, ErrUnknownPool)
	}
	id := pool + "/" + address
	g.replicas[id], g.lease = address, lease
	return id, nil
}

func (g *fakeGateway) Drain(pool string, o DrainOrder) ([]Drainee, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drainOrders = append(g.drainOrders, o)
	if pool != "" && pool != "app" {
		return nil, fmt.Errorf("pool %q: %w", pool, ErrUnknownPool)
	}
	if o.Version == "v1" { // what all replicas run
		if !o.Force {
			return nil, fmt.Errorf("pool app: %w", ErrLastReplica)
		}
		return []Drainee{{ID: "a", Version: "v1", State: "draining"}, {ID: "b", Version: "v1", State: "drained"}}, nil
	}
	if _, ok := g.replicas[o.Replica]; !ok {
		return nil, ErrUnknownReplica
	}
	g.drained = append(g.drained, o.Replica)
	return []Drainee{{ID: o.Replica, State: "draining"}}, nil
}

func (g *fakeGateway) Undrain(_ string, o DrainOrder) ([]Drainee, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drainOrders = append(g.drainOrders, o)
	return nil, nil
}

func (g *fakeGateway) Deregister(id string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.replicas[id]; !ok {
		return ErrUnknownReplica
	}
	delete(g.replicas, id)
	return nil
}

func (g *fakeGateway) Deploy(_ context.Context, c deploy.Call) (deploy.Record, error) {
	if c.Pool != "" && c.Pool != "app" {
		return deploy.Record{}, fmt.Errorf("pool %q: %w", c.Pool, ErrUnknownPool)
	}
	c.Pool = "app"
	return g.book.Call(time.Now(), c)
}

func (g *fakeGateway) Deployed(id string) (deploy.Record, bool) { return g.book.Get(id) }

func (g *fakeGateway) WaitDeploy(ctx context.Context, id string) (deploy.Record, bool) {
	return g.book.Wait(ctx, id)
}

func (g *fakeGateway) CancelDeploy(id string) error {
	_, err := g.book.Cancel(time.Now(), id)
	return err
}

func (g *fakeGateway) Deploys(pool string, limit int) []deploy.Record {
	return g.book.List(pool, limit)
}

func (g *fakeGateway) Versions() map[string]deploy.Status { return nil }

func (g *fakeGateway) Autoscale(pool string) (any, error) {
	switch pool {
	case "":
		return map[string]any{"app": map[string]int{"desired_replicas": 3}}, nil
	case "app":
		return map[string]int{"desired_replicas": 3}, nil
	}
	return nil, fmt.Errorf("pool %q: %w: want app", pool, ErrUnknownPool)
}

// events collects what a handler reports.
type events struct {
	mu sync.Mutex

	list []Event
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
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

// ask sends one request; fields are pairs of name and value.
func ask(h http.Handler, method, target, body string, fields ...string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// decode reads an answer's JSON and checks what all answers have in common.
func decode[T any](t *testing.T, response *http.Response, status int) T {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != status {
		t.Fatalf("status %d, %s: want %d", response.StatusCode, text, status)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q: want no-store", got)
	}
	want := "application/json"
	if status >= 400 {
		want = "application/problem+json"
	}
	if got := response.Header.Get("Content-Type"); got != want {
		t.Errorf("Content-Type %q: want %s", got, want)
	}
	var value T
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

// trusted is a handler as at the admin endpoint.
func trusted(g *fakeGateway) *Handler { return New(Config{Gateway: g, Trusted: true}) }
