package lb

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// apiServer stands in for the API server of Kubernetes, over TLS. It refuses
// what the real one refuses: other paths, parameters that it does not know, a
// token that is not valid, a version that is not its own, or that it has
// forgotten.
type apiServer struct {
	*httptest.Server
	dir string // with the files of a pod: token, ca.crt, namespace

	mu      sync.Mutex
	token   string
	labels  map[string]string // of every slice
	slices  map[string]map[string]any
	version int
	oldest  int      // that a watch may go on from
	history []string // events, by version from 1
	waiting map[*waiter]bool
	lists   int
	asked   []string // the versions from which watches went on
	broken  bool
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	k := &apiServer{
		dir: t.TempDir(), token: "first", slices: make(map[string]map[string]any), waiting: make(map[*waiter]bool),
		labels: map[string]string{serviceLabel: "app", "track": "stable"}, version: 1, oldest: 1, history: []string{""},
	}
	k.Server = httptest.NewTLSServer(http.HandlerFunc(k.serve))
	t.Cleanup(func() {
		k.CloseClientConnections()
		k.Close()
	})
	k.file(t, "token", "first\n")
	k.file(t, "namespace", "shop")
	k.file(t, "ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})))
	return k
}

func (k *apiServer) file(t *testing.T, name, text string) {
	t.Helper()
	// Kubernetes replaces these files whole.
	if err := os.WriteFile(filepath.Join(k.dir, "."+name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(k.dir, "."+name), filepath.Join(k.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// spec is the discovery of its service app.
func (k *apiServer) spec() named.Spec {
	return named.Spec{Name: "kubernetes", Args: []string{"app"}, Options: map[string][]string{
		"server": {k.URL}, "namespace": {"shop"}, "token_file": {k.dir + "/token"}, "ca_file": {k.dir + "/ca.crt"},
	}}
}

func (k *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	broken, token := k.broken, k.token
	k.mu.Unlock()
	known := []string{"labelSelector", "watch", "allowWatchBookmarks", "resourceVersion", "timeoutSeconds"}
	switch {
	case broken:
		failure(w, http.StatusInternalServerError, "etcdserver: request timed out")
	case r.Header.Get("Authorization") != "Bearer "+token:
		failure(w, http.StatusUnauthorized, "Unauthorized")
	case r.Method != http.MethodGet:
		failure(w, http.StatusMethodNotAllowed, "the server does not allow this method on the requested resource")
	case r.URL.Path == "/apis/discovery.k8s.io/v1/namespaces/moved/endpointslices":
		http.Redirect(w, r, "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?"+r.URL.RawQuery, http.StatusFound)
	case strings.HasPrefix(r.URL.Path, "/apis/discovery.k8s.io/v1/namespaces/secret/"):
		failure(w, http.StatusForbidden, `endpointslices.discovery.k8s.io is forbidden: User "edge" cannot list`)
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices":
		failure(w, http.StatusNotFound, "the server could not find the requested resource")
	case slices.ContainsFunc(slices.Collect(maps.Keys(r.URL.Query())), func(name string) bool { return !slices.Contains(known, name) }):
		failure(w, http.StatusBadRequest, "unknown parameter in "+r.URL.RawQuery)
	case r.URL.Query().Get("watch") == "true":
		k.watch(w, r)
	default:
		k.list(w, r)
	}
}

func failure(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "status": "Failure", "code": code, "message": message})
}

// selects tells whether all its slices have the labels that are asked for.
func (k *apiServer) selects(r *http.Request) bool {
	for _, one := range strings.Split(r.URL.Query().Get("labelSelector"), ",") {
		name, value, _ := strings.Cut(one, "=")
		if k.labels[name] != value {
			return false
		}
	}
	return true
}

func (k *apiServer) list(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lists++
	items := []map[string]any{}
	if k.selects(r) {
		for _, s := range sorted(k.slices) {
			s = maps.Clone(s)
			delete(s, "kind") // Items have none.
			items = append(items, s)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(k.version)}, "items": items,
	})
}

func (k *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	seconds, err2 := strconv.Atoi(r.URL.Query().Get("timeoutSeconds"))
	k.mu.Lock()
	k.asked = append(k.asked, r.URL.Query().Get("resourceVersion"))
	version, oldest := k.version, k.oldest
	k.mu.Unlock()
	switch {
	case err != nil || err2 != nil || from < 1 || seconds < 60 || r.URL.Query().Get("allowWatchBookmarks") != "true":
		failure(w, http.StatusBadRequest, "invalid parameters "+r.URL.RawQuery)
		return
	case from > version:
		failure(w, http.StatusGatewayTimeout, "Too large resource version")
		return
	case from < oldest && from%2 == 0:
		failure(w, http.StatusGone, "The resourceVersion for the provided watch is too old.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	if from < oldest { // It says so by either way.
		_, _ = fmt.Fprintln(w, `{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}`)
		return
	}
	for {
		k.mu.Lock()
		events := slices.Clone(k.history[min(from, len(k.history)):])
		from = len(k.history)
		mine := &waiter{woken: make(chan struct{})}
		k.mu.Unlock()
		for _, event := range events {
			if _, err := w.Write([]byte(event)); err != nil {
				return
			}
		}
		_ = flush()
		k.mu.Lock()
		if k.waiting[mine] = true; len(k.history) > from {
			mine.wakeLocked(k, "")
		}
		k.mu.Unlock()
		select {
		case <-mine.woken:
		case <-r.Context().Done():
			k.change(func() { delete(k.waiting, mine) })
			return
		}
		switch mine.with {
		case "":
		case "reset":
			panic(http.ErrAbortHandler)
		default:
			_, _ = w.Write([]byte(mine.with))
			return
		}
	}
}

// waiter is a watch that has told all there is.
type waiter struct {
	woken chan struct{}
	with  string // the last that it sends; "": it goes on, "reset": its connection breaks
}

func (w *waiter) wakeLocked(k *apiServer, with string) {
	w.with = with
	delete(k.waiting, w)
	close(w.woken)
}

func (k *apiServer) wakeLocked(with string) {
	for w := range k.waiting {
		w.wakeLocked(k, with)
	}
}

// watched waits until there is a watch that has told all there is.
func (k *apiServer) watched(t *testing.T) {
	t.Helper()
	eventually(t, "a watch", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return len(k.waiting) > 0
	})
}

// end ends the watch that is under way, or comes next: in good order with a
// line feed, by a broken connection with "reset", or with the bytes given.
func (k *apiServer) end(t *testing.T, with string) {
	t.Helper()
	k.watched(t)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wakeLocked(with)
}

// set adds a slice, changes it, or (nil) takes it away.
func (k *apiServer) set(name string, s map[string]any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kind, event := "MODIFIED", s
	if old, there := k.slices[name]; !there {
		kind = "ADDED"
	} else if s == nil {
		kind, event = "DELETED", old
	}
	k.version++
	event = maps.Clone(event)
	event["metadata"] = map[string]any{"name": name, "namespace": "shop", "resourceVersion": strconv.Itoa(k.version), "labels": k.labels}
	if k.slices[name] = event; s == nil {
		delete(k.slices, name)
	}
	k.pushLocked(kind, event)
}

// bookmark moves on without any change.
func (k *apiServer) bookmark() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	k.pushLocked("BOOKMARK", map[string]any{
		"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(k.version)},
	})
}

func (k *apiServer) pushLocked(kind string, object map[string]any) {
	text, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		panic(err)
	}
	k.history = append(k.history, string(text)+"\n")
	k.wakeLocked("")
}

// forget drops the history, as etcd's compaction does.
func (k *apiServer) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version++
	k.history = append(k.history, "")
	k.oldest = k.version
}

func (k *apiServer) change(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// pods is a slice with a pod at each address, in the state that its name ends
// in: ready, sick, ending or useless.
func pods(port string, states ...string) map[string]any {
	n := must(strconv.Atoi(port))
	list := []map[string]any{}
	for _, one := range states {
		ip, state, _ := strings.Cut(one, " ")
		conditions := map[string]bool{"ready": state == "ready", "serving": state == "ready" || state == "ending", "terminating": state == "ending" || state == "useless"}
		list = append(list, map[string]any{
			"addresses": []string{ip}, "conditions": conditions, "zone": "a",
			"targetRef": map[string]any{"kind": "Pod", "name": "app-" + ip, "uid": "uid-" + ip + port},
		})
	}
	return map[string]any{
		"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
		"ports": []map[string]any{{"name": "http", "port": n, "protocol": "TCP"}}, "endpoints": list,
	}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
