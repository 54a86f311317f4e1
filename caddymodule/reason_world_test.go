package caddymodule

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const reasonSite = `
edge_rules {
	fingerprinted /assets/*
	private /private/*
	page /pages/*
	rule /*
}
edge_cache
edge_proxy app
`

// directed is an origin that does what the query says: hold=N holds the Nth
// request for the URL; from the Nth on, fail=N answers 503 and die=N nothing;
// cut ends the connection within the body, pause holds after it; status and
// size are those of the answer; names in capitals are fields of its header.
type directed struct {
	version          atomic.Value
	arrived, release chan struct{}
	mu               sync.Mutex
	asked            map[string]int
}

func newDirected() *directed {
	d := &directed{arrived: make(chan struct{}), release: make(chan struct{}), asked: make(map[string]int)}
	d.version.Store("v1")
	return d
}

func (d *directed) answer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-App-Version", d.version.Load().(string))
	if r.URL.Path == "/healthz" {
		return
	}
	d.mu.Lock()
	d.asked[r.URL.String()]++
	n := d.asked[r.URL.String()]
	d.mu.Unlock()
	query := r.URL.Query()
	number := func(word string) int {
		value, _ := strconv.Atoi(query.Get(word)) // absent is zero
		return value
	}
	if number("hold") == n {
		d.hold(r)
	}
	if die := number("die"); die > 0 && n >= die {
		panic(http.ErrAbortHandler)
	}
	for name, values := range query {
		if name[0] >= 'A' && name[0] <= 'Z' {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
	}
	if name := query.Get("numbered"); name != "" {
		w.Header().Set(name, numbered(w.Header().Get(name)))
	}
	d.write(w, r, n, number)
}

func (d *directed) write(w http.ResponseWriter, r *http.Request, n int, number func(string) int) {
	status, size := max(number("status"), 0), max(number("size"), len("text"))
	if status == 0 {
		status = http.StatusOK
	}
	if fail := number("fail"); fail > 0 && n >= fail {
		status = http.StatusServiceUnavailable
	}
	if w.Header().Get("Trailer") == "" {
		w.Header().Set("Content-Length", strconv.Itoa(size))
	}
	w.WriteHeader(status)
	if number("cut") > 0 {
		_, _ = io.WriteString(w, "te")            // a reader that left is what the test sees
		_ = http.NewResponseController(w).Flush() // likewise
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, patterned(size)) // likewise
	if number("pause") > 0 {
		d.hold(r)
	}
}

func (d *directed) hold(r *http.Request) {
	d.arrived <- struct{}{}
	select {
	case <-d.release:
	case <-r.Context().Done():
	}
}

// numbered makes the members of a list differ.
func numbered(list string) string {
	members := strings.Split(list, ",")
	for i := range members {
		members[i] += strconv.Itoa(i)
	}
	return strings.Join(members, ",")
}

// reasonWorld is a gateway in front of a directed origin.
type reasonWorld struct {
	t      *testing.T
	e      *edge
	origin *directed
	// Of the request that is held.
	target string
	cancel context.CancelFunc
}

func newReasonWorld(t *testing.T) *reasonWorld {
	t.Helper()
	d := newDirected()
	pool := strings.Replace(staticPool(startOrigin(t, d.answer)), "discover", `retry {
		attempts none
	}
	breaker {
		min_requests 10000
		consecutive none
	}
	discover`, 1)
	return &reasonWorld{t: t, origin: d, e: startEdge(t, "cache {\n\tmax_object 64KiB\n}\n"+pool, reasonSite)}
}

func (w *reasonWorld) purgeAll() { w.e.purge(map[string]any{"everything": true}) }

func (w *reasonWorld) postToIt() { w.e.do(http.MethodPost, w.target, nil) }

func (w *reasonWorld) overtakeIt() { w.e.get(w.target) }

// leave hangs up, and waits until the gateway has noticed.
func (w *reasonWorld) leave() {
	w.cancel()
	w.e.logged("reach-client-left")
}

// reach asks, and looks where the page says that the reason shows.
func (w *reasonWorld) reach(t *testing.T, code string, c reaching, shows string) {
	method, target, found := strings.Cut(c.ask, " ")
	if !found {
		method, target = http.MethodGet, c.ask
	}
	// Each has a URL of its own.
	if strings.Contains(target, "?") {
		target += "&for=" + code
	} else {
		target += "?for=" + code
	}
	w.target = target
	for _, one := range c.before {
		switch one {
		case again:
			w.e.get(target)
		case "soft purge":
			w.e.purge(map[string]any{"everything": true, "soft": true})
		}
	}
	var shown response
	id := "reach-" + code
	if !c.silent {
		shown = w.ask(t, method, target, id, c)
	}
	w.shows(t, code, shows, shown, id, method, target, c.fields)
}

func (w *reasonWorld) ask(t *testing.T, method, target, id string, c reaching) response {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.cancel = cancel
	var body io.Reader
	if c.body != "" {
		body = strings.NewReader(c.body)
	}
	request, err := http.NewRequestWithContext(ctx, method, w.e.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Request-Id", id)
	for i := 0; i+1 < len(c.fields); i += 2 {
		request.Header.Set(c.fields[i], c.fields[i+1])
	}
	answered := make(chan response, 1)
	go func() {
		r, err := read(testClient.Do(request))
		if err != nil {
			r = response{&http.Response{Header: make(http.Header)}, err.Error()} // some are cut off
		}
		answered <- r
	}()
	if c.during != nil {
		<-w.origin.arrived
		c.during(w)
		w.origin.release <- struct{}{} // a fetch goes on when its client has left
	}
	return <-answered
}

// shows looks for a reason in Cache-Status (S), the access log (L) and explain
// (X), wherever it has to be.
func (w *reasonWorld) shows(t *testing.T, code, where string, r response, id, method, target string, fields []string) {
	t.Helper()
	if strings.Contains(where, "S") && !strings.HasSuffix(r.cacheStatus()+";", "; detail="+code+";") {
		t.Errorf("%s: Cache-Status %q, %d %q", code, r.cacheStatus(), r.StatusCode, r.Text[:min(len(r.Text), 80)])
	}
	if strings.Contains(where, "L") {
		if got := w.e.logged(id)["cache_reason"]; got != code {
			t.Errorf("%s: cache_reason %v in the log", code, got)
		}
	}
	if !strings.Contains(where, "X") {
		return
	}
	query := url.Values{"url": {w.e.URL + target}, "method": {method}}
	for i := 0; i+1 < len(fields); i += 2 {
		query.Add("header", fields[i]+": "+fields[i+1])
	}
	var x struct {
		Cache struct {
			Reason        string
			LastNotStored struct{ Reason, Age string } `json:"last_not_stored"`
		}
	}
	eventually(t, "explain shows "+code, func() bool { // a fetch may be about to end
		if status := w.e.control(http.MethodGet, "explain?"+query.Encode(), nil, &x); status != http.StatusOK {
			t.Fatalf("%s: explain: %d", code, status)
		}
		return x.Cache.Reason == code || x.Cache.LastNotStored.Reason == code && x.Cache.LastNotStored.Age != ""
	})
}

// whereReasonsShow reads the page: the code of each row, and its column "shows".
// A test of the engine holds the page's codes equal to those of the source.
func whereReasonsShow(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../docs/cache-status.md")
	if err != nil {
		t.Fatal(err)
	}
	shows := make(map[string]string)
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([SLX ]+|–) \\| .+ \\| .+ \\|$").FindAllStringSubmatch(string(page), -1) {
		shows[row[1]] = row[2]
	}
	if len(shows) < 30 {
		t.Fatalf("docs/cache-status.md has %d codes: want all", len(shows))
	}
	return shows
}

// reachedElsewhere are the codes that have a line in the engine's own table, or
// a test of their own here.
func reachedElsewhere(t *testing.T) map[string]bool {
	t.Helper()
	const folder = "../internal/httpcache/"
	named := make(map[string]string) // constant → code
	inspect(t, folder+"reasons.go", func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return
		}
		if value, ok := spec.Values[0].(*ast.BasicLit); ok {
			named[spec.Names[0].Name], _ = strconv.Unquote(value.Value) // the parser has read it
		}
	})
	reached := map[string]bool{"rollout": true, "no-room": true, "disk": true, "to-disk": true, "vault": true}
	inspect(t, folder+"reason_reach_test.go", func(n ast.Node) {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.Ident); ok && named[key.Name] != "" {
				reached[named[key.Name]] = true
			}
		}
	})
	if len(reached) < 3 {
		t.Fatal(fmt.Errorf("%sreason_reach_test.go has no table", folder))
	}
	return reached
}

func inspect(t *testing.T, file string, see func(ast.Node)) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		see(n)
		return true
	})
}
