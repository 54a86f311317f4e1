// Package standin is a strict stand-in for the purge part of Cloudflare's API.
// It refuses what the real one refuses, counts rate limits as the real one
// does, and can be told to fail. Tests, the demo and people's own dry runs
// share it; nothing is purged anywhere.
package standin

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Zone is a zone that the stand-in knows.
type Zone struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Options say what the stand-in stands for. Times and limits come from Now,
// which defaults to time.Now.
type Options struct {
	// Token is the only API token that is let in. Must not be empty.
	Token string
	Zones []Zone
	// Plan is free, pro, business or enterprise. Default free.
	Plan string
	Now  func() time.Time
	// PurgeOnly: the token may purge, and may not read zones.
	PurgeOnly bool
	// ZoneOnly: it may read zones, and neither their settings nor their rules.
	ZoneOnly bool
	// Setup is how the zones are set up. nil: as gateways like it.
	Setup *Setup
	// NoInvalidate answers as an API that has no invalidate_cache yet.
	NoInvalidate bool
	// Accepted is called with each accepted call, before it is answered, so
	// that a demonstration can empty a cache of its own. It may be nil.
	Accepted func(Call)
}

// Call is one accepted purge or invalidation.
type Call struct {
	At          time.Time `json:"at"`
	Zone        string    `json:"zone"`
	Environment string    `json:"environment,omitempty"`
	// Operation is purge_cache or invalidate_cache.
	Operation string `json:"operation"`
	// Kind is files, tags, hosts, prefixes or purge_everything.
	Kind  string   `json:"kind"`
	Items []string `json:"items,omitempty"`
}

const (
	keepCalls = 10_000
	maxBody   = 8 << 20
	base      = "/client/v4"
)

// Server is the stand-in: an http.Handler whose API lies under /client/v4, as
// at Cloudflare, and which shows people what it got at /standin/calls.
type Server struct {
	options Options
	mux     *http.ServeMux

	mu       sync.Mutex
	calls    []Call
	requests int
	faults   []Fault
	limits   *limiter
	id       int
}

// New makes a stand-in. An unknown plan is an error, and so is a missing token.
func New(o Options) (*Server, error) {
	if o.Token == "" {
		return nil, fmt.Errorf("stand-in token %q: want a token", o.Token)
	}
	if o.Plan == "" {
		o.Plan = "free"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	limits, err := newLimiter(o.Plan)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, limits: limits, mux: http.NewServeMux()}
	for _, operation := range []string{"purge_cache", "invalidate_cache"} {
		if operation == "invalidate_cache" && o.NoInvalidate {
			continue
		}
		s.mux.Handle("POST "+base+"/zones/{zone}/"+operation, s.api(s.purge(operation)))
		s.mux.Handle("POST "+base+"/zones/{zone}/environments/{environment}/"+operation, s.api(s.purge(operation)))
	}
	s.mux.Handle("GET "+base+"/zones", s.api(s.zones))
	s.mux.Handle("GET "+base+"/zones/{zone}", s.api(s.zone))
	s.mux.Handle("GET "+base+"/zones/{zone}/settings/{setting}", s.api(s.setting))
	s.mux.Handle("GET "+base+"/zones/{zone}/rulesets/phases/{phase}/entrypoint", s.api(s.ruleset))
	s.mux.Handle("GET "+base+"/user/tokens/verify", s.api(s.verify))
	s.mux.Handle(base+"/", s.api(func(*http.Request, []byte) reply { return noRoute() }))
	s.mux.HandleFunc("GET /standin/calls", s.show)
	s.mux.HandleFunc("POST /standin/fail", s.failFor)
	return s, nil
}

// ServeHTTP answers as Cloudflare would, or as it was told to fail.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Calls lists the accepted calls, oldest first: the last 10,000.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call{}, s.calls...)
}

// Requests counts what reached the API, the refused requests too.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// reply is an answer of the API before it is written.
type reply struct {
	status int
	header http.Header
	result any
	info   any
	code   int
	text   string
}

func refuse(status, code int, format string, args ...any) reply {
	return reply{status: status, code: code, text: fmt.Sprintf(format, args...)}
}

func noRoute() reply { return refuse(http.StatusNotFound, 7003, "No route for the URI") }

// api reads a request, lets a planned fault take its course, checks the token
// and writes what the endpoint answers.
func (s *Server) api(endpoint func(*http.Request, []byte) reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// To its end: only then does the server notice a client that leaves.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			refuse(http.StatusRequestEntityTooLarge, codeInvalid, "request body is cut off or too large").write(w)
			return
		}
		fault := s.nextFault()
		if fault.instead(w, r) {
			return
		}
		out := s.admit(r)
		if out.status == 0 {
			out = endpoint(r, body)
		}
		if fault == ResetAfter {
			panic(http.ErrAbortHandler)
		}
		out.write(w)
	})
}

// admit gives a reply with a status for a request that is not let in.
func (s *Server) admit(r *http.Request) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.limits.call(s.options.Now()); wait > 0 {
		out := refuse(http.StatusTooManyRequests, 971, "Please wait and consider throttling your request speed")
		out.header = retryAfter(wait)
		return out
	}
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		return refuse(http.StatusUnauthorized, 10000, "Authentication error")
	}
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.options.Token)) != 1 {
		return refuse(http.StatusForbidden, 10000, "Authentication error")
	}
	return reply{}
}

func (s *Server) purge(operation string) func(*http.Request, []byte) reply {
	return func(r *http.Request, body []byte) reply {
		call := Call{Zone: r.PathValue("zone"), Environment: r.PathValue("environment"), Operation: operation}
		if !s.knows(call.Zone) {
			return noRoute()
		}
		kind, items, bad := readSelectors(r, body, s.limits.grant.fileItems)
		if bad.status != 0 {
			return bad
		}
		call.Kind, call.Items = kind, items
		out := s.accept(&call)
		if out.code == 0 && s.options.Accepted != nil {
			s.options.Accepted(call)
		}
		return out
	}
}

func (s *Server) knows(id string) bool {
	for _, z := range s.options.Zones {
		if z.ID == id {
			return true
		}
	}
	return false
}

// accept takes the call's tokens and writes it down.
func (s *Server) accept(call *Call) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	call.At = s.options.Now()
	wait, header := s.limits.purge(call.At, call.Kind, len(call.Items))
	if wait > 0 {
		out := refuse(http.StatusTooManyRequests, 1134, "Unable to purge, rate limit reached. Please wait and consider throttling your request speed")
		out.header = header
		return out
	}
	s.calls = append(s.calls, *call)
	if len(s.calls) > keepCalls {
		s.calls = append([]Call{}, s.calls[1:]...)
	}
	s.id++
	return reply{status: http.StatusOK, header: header, result: map[string]string{"id": fmt.Sprintf("%032x", s.id)}}
}

func (s *Server) verify(*http.Request, []byte) reply {
	return reply{status: http.StatusOK, result: map[string]string{"id": fmt.Sprintf("%032x", 1), "status": "active"}}
}

// show is for people.
func (s *Server) show(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"requests": s.Requests(), "calls": s.Calls()})
}

type message struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (out reply) write(w http.ResponseWriter) {
	for name, values := range out.header {
		w.Header()[name] = values
	}
	errs := []message{}
	if out.code != 0 {
		errs = append(errs, message{out.code, out.text})
	}
	body := map[string]any{"success": out.code == 0, "errors": errs, "messages": []message{}, "result": out.result}
	if out.info != nil {
		body["result_info"] = out.info
	}
	writeJSON(w, out.status, body)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has left
}
