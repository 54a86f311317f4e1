package lb

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// engine stands in for a Docker Engine, on a socket. It refuses what the real
// one refuses: versions of the API that it does not speak, filters that it does
// not know (moby, daemon/list.go and daemon/events/filter.go), other methods.
type engine struct {
	socket string

	mu         sync.Mutex
	containers []map[string]any
	listeners  map[chan string]bool
	lists      int
	broken     bool
}

func newEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "docker") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{socket: filepath.Join(dir, "s"), listeners: make(map[chan string]bool)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(e.serve))
	_ = server.Listener.Close()
	server.Listener = must(net.Listen("unix", e.socket))
	server.Start()
	t.Cleanup(func() {
		e.cut()
		server.Close()
		_ = os.RemoveAll(dir)
	})
	return e
}

func refuse(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (e *engine) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	broken := e.broken
	e.mu.Unlock()
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v"), "/")
	switch {
	case broken:
		refuse(w, http.StatusInternalServerError, "out of order")
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed, "method not allowed")
	case r.URL.Path == "/_ping":
		w.Header().Set("Api-Version", "1.51")
		_, _ = w.Write([]byte("OK"))
	case version != "1.51":
		refuse(w, http.StatusBadRequest, "client version "+version+" is too old. Minimum supported API version is 1.51")
	case path == "containers/json":
		e.list(w, r)
	case path == "events":
		e.events(w, r)
	default:
		refuse(w, http.StatusNotFound, "page not found")
	}
}

// filters reads the filters of a request, of which only some are known.
func filters(w http.ResponseWriter, r *http.Request, known ...string) (map[string][]string, bool) {
	var f map[string][]string
	if err := json.Unmarshal([]byte(r.URL.Query().Get("filters")), &f); err != nil {
		refuse(w, http.StatusBadRequest, "invalid filter: "+err.Error())
		return nil, false
	}
	for name := range f {
		if !slices.Contains(known, name) {
			refuse(w, http.StatusBadRequest, "invalid filter '"+name+"'")
			return nil, false
		}
	}
	return f, true
}

func (e *engine) list(w http.ResponseWriter, r *http.Request) {
	f, ok := filters(w, r, "ancestor", "before", "expose", "exited", "health", "id", "is-task", "isolation", "label", "name", "network", "publish", "since", "status", "volume")
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lists++
	list := []map[string]any{}
	for _, c := range e.containers {
		labels := c["Labels"].(map[string]string)
		name, value, valued := strings.Cut(f["label"][0], "=")
		have, labelled := labels[name]
		if labelled && (!valued || have == value) && slices.Contains(f["status"], c["State"].(string)) {
			list = append(list, c)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

func (e *engine) events(w http.ResponseWriter, r *http.Request) {
	f, ok := filters(w, r, "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret", "service", "type", "volume")
	if !ok {
		return
	}
	mine := make(chan string, 100)
	e.mu.Lock()
	e.listeners[mine] = true
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case action, open := <-mine:
			if !open {
				return
			}
			if slices.ContainsFunc(f["event"], func(want string) bool { return strings.HasPrefix(action, want) }) && slices.Contains(f["type"], "container") {
				_, _ = fmt.Fprintf(w, `{"Type":"container","Action":%q,"Actor":{"ID":"1"},"scope":"local"}`+"\n", action)
				_ = http.NewResponseController(w).Flush()
			}
		case <-r.Context().Done():
			return
		}
	}
}

// set replaces the containers and tells everybody what happened.
func (e *engine) set(action string, containers ...map[string]any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.containers = containers
	for l := range e.listeners {
		l <- action
	}
}

// cut ends all streams of events.
func (e *engine) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		close(l)
	}
	clear(e.listeners)
}

// running is a container as the engine lists it.
func running(name, address, status string) map[string]any {
	host, port, _ := strings.Cut(address, ":")
	return map[string]any{
		"Id": name + "0123", "Names": []string{"/" + name}, "State": "running", "Status": status,
		"Labels": map[string]string{"edge.pool": "app", "edge.port": port},
		"Ports":  []map[string]any{{"PrivatePort": 9, "Type": "tcp"}, {"PrivatePort": 9, "PublicPort": 99, "Type": "tcp", "IP": "::"}},
		"NetworkSettings": map[string]any{"Networks": map[string]any{
			"bridge": map[string]any{"IPAddress": host, "GlobalIPv6Address": ""},
		}},
	}
}

func TestDockerFollowsContainers(t *testing.T) {
	e := newEngine(t)
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	other := running("db", "127.0.0.1:1", "Up 2 days")
	other["Labels"] = map[string]string{"edge.pool": "db"}
	e.set("start", running("a", a.address, "Up 5 minutes"), other)
	c := testConfig()
	c.Discover = []named.Spec{{Name: "docker", Args: []string{"edge.pool=app"}, Options: map[string][]string{"socket": {e.socket}}}}
	p, seen := upPool(t, c, a)
	e.set("start", running("a", a.address, "Up 5 minutes"), running("b", b.address, "Up 1 second (health: starting)"))
	e.set("health_status: healthy", running("a", a.address, "Up 5 minutes"), running("b", b.address, "Up 2 seconds (healthy)"))
	seen.await(t, ReplicaUp, b.address)

	e.mu.Lock()
	e.broken = true
	e.mu.Unlock()
	e.cut()
	seen.await(t, DiscoveryFailed, "")
	if seen.count(ReplicaDraining) != 0 {
		t.Error("an engine that fails took a replica away")
	}
	mustGet(t, p)
	e.mu.Lock()
	e.broken, e.containers = false, []map[string]any{running("b", b.address, "Up 1 minute (healthy)")}
	e.mu.Unlock()
	seen.await(t, ReplicaDraining, a.address) // It reconnected, and listed again.
	if _, text, _ := mustGet(t, p); text != "b" {
		t.Errorf("answered %q: want b", text)
	}
}

func TestDockerReadsContainers(t *testing.T) {
	with := func(c map[string]any, changes ...any) map[string]any {
		for i := 0; i < len(changes); i += 2 {
			c[changes[i].(string)] = changes[i+1]
		}
		return c
	}
	two := map[string]any{"Networks": map[string]any{"front": map[string]any{"IPAddress": "10.1.0.2"}, "back": map[string]any{"IPAddress": "10.2.0.2"}}}
	none := map[string]any{"Networks": map[string]any{"host": map[string]any{"IPAddress": ""}}}
	tests := map[string]struct {
		docker docker
		list   []map[string]any
		want   string
	}{
		"label edge.port":                    {docker{}, []map[string]any{running("a", "10.0.0.1:3000", "Up")}, "[10.0.0.1:3000] <nil>"},
		"the port of the configuration wins": {docker{port: 80}, []map[string]any{running("a", "10.0.0.1:3000", "Up")}, "[10.0.0.1:80] <nil>"},
		"the one port that is exposed":       {docker{}, []map[string]any{with(running("a", "10.0.0.1:3", "Up"), "Labels", map[string]string{})}, "[10.0.0.1:9] <nil>"},
		"no port":                            {docker{}, []map[string]any{with(running("a", "10.0.0.1:3", "Up"), "Labels", map[string]string{}, "Ports", nil)}, "[] container a: it exposes 0 TCP ports: say which, by port or by its label edge.port"},
		"a bad port label names the container, the others stay": {docker{}, []map[string]any{
			with(running("a", "10.0.0.1:3", "Up"), "Labels", map[string]string{"edge.port": "http"}), running("b", "10.0.0.2:3", "Up"),
		}, `[10.0.0.2:3] container a: label edge.port "http": want a number from 1 to 65535`},
		"two networks":            {docker{}, []map[string]any{with(running("a", "10.0.0.1:3", "Up"), "NetworkSettings", two)}, `it is on ["back" "front"]: name one of them`},
		"two networks, one named": {docker{network: "front"}, []map[string]any{with(running("a", "10.0.0.1:3", "Up"), "NetworkSettings", two)}, "[10.1.0.2:3] <nil>"},
		"no address":              {docker{}, []map[string]any{with(running("a", "10.0.0.1:3", "Up"), "NetworkSettings", none)}, "it has no address there"},
		"one is unhealthy":        {docker{}, []map[string]any{running("a", "10.0.0.1:3", "Up (unhealthy)"), running("b", "10.0.0.2:3", "Up (healthy)")}, "[10.0.0.2:3] <nil>"},
		"most are unhealthy: the pool's own checks decide": {docker{}, []map[string]any{
			running("a", "10.0.0.1:3", "Up (unhealthy)"), running("b", "10.0.0.2:3", "Up (healthy)"), running("c", "10.0.0.3:3", "Up (unhealthy)"),
		}, "[10.0.0.1:3 10.0.0.2:3 10.0.0.3:3] <nil>"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var list []container
			if err := json.Unmarshal(must(json.Marshal(test.list)), &list); err != nil {
				t.Fatal(err)
			}
			found, err := test.docker.replicas(list)
			set, _ := ranking(found)
			if got := fmt.Sprint(set, " ", err); !strings.Contains(got, test.want) {
				t.Errorf("%s: want %s", got, test.want)
			}
		})
	}
}

func TestDockerWords(t *testing.T) {
	_, err := newDocker(named.Spec{Name: "docker", Args: []string{"=app"}, Options: map[string][]string{"socket": {"tcp://h:2375"}, "port": {"http"}, "network": {}}})
	for _, want := range []string{`docker label "=app"`, `docker socket "tcp://h:2375": want the path of a socket`, `docker port "http": want a number`, "docker network: got 0 words"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}
