package caddymodule

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
)

// records reads the access log. A line that is still being written is left out.
func (e *edge) records() []map[string]any {
	e.t.Helper()
	file, err := os.Open(e.accessLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was logged yet
	}
	if err != nil {
		e.t.Fatal(err)
	}
	defer file.Close()
	var all []map[string]any
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var record map[string]any
		if json.Unmarshal(lines.Bytes(), &record) == nil {
			all = append(all, record)
		}
	}
	return all
}

// logged waits for the record of a request: the server writes it after the
// client has its answer.
func (e *edge) logged(requestID string) map[string]any {
	e.t.Helper()
	var found map[string]any
	eventually(e.t, "the access log has request "+requestID, func() bool {
		for _, record := range e.records() {
			if record["request_id"] == requestID {
				found = record
			}
		}
		return found != nil
	})
	return found
}

// observer is an origin that notes the request ids it was given, by path.
type observer struct {
	mu  sync.Mutex
	ids map[string]string
}

func (o *observer) note(r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids == nil {
		o.ids = make(map[string]string)
	}
	o.ids[r.Method+" "+r.URL.Path] = r.Header.Get("X-Request-Id")
}

func (o *observer) idOf(methodAndPath string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ids[methodAndPath]
}

func TestTheAccessLogTellsWhatBecameOfARequest(t *testing.T) {
	var seen observer
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		seen.note(r)
		w.Header().Set("X-Request-Id", "what-the-replica-calls-it")
		fmt.Fprint(w, "page")
	})
	e := startEdge(t, staticPool(address), pagesSite)
	e.get("/stored")
	id := e.poolStatus().Replicas[0].ID

	// Absent fields are those of a request that no cache or no replica saw.
	cases := map[string]struct {
		method, path string
		headers      []string
		want         map[string]any
		absent       []string
	}{
		"a miss": {"GET", "/first", nil, map[string]any{
			"rule": "page /*", "cache": "miss", "cache_reason": "", "replica": id, "version": "v1", "attempts": 1.0, "status": 200.0,
		}, nil},
		"a hit, with the replica and version that made it": {"GET", "/stored", nil, map[string]any{
			"rule": "page /*", "cache": "hit", "cache_reason": "", "replica": id, "version": "v1", "status": 200.0,
		}, []string{"attempts"}},
		"a bypass by rule": {"GET", "/account", nil, map[string]any{
			"rule": "private /api/* /account", "cache": "bypass", "cache_reason": "rule", "replica": id, "version": "v1", "attempts": 1.0,
		}, nil},
		"a bypass by cookie": {"GET", "/stored", []string{"Cookie", "session=5e55-10n"}, map[string]any{
			"rule": "page /*", "cache": "bypass", "cache_reason": "rule", "replica": id, "attempts": 1.0,
		}, nil},
		"a proxied POST": {"POST", "/form", nil, map[string]any{
			"rule": "page /*", "cache": "bypass", "cache_reason": "method", "replica": id, "version": "v1", "attempts": 1.0,
		}, nil},
		"a control call": {"GET", "/.edge/status", []string{"Authorization", "Bearer " + testToken}, map[string]any{
			"status": 200.0,
		}, []string{"cache", "cache_reason", "replica", "version", "attempts"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := e.do(c.method, c.path, nil, c.headers...)
			id := r.Header.Get("X-Request-Id")
			if len(id) != 32 {
				t.Fatalf("the client got the request id %q: want one of 32 digits", id)
			}
			record := e.logged(id)
			for field, want := range c.want {
				if record[field] != want {
					t.Errorf("%s is %v: want %v", field, record[field], want)
				}
			}
			for _, field := range c.absent {
				if got, ok := record[field]; ok {
					t.Errorf("%s is %v: want none", field, got)
				}
			}
			if header, _ := record["resp_headers"].(map[string]any); c.want["cache"] == "hit" && fmt.Sprint(header["Content-Length"]) != fmt.Sprint(r.Header["Content-Length"]) {
				t.Errorf("the record has the length %v: the client got %v", header["Content-Length"], r.Header["Content-Length"])
			}
			if forwarded := seen.idOf(c.method + " " + c.path); c.want["attempts"] != nil && forwarded != id {
				t.Errorf("the replica was given the id %q: want %q", forwarded, id)
			}
		})
	}
}

func TestRequestIDsAreKeptOnlyIfWellFormed(t *testing.T) {
	var seen observer
	address, _ := counting(t, func(_ http.ResponseWriter, r *http.Request) { seen.note(r) })
	e := startEdge(t, staticPool(address), pagesSite)
	cases := map[string]struct {
		given string
		kept  bool
	}{
		"a UUID":                          {"0b4f77c1-9a5e-4a17-8d0e-3f2f6c1d9e10", true},
		"the shortest, 8 characters":      {"a1B2-._:", true},
		"the longest, 128 characters":     {strings.Repeat("a", 128), true},
		"base64":                          {"Zm9vYmFyYmF6cXV4+/==", true},
		"7 characters":                    {"a1b2c3d", false},
		"129 characters":                  {strings.Repeat("a", 129), false},
		"a quote":                         {`abcdefgh"`, false},
		"a space":                         {"abcd efgh", false},
		"what would break a log":          {"abcdefgh{}", false},
		"a character that is not ASCII":   {"abcdefghé", false},
		"none":                            {"", false},
		"what would be a header of mails": {"abcdefgh,<x>", false},
	}
	n := 0
	for name, c := range cases {
		n++
		path := fmt.Sprintf("/api/%d", n)
		t.Run(name, func(t *testing.T) {
			r := e.get(path, "X-Request-Id", c.given)
			got := r.Header.Get("X-Request-Id")
			if (got == c.given) != c.kept {
				t.Errorf("given %q, the client got %q: kept should be %t", c.given, got, c.kept)
			}
			if forwarded := seen.idOf("GET " + path); forwarded != got {
				t.Errorf("the replica got %q: want %q, as the client did", forwarded, got)
			}
			if record := e.logged(got); record["request_id"] != got {
				t.Errorf("logged as %v", record["request_id"])
			}
		})
	}
}

// A GET whose connection is cut before an answer goes to another replica; the
// log says that two were asked, with and without a cache in front.
func TestTheAccessLogCountsAttempts(t *testing.T) {
	cut := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		panic(http.ErrAbortHandler)
	})
	good := startOrigin(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	block := strings.Replace(staticPool(cut, good), "health", "policy round_robin\n\teject off\n\tbreaker {\n\t\tconsecutive none\n\t\tmin_requests 10000\n\t}\n\tretry {\n\t\tattempts 2\n\t\tbudget 100%\n\t}\n\thealth", 1)
	e := startEdge(t, block, pagesSite)
	eventually(t, "both replicas are up", func() bool { return e.replicasUp() == 2 })
	ids := make(map[string]string)
	for _, r := range e.poolStatus().Replicas {
		ids[r.Address] = r.ID
	}
	for _, path := range []string{"/api/retried/%d", "/page/%d"} {
		counts := make(map[any]int)
		for n := range 10 {
			r := e.get(fmt.Sprintf(path, n))
			if r.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %s", path, r.StatusCode, r.Text)
			}
			record := e.logged(r.Header.Get("X-Request-Id"))
			counts[record["attempts"]]++
			if record["replica"] != ids[good] {
				t.Errorf("%s: replica %v: want %s, which answered", path, record["replica"], ids[good])
			}
		}
		if counts[2.0] == 0 || counts[1.0]+counts[2.0] != 10 {
			t.Errorf("%s: attempts %v: want one or two each, and some two", path, counts)
		}
	}
}

func TestTheAccessLogHoldsNoSecrets(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "set-by-the-replica"})
	})
	e := startEdge(t, staticPool(address), pagesSite)
	var last string
	for _, path := range []string{"/page", "/api/me", "/.edge/status", "/.edge/readyz"} {
		for _, token := range []string{testToken, "a-token-that-is-wrong-9f8e"} {
			r := e.get(path, "Authorization", "Bearer "+token, "Cookie", "session=worn-by-the-visitor", "Proxy-Authorization", "Basic cHJveHk6c2VjcmV0")
			last = r.Header.Get("X-Request-Id")
			e.logged(last)
		}
	}
	text, err := os.ReadFile(e.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{testToken, "a-token-that-is-wrong", "worn-by-the-visitor", "set-by-the-replica", "cHJveHk6c2VjcmV0"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the access log shows %s", secret)
		}
	}
	if len(e.records()) != 8 {
		t.Errorf("%d records: want one for each of 8 requests", len(e.records()))
	}
}
