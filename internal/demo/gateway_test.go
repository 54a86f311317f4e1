package demo

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// miniature is a small gateway in the test's own process: it registers, drains
// and lists replicas as the control API does, and takes requests to them in
// turn. With stuck, it keeps the first page it saw under each path for ever.
type miniature struct {
	stuck bool

	mu       sync.Mutex
	replicas []*mini
	turn     int
	last     int
	pages    map[string]*httptest.ResponseRecorder
	drains   int
	renewals int
}

type mini struct {
	id, address, state string
	busy               sync.WaitGroup
}

func startMiniature(t *testing.T, m *miniature) *gateway {
	t.Helper()
	m.pages = make(map[string]*httptest.ResponseRecorder)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /.edge/replicas", m.register)
	mux.HandleFunc("POST /.edge/replicas/{id}/drain", m.drain)
	mux.HandleFunc("DELETE /.edge/replicas/{id}", m.forget)
	mux.HandleFunc("GET /.edge/status", m.status)
	mux.HandleFunc("GET /.edge/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", m.serve)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return &gateway{base: server.URL, control: newController(server.URL+endpoint, "a token"), token: "token-file"}
}

func (m *miniature) register(w http.ResponseWriter, r *http.Request) {
	var asked struct{ Pool, Address, Lease string }
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.Pool != "app" || asked.Lease != "10s" || r.Header.Get("Authorization") != "Bearer a token" {
		http.Error(w, "refused", http.StatusUnprocessableEntity)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.replicas {
		if known.address == asked.Address {
			m.renewals++
			json.NewEncoder(w).Encode(map[string]string{"id": known.id})
			return
		}
	}
	m.last++
	added := &mini{id: "id" + strconv.Itoa(m.last), address: asked.Address, state: "joining"}
	m.replicas = append(m.replicas, added)
	json.NewEncoder(w).Encode(map[string]string{"id": added.id})
}

func (m *miniature) findLocked(id string) *mini {
	for _, r := range m.replicas {
		if r.id == id {
			return r
		}
	}
	return &mini{}
}

func (m *miniature) drain(_ http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drains++
	leaving := m.findLocked(r.PathValue("id"))
	leaving.state = "draining"
	go func() {
		leaving.busy.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		leaving.state = "drained"
	}()
}

func (m *miniature) forget(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, known := range m.replicas {
		if known.id == r.PathValue("id") {
			m.replicas = append(m.replicas[:i], m.replicas[i+1:]...)
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	http.NotFound(w, r)
}

// status lists the replicas; to be listed once counts as a passed check.
func (m *miniature) status(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []map[string]any{}
	for _, r := range m.replicas {
		list = append(list, map[string]any{"id": r.id, "address": r.address, "state": r.state})
		if r.state == "joining" {
			r.state = "up"
		}
	}
	json.NewEncoder(w).Encode(map[string]any{"pools": []any{map[string]any{"name": "app", "replicas": list}}})
}

func (m *miniature) pick() *mini {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range m.replicas {
		m.turn++
		if r := m.replicas[m.turn%len(m.replicas)]; r.state == "up" {
			r.busy.Add(1)
			return r
		}
	}
	return nil
}

func (m *miniature) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	kept := m.pages[r.URL.Path]
	m.mu.Unlock()
	if kept != nil {
		w.Header().Set("X-App-Version", kept.Header().Get("X-App-Version"))
		w.Header().Set("Cache-Status", "edge; hit; ttl=-1")
		w.Write(kept.Body.Bytes())
		return
	}
	chosen := m.pick()
	if chosen == nil {
		http.Error(w, "no replica", http.StatusBadGateway)
		return
	}
	if r.URL.Path == "/ws" || r.URL.Path == "/events" {
		chosen.busy.Done() // streams do not hold a drain up
	} else {
		defer chosen.busy.Done()
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: chosen.address})
	if !m.stuck || !strings.HasPrefix(r.URL.Path, "/contacts") {
		w.Header().Set("Cache-Status", "edge; fwd=uri-miss")
		proxy.ServeHTTP(w, r)
		return
	}
	r.Header.Del("If-None-Match")
	r.Header.Del("Accept-Encoding")
	page := httptest.NewRecorder()
	proxy.ServeHTTP(page, r)
	m.mu.Lock()
	m.pages[r.URL.Path] = page
	m.mu.Unlock()
	w.Header().Set("X-App-Version", page.Header().Get("X-App-Version"))
	w.Write(page.Body.Bytes())
}
