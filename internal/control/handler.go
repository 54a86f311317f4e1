package control

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config says what a Handler controls and who may call it.
type Config struct {
	// Gateway is required.
	Gateway Gateway
	// Tokens are the bearer tokens that are accepted, one, or two while one
	// replaces the other; see CheckToken. Only their sums are kept. None:
	// nobody is let in, except to healthz and readyz.
	Tokens []string
	// HintToken ends the path of hints. None: only Trusted callers hint.
	HintToken string
	// Callers are those who may do some things only.
	Callers []Caller
	// Trusted lets every caller in without a token: for the admin endpoint,
	// which checks origins and listens to this machine only.
	Trusted bool
	// Client gives the address by which failures are counted. Default: that
	// of RemoteAddr. Behind a proxy it has to come from a header that only
	// the proxy can set.
	Client func(*http.Request) string
	// Event, which may be nil, is called on the request's goroutine.
	Event func(Event)
	// Now is the clock for counting failures. Default: time.Now.
	Now func() time.Time
}

// Handler is the control API. It is immutable but for its memory of bad
// tokens, and safe for concurrent use. It is mounted with its prefix stripped:
// paths are "/status", "/purge", or the same without the slash.
type Handler struct {
	gateway Gateway
	tokens  tokenSet
	who     []principal // whose the tokens are
	hints   tokenSet
	trusted bool
	client  func(*http.Request) string
	event   func(Event)
	guard   *guard
}

// New builds a handler. It starts nothing.
func New(c Config) *Handler {
	tokens, who := principals(c.Tokens, c.Callers)
	h := &Handler{gateway: c.Gateway, tokens: newTokenSet(tokens), who: who, hints: newTokenSet([]string{c.HintToken}), trusted: c.Trusted, client: c.Client, event: c.Event}
	if h.client == nil {
		h.client = remoteHost
	}
	if h.event == nil {
		h.event = func(Event) {}
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	h.guard = newGuard(now)
	return h
}

func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// route is one thing that the API does.
type route struct {
	method  string
	pattern string   // segments; {id} stands for one of any text
	query   []string // the parameters that it takes
	open    bool     // asks for no token by itself
	serve   func(*call) error
}

// routes is everything that the API does.
var routes = []route{
	{method: http.MethodGet, pattern: "healthz", open: true, serve: (*call).healthz},
	{method: http.MethodGet, pattern: "readyz", open: true, serve: (*call).readyz},
	{method: http.MethodGet, pattern: "dashboard", open: true, serve: (*call).dashboard},
	{method: http.MethodGet, pattern: "dashboard/{id}", open: true, serve: (*call).dashboard},
	{method: http.MethodGet, pattern: "traffic", query: []string{"after"}, serve: (*call).traffic},
	{method: http.MethodGet, pattern: "status", serve: (*call).status},
	{method: http.MethodGet, pattern: "explain", query: []string{"url", "method", "header"}, serve: (*call).explain},
	{method: http.MethodGet, pattern: "purge", query: []string{"limit"}, serve: (*call).listPurges},
	{method: http.MethodPost, pattern: "purge", serve: (*call).submitPurge},
	{method: http.MethodGet, pattern: "purge/{id}", query: []string{"wait"}, serve: (*call).getPurge},
	{method: http.MethodPost, pattern: "purge/{id}/cancel", serve: (*call).cancelPurge},
	{method: http.MethodPost, pattern: "deploy", serve: (*call).submitDeploy},
	{method: http.MethodGet, pattern: "deploys", query: []string{"pool", "limit"}, serve: (*call).listDeploys},
	{method: http.MethodGet, pattern: "deploys/{id}", query: []string{"wait"}, serve: (*call).getDeploy},
	{method: http.MethodPost, pattern: "deploys/{id}/cancel", serve: (*call).cancelDeploy},
	{method: http.MethodGet, pattern: "autoscale", serve: (*call).autoscale},
	{method: http.MethodGet, pattern: "autoscale/{id}", serve: (*call).autoscale},
	{method: http.MethodPost, pattern: "hints/{id}", open: true, serve: (*call).hint},
	{method: http.MethodPost, pattern: "replicas", serve: (*call).register},
	{method: http.MethodPost, pattern: "replicas/{id}/drain", query: []string{"force"}, serve: (*call).drainReplica},
	{method: http.MethodDelete, pattern: "replicas/{id}", serve: (*call).deregister},
	{method: http.MethodPost, pattern: "pools/{id}/drain", serve: (*call).drainPool},
	{method: http.MethodPost, pattern: "pools/{id}/undrain", serve: (*call).undrainPool},
}

// call is one request and who makes it.
type call struct {
	*Handler
	w      http.ResponseWriter
	r      *http.Request
	route  route
	id     string // the path's {id}
	query  url.Values
	client string
	actor  string // empty: nobody in particular, on an open route
	principal
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	c := &call{Handler: h, w: w, r: r, client: h.client(r)}
	err := c.run()
	if err == nil {
		return
	}
	p := problemOf(err)
	// A caller that left is no fault of ours, and reads no answer.
	if p.Status >= http.StatusInternalServerError && r.Context().Err() == nil {
		c.report(Event{Kind: Fault, Detail: p.Code, Err: err})
	}
	p.write(w)
}

func (c *call) run() error {
	if c.isBelowDashboard() {
		return c.toDashboard()
	}
	matched, allowed := c.find()
	if !matched || !c.route.open {
		if err := c.authenticate(); err != nil {
			return err
		}
	}
	if !matched {
		return notRouted(c.r, allowed)
	}
	if err := c.authorize(); err != nil {
		return err
	}
	if err := c.readQuery(); err != nil {
		return err
	}
	return c.route.serve(c)
}

// find looks up the route. When there is none, allowed lists the methods that
// the path does take.
func (c *call) find() (matched bool, allowed []string) {
	path := strings.TrimPrefix(c.r.URL.EscapedPath(), "/")
	for _, candidate := range routes {
		id, ok := match(candidate.pattern, path)
		if !ok {
			continue
		}
		// RFC 9110, 9.3.2: HEAD is GET without the body, which net/http omits.
		if c.r.Method == candidate.method || (c.r.Method == http.MethodHead && candidate.method == http.MethodGet) {
			c.route, c.id = candidate, id
			return true, nil
		}
		allowed = append(allowed, candidate.method)
		if candidate.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	return false, allowed
}

// match compares an escaped path with a pattern, segment by segment, so that an
// id may hold any byte.
func match(pattern, path string) (id string, ok bool) {
	wants, has := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(wants) != len(has) {
		return "", false
	}
	for i, want := range wants {
		segment, err := url.PathUnescape(has[i])
		if err != nil || segment == "" {
			return "", false
		}
		if want == "{id}" {
			id = segment
			continue
		}
		if segment != want {
			return "", false
		}
	}
	return id, true
}

func notRouted(r *http.Request, allowed []string) error {
	if len(allowed) > 0 {
		list := strings.Join(allowed, ", ")
		p := problem(http.StatusMethodNotAllowed, CodeMethod, "method %q: want %s", r.Method, list)
		p.header = map[string]string{"Allow": list}
		return p
	}
	p := problem(http.StatusNotFound, CodeRoute, "path %q: want one of the routes", shorten(r.URL.Path))
	for _, known := range routes {
		p.Routes = append(p.Routes, known.method+" "+known.pattern)
	}
	return p
}

// authenticate lets the caller in or says why not.
func (c *call) authenticate() error {
	if c.trusted {
		c.actor = "admin"
		return nil
	}
	token, ok := bearer(c.r.Header.Get("Authorization"))
	if !ok {
		c.report(Event{Kind: Denied, Detail: "no token"})
		return unauthorized("no bearer token: want Authorization: Bearer and the control token", `Bearer realm="edge"`)
	}
	if number := c.tokens.find(token); number > 0 {
		c.principal = c.who[number-1]
		c.actor = c.principal.name
		return nil
	}
	if err := c.denied(); err != nil {
		return err
	}
	return unauthorized("bad bearer token: want the control token", `Bearer realm="edge", error="invalid_token"`)
}

// denied counts a bad token; there may have been too many.
func (c *call) denied() error {
	if !c.guard.fail(c.r.Context(), c.client) {
		c.report(Event{Kind: Refused, Detail: "too many bad tokens"})
		p := problem(http.StatusTooManyRequests, CodeTooMany, "too many bad tokens: want the control token, later")
		p.retryAfter = failureWindow
		return p
	}
	c.report(Event{Kind: Denied, Detail: "bad token"})
	return nil
}

// authorize says no to who has a token for other things.
func (c *call) authorize() error {
	if c.trusted || c.route.open || c.mayUse(c.route) {
		return nil
	}
	c.report(Event{Kind: Denied, Detail: "not within its scope"})
	return problem(http.StatusForbidden, CodeForbidden, "%s may not do this: want a token for %s", c.actor, c.route.scopes()[0])
}

// unauthorized carries a challenge as RFC 6750, 3, has it: an error code only
// when a token was given.
func unauthorized(detail, challenge string) error {
	p := problem(http.StatusUnauthorized, CodeUnauthorized, "%s", detail)
	p.header = map[string]string{"WWW-Authenticate": challenge}
	return p
}

// readQuery parses the query strictly: a misspelt parameter is a mistake.
func (c *call) readQuery() error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return invalid(http.StatusBadRequest, Mistake{"query", shorten(c.r.URL.RawQuery), "percent-encoded name=value pairs joined by &"})
	}
	want := "no parameter"
	if len(c.route.query) > 0 {
		want = "one of " + strings.Join(c.route.query, ", ")
	}
	var mistakes []Mistake
	for name, values := range query {
		switch {
		case !slices.Contains(c.route.query, name):
			mistakes = append(mistakes, Mistake{"query", shorten(name), want})
		case len(values) > 1 && name != "header":
			mistakes = append(mistakes, Mistake{name, shorten(strings.Join(values, ", ")), "it once"})
		}
	}
	if len(mistakes) > 0 {
		slices.SortFunc(mistakes, func(a, b Mistake) int { return strings.Compare(a.Field+a.Value, b.Field+b.Value) })
		return invalid(http.StatusBadRequest, mistakes...)
	}
	c.query = query
	return nil
}

// answer writes a value as JSON.
func (c *call) answer(status int, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	// The caller may have gone; there is nobody else to tell.
	_, _ = c.w.Write(append(body, '\n'))
	return nil
}

func (c *call) report(e Event) {
	e.Client, e.Actor = c.client, c.actor
	if c.route.pattern != "" {
		e.Route = c.route.method + " " + c.route.pattern
	}
	c.event(e)
}
