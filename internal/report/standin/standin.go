// Package standin is a strict stand-in for an error tracker that speaks Sentry's
// envelope protocol. It refuses what the real one refuses, keeps what it took,
// and can be told to fail. Tests use it; nothing is shown anywhere.
//
// The protocol: https://develop.sentry.dev/sdk/data-model/envelopes/ and
// https://develop.sentry.dev/sdk/expected-features/rate-limiting/.
package standin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Fault is how the stand-in fails.
type Fault string

// Faults.
const (
	None    Fault = ""
	Limit   Fault = "429"   // with X-Sentry-Rate-Limits
	Broken  Fault = "500"   //
	Hang    Fault = "hang"  // until the client leaves
	Cut     Fault = "reset" // the connection, without an answer
	Garbage Fault = "400"   // as for an envelope that it cannot read
)

// Bounds of the real one.
const (
	maxEnvelope = 20 << 20 // compressed or not, as it comes
	maxEvent    = 1 << 20  // an event
)

// Event is an accepted event, as it came.
type Event struct {
	ID   string
	Raw  []byte
	JSON map[string]any
}

// Server is the stand-in: an http.Handler.
type Server struct {
	key     string
	project string

	mu       sync.Mutex
	fault    Fault
	times    int // for which the fault holds; negative for ever
	events   []Event
	seen     map[string]bool
	refusals []string
	calls    int
	limited  time.Duration
}

// New is a tracker that lets in one key, for one project.
func New(key, project string) *Server {
	return &Server{key: key, project: project, seen: make(map[string]bool), limited: time.Second}
}

// DSN is the address that clients use; base is that of the server.
func (s *Server) DSN(base string) string {
	scheme, host, _ := strings.Cut(base, "://")
	return scheme + "://" + s.key + "@" + host + "/" + s.project
}

// Fail makes the next calls fail, all of them if times is negative.
func (s *Server) Fail(fault Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.times = fault, times
}

// Events are those that were accepted, in order.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event(nil), s.events...)
}

// Refusals say what clients did wrong, in order.
func (s *Server) Refusals() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.refusals...)
}

// Calls counts requests.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// next is the fault that the next call meets.
func (s *Server) next() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.times == 0 {
		return None
	}
	if s.times > 0 {
		s.times--
	}
	return s.fault
}

// ServeHTTP takes an envelope.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch s.next() {
	case Limit:
		w.Header().Set("X-Sentry-Rate-Limits", fmt.Sprintf("%d:error;default:organization:quota", int(s.limited.Seconds())))
		w.Header().Set("Retry-After", fmt.Sprint(int(s.limited.Seconds())))
		answer(w, http.StatusTooManyRequests, "Sentry dropped data due to a quota or internal rate limit being reached")
		return
	case Broken:
		answer(w, http.StatusInternalServerError, "internal error")
		return
	case Hang:
		_, _ = io.Copy(io.Discard, r.Body) // the server notices that a client leaves once the body is read
		<-r.Context().Done()
		return
	case Cut:
		panic(http.ErrAbortHandler)
	case Garbage:
		answer(w, http.StatusBadRequest, "bad envelope")
		return
	}
	status, err := s.check(r)
	if err == nil {
		var id string
		if id, status, err = s.take(r); err == nil {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, "{\"id\":%q}", id) // a client that is gone will not read it
			return
		}
	}
	s.mu.Lock()
	s.refusals = append(s.refusals, err.Error())
	s.mu.Unlock()
	answer(w, status, err.Error())
}

func answer(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Sentry-Error", detail)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"detail": detail}) // likewise
}

var authPart = regexp.MustCompile(`^(sentry_version|sentry_client|sentry_key|sentry_secret|sentry_timestamp)=([^,\s]+)$`)

// check judges the request before its body.
func (s *Server) check(r *http.Request) (int, error) {
	if want := "/api/" + s.project + "/envelope/"; r.URL.Path != want {
		return http.StatusNotFound, fmt.Errorf("path %q: want %s", r.URL.Path, want)
	}
	if r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, fmt.Errorf("method %s: want POST", r.Method)
	}
	if kind := r.Header.Get("Content-Type"); kind != "application/x-sentry-envelope" {
		return http.StatusUnsupportedMediaType, fmt.Errorf("content type %q: want application/x-sentry-envelope", kind)
	}
	scheme, rest, _ := strings.Cut(r.Header.Get("X-Sentry-Auth"), " ")
	if scheme != "Sentry" {
		return http.StatusUnauthorized, errors.New("x-sentry-auth: want Sentry and its parts")
	}
	parts := make(map[string]string)
	for part := range strings.SplitSeq(rest, ",") {
		found := authPart.FindStringSubmatch(strings.TrimSpace(part))
		if found == nil {
			return http.StatusUnauthorized, errors.New("x-sentry-auth: a part that is none")
		}
		parts[found[1]] = found[2]
	}
	switch {
	case parts["sentry_version"] != "7":
		return http.StatusUnauthorized, fmt.Errorf("sentry_version %q: want 7", parts["sentry_version"])
	case parts["sentry_key"] != s.key:
		return http.StatusForbidden, errors.New("sentry_key: not that of this project")
	case parts["sentry_client"] == "":
		return http.StatusUnauthorized, errors.New("sentry_client: missing")
	}
	return http.StatusOK, nil
}

// take reads the envelope.
func (s *Server) take(r *http.Request) (id string, status int, err error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEnvelope+1))
	switch {
	case err != nil:
		return "", http.StatusBadRequest, fmt.Errorf("body: %w", err)
	case len(body) > maxEnvelope:
		return "", http.StatusRequestEntityTooLarge, fmt.Errorf("envelope of more than %d bytes", maxEnvelope)
	}
	id, events, err := read(body)
	var large *tooLarge
	if errors.As(err, &large) {
		return "", http.StatusRequestEntityTooLarge, err
	}
	if err != nil {
		return "", http.StatusBadRequest, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range events {
		if s.seen[e.ID] {
			return "", http.StatusBadRequest, fmt.Errorf("event %s: came before", e.ID)
		}
		s.seen[e.ID] = true
		s.events = append(s.events, e)
	}
	return id, http.StatusOK, nil
}

type tooLarge struct{ error }

var eventID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// read takes an envelope apart: a line with its header, and for each item a line
// with its header and so many bytes as that says.
func read(envelope []byte) (id string, events []Event, err error) {
	line, rest, ok := bytes.Cut(envelope, []byte("\n"))
	if !ok {
		return "", nil, errors.New("envelope: no line end after its header")
	}
	var header struct {
		ID     string    `json:"event_id"`
		SentAt time.Time `json:"sent_at"`
	}
	if err := json.Unmarshal(line, &header); err != nil {
		return "", nil, fmt.Errorf("envelope header: %w", err)
	}
	if !eventID.MatchString(header.ID) || header.SentAt.IsZero() {
		return "", nil, errors.New("envelope header: want an event_id of 32 hex digits, and sent_at")
	}
	for len(bytes.TrimSpace(rest)) > 0 {
		var payload []byte
		if payload, rest, err = item(rest); err != nil {
			return "", nil, err
		}
		e, err := event(payload, header.ID)
		if err != nil {
			return "", nil, err
		}
		events = append(events, e)
	}
	if len(events) != 1 {
		return "", nil, fmt.Errorf("envelope with %d events: want one", len(events))
	}
	return header.ID, events, nil
}

// item reads one item, which must be an event: nothing else is expected here.
func item(text []byte) (payload, rest []byte, err error) {
	line, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return nil, nil, errors.New("item: no line end after its header")
	}
	var header struct {
		Type   string `json:"type"`
		Length *int   `json:"length"`
	}
	if err := json.Unmarshal(line, &header); err != nil {
		return nil, nil, fmt.Errorf("item header: %w", err)
	}
	switch {
	case header.Type != "event":
		return nil, nil, fmt.Errorf("item type %q: want event", header.Type)
	case header.Length == nil || *header.Length < 0 || *header.Length > len(rest):
		return nil, nil, errors.New("item length: missing, or more than there is")
	case *header.Length > maxEvent:
		return nil, nil, &tooLarge{fmt.Errorf("event of %d bytes: want at most %d", *header.Length, maxEvent)}
	}
	payload, rest = rest[:*header.Length], rest[*header.Length:]
	if len(rest) > 0 && rest[0] != '\n' {
		return nil, nil, errors.New("item length: the payload goes on")
	}
	return payload, bytes.TrimPrefix(rest, []byte("\n")), nil
}

// event judges an event's payload by the attributes that must be there.
func event(payload []byte, id string) (Event, error) {
	e := Event{ID: id, Raw: bytes.Clone(payload)}
	if err := json.Unmarshal(payload, &e.JSON); err != nil {
		return e, fmt.Errorf("event: %w", err)
	}
	text := func(name string) string {
		value, _ := e.JSON[name].(string)
		return value
	}
	switch text("level") {
	case "fatal", "error", "warning", "info", "debug":
	default:
		return e, fmt.Errorf("event level %q: want one that there is", text("level"))
	}
	if text("event_id") != id {
		return e, fmt.Errorf("event_id %q: want the envelope's", text("event_id"))
	}
	if text("platform") != "go" {
		return e, fmt.Errorf("platform %q: want go", text("platform"))
	}
	if _, err := time.Parse(time.RFC3339Nano, text("timestamp")); err != nil {
		return e, fmt.Errorf("timestamp: %w", err)
	}
	if tags, ok := e.JSON["tags"].(map[string]any); ok {
		for name, value := range tags {
			if s, isText := value.(string); !isText || len([]rune(s)) > 200 || strings.Contains(s, "\n") || len(name) > 200 {
				return e, fmt.Errorf("tag %q: want a text of one line and at most 200 characters", name)
			}
		}
	}
	return e, nil
}
