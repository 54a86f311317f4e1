package demo

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/edgegw/edge/internal/sample"
)

// application is a sample application of v1 with changes in front of it.
func application(t *testing.T, change func(next http.Handler) http.HandlerFunc) string {
	t.Helper()
	app, err := sample.Handler(sample.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		app = change(app)
	}
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return server.URL
}

func TestVisitorsAreContentWithTheSample(t *testing.T) {
	base := application(t, nil)
	tl := newTally()
	for number := range 10 {
		v := newVisitor(base, number, tl)
		for range 25 {
			v.visit(t.Context())
		}
		v.close()
	}
	c := tl.now()
	if c.failures != 0 {
		t.Fatalf("failures: %v", c.described)
	}
	// 250 pages, each with a script, a style and the logo; more for some.
	if c.pages["v1"] != 250 || c.requests < 1000 || c.latency.total != c.requests {
		t.Errorf("pages %v, requests %d, measured %d", c.pages, c.requests, c.latency.total)
	}
}

// replace answers requests for a path's beginning in place of the application.
func replace(prefix string, with http.HandlerFunc) func(http.Handler) http.HandlerFunc {
	return func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, prefix) {
				with(w, r)
				return
			}
			next.ServeHTTP(w, r)
		}
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, "the beginning")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestVisitorsSeeWhatIsWrong(t *testing.T) {
	open := func(v *visitor) { v.open(t.Context(), "/contacts") }
	account := func(v *visitor) {
		v.signIn(t.Context(), v.name)
		v.account(t.Context(), v.name)
	}
	for name, c := range map[string]struct {
		prefix string
		with   http.HandlerFunc
		visit  func(*visitor)
		want   string
	}{
		"a gateway error":            {"/contacts", status(502), open, "GET /contacts: status 502"},
		"a page that is missing":     {"/contacts", status(404), open, "GET /contacts: status 404"},
		"a 304 that nobody asked":    {"/contacts", status(304), open, "GET /contacts: status 304"},
		"a cut page":                 {"/contacts", cut, open, "GET /contacts: unexpected EOF"},
		"a page of nothing":          {"/contacts", says("hello"), open, "no version in a page of 5 bytes"},
		"a page without assets":      {"/contacts", says(`<meta name="app-version" content="v1">`), open, "names no assets"},
		"an asset that is missing":   {"/assets/app.", status(404), open, "status 404"},
		"an asset of another kind":   {"/assets/style.", says("/* v2 */"), open, "content of another version"},
		"an image that is missing":   {"/images/", status(404), open, "GET /images/logo.svg: status 404"},
		"an account without session": {"/account", status(303), account, "GET /account: status 303"},
		"another's account":          {"/account", says(`<strong id="user">visitor-9</strong>`), account, "not the account of visitor-4"},
		"a login that fails":         {"/login", status(500), account, "POST /login: status 500"},
		"an API that sends no JSON":  {"/api/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, func(v *visitor) { v.create(t.Context()) }, "the answer is no JSON"},
		"a mixed-up copy": {"/contacts", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-App-Version", "v2")
			fmt.Fprint(w, `<meta name="app-version" content="v1">`)
		}, open, "a page of v1 came with the header of v2"},
	} {
		tl := newTally()
		v := newVisitor(application(t, replace(c.prefix, c.with)), 4, tl)
		c.visit(v)
		v.close()
		if got := tl.now(); got.failures == 0 || !strings.Contains(got.described[0], c.want) {
			t.Errorf("%s: %v: want %q", name, got.described, c.want)
		}
	}
}

func TestAGatewayThatIsGoneIsAFailure(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	tl := newTally()
	newVisitor(server.URL, 0, tl).open(t.Context(), "/")
	if c := tl.now(); c.failures != 1 || c.requests != 1 || !strings.HasPrefix(c.described[0], "GET /: dial tcp") {
		t.Errorf("%+v", c.described)
	}
}

func TestWhatIsInterruptedIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	base := application(t, replace("/contacts", func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	tl := newTally()
	newVisitor(base, 0, tl).open(ctx, "/contacts")
	if c := tl.now(); c.failures != 0 || c.requests != 0 {
		t.Errorf("%+v: want nothing counted", c)
	}
}

func TestAPageAskedForAgainIsRevalidated(t *testing.T) {
	var asked atomic.Pointer[string]
	base := application(t, func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if tag := r.Header.Get("If-None-Match"); r.URL.Path == "/" {
				asked.Store(&tag)
			}
			next.ServeHTTP(w, r)
		}
	})
	tl := newTally()
	v := newVisitor(base, 0, tl)
	v.open(t.Context(), "/")
	if *asked.Load() != "" {
		t.Error("the first request has a condition")
	}
	v.open(t.Context(), "/")
	if tag := *asked.Load(); tag == "" || tag != v.seen["/"].tag {
		t.Errorf("the second request's condition is %q: want the page's tag", tag)
	}
	// Both times the page, its two assets and the logo.
	if c := tl.now(); c.failures != 0 || c.requests != 8 || c.pages["v1"] != 2 {
		t.Errorf("%+v", c)
	}
}

// until counts with what it runs until enough was counted.
func until(t *testing.T, enough func(counts) bool, run func(leave context.Context, base string, tl *tally), base string) counts {
	t.Helper()
	leave, cancel := context.WithCancel(t.Context())
	tl := newTally()
	done := make(chan struct{})
	go func() { run(leave, base, tl); close(done) }()
	_ = await(t.Context(), asking, func(context.Context) (bool, error) { return enough(tl.now()), nil })
	cancel()
	<-done
	return tl.now()
}

func TestStreamsAndSocketsReconnect(t *testing.T) {
	var connections atomic.Int32
	var ids [2]string
	base := application(t, replace("/events", func(w http.ResponseWriter, r *http.Request) {
		n := connections.Add(1)
		if n <= 2 {
			ids[n-1] = r.Header.Get("Last-Event-ID")
		}
		fmt.Fprintf(w, "retry: 1\n\nid: %d\ndata: x\n\n", n)
	}))
	c := until(t, func(c counts) bool { return c.events >= 2 }, listen, base)
	if c.failures != 0 || ids != [2]string{"", "1"} {
		t.Errorf("failures %v, last event ids %q: want the second to go on from 1", c.described, ids)
	}

	var sockets atomic.Int32
	base = application(t, replace("/ws", func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, message, _ := socket.Read(r.Context())
		_ = socket.Write(r.Context(), kind, message)
		if sockets.Add(1)%2 == 0 {
			socket.CloseNow() // cut
			return
		}
		socket.Close(websocket.StatusGoingAway, "")
	}))
	if c := until(t, func(c counts) bool { return c.echoes >= 3 }, converse, base); c.failures != 0 {
		t.Errorf("failures %v: ended sockets are none", c.described)
	}
}

func TestStreamsAndSocketsSeeWhatIsWrong(t *testing.T) {
	failed := func(c counts) bool { return c.failures > 0 }
	for name, c := range map[string]struct {
		prefix string
		with   http.HandlerFunc
		run    func(context.Context, string, *tally)
		want   string
	}{
		"a refused stream":      {"/events", status(503), listen, "GET /events: status 503"},
		"an event that repeats": {"/events", says("id: 2\n\nid: 2\n\n"), listen, "event 2 after event 2"},
		"a refused socket":      {"/ws", status(502), converse, "got 502"},
		"another answer, no echo": {"/ws", func(w http.ResponseWriter, r *http.Request) {
			socket, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			_ = socket.Write(r.Context(), websocket.MessageText, []byte("something else"))
			_, _, _ = socket.Read(r.Context())
		}, converse, `got "something else"`},
	} {
		got := until(t, failed, c.run, application(t, replace(c.prefix, c.with)))
		if !strings.Contains(got.described[0], c.want) {
			t.Errorf("%s: %v: want %q", name, got.described, c.want)
		}
	}
}
