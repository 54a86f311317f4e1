package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

// Codes of problems, for programs.
const (
	CodeUnauthorized = "unauthorized"      // 401: no token, or a bad one
	CodeForbidden    = "forbidden"         // 403: the token is for other things
	CodeTooMany      = "too_many_failures" // 429: too many bad tokens
	CodeRoute        = "no_such_route"     // 404; Routes lists what there is
	CodeMethod       = "method"            // 405; Allow lists what there is
	CodeBody         = "body"              // 400, 413, 415: not the JSON that was wanted
	CodeInvalid      = "invalid"           // 400, 422; Mistakes lists what is wrong
	CodeNoSelector   = "no_selector"       // 422: nothing was named
	CodeUnknown      = "unknown"           // 404: no such purge, replica, pool
	CodeConflict     = "conflict"          // 409: the key belongs to another order
	CodeFinished     = "finished"          // 409: too late to cancel
	CodeLastReplica  = "last_replica"      // 409: nobody would be left; force does it
	CodeJournal      = "journal"           // 503: nothing was purged
	CodeBusy         = "busy"              // 503: nothing was purged
	CodeClosed       = "closed"            // 503: shutting down, nothing was purged
	CodeHandover     = "handover"          // 409: the process that was asked is in charge as before
	CodeFault        = "fault"             // 500
)

// Problem is the body of every answer that is an error: application/problem+json,
// RFC 9457, with members of our own.
type Problem struct {
	// Type is "about:blank": Title is the status's name (RFC 9457, 4.2.1).
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Code is one of the constants of this package.
	Code     string    `json:"code"`
	Mistakes []Mistake `json:"mistakes,omitempty"`
	Routes   []string  `json:"routes,omitempty"`

	retryAfter time.Duration
	header     map[string]string
	cause      error
}

// Mistake is one wrong field.
type Mistake struct {
	Field string `json:"field"`
	Value string `json:"value"`
	// Want says what would be right.
	Want string `json:"want"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// Unwrap is the error that caused the problem, if any.
func (p *Problem) Unwrap() error { return p.cause }

func problem(status int, code, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Detail: fmt.Sprintf(format, args...),
	}
}

// invalid is a problem with fields or parameters that were read.
func invalid(status int, mistakes ...Mistake) *Problem {
	p := problem(status, CodeInvalid, "")
	texts := make([]string, 0, len(mistakes))
	for _, m := range mistakes {
		texts = append(texts, fmt.Sprintf("%s %q: want %s", m.Field, m.Value, m.Want))
	}
	p.Detail, p.Mistakes = strings.Join(texts, "; "), mistakes
	return p
}

// journalRetry is when a caller may try again after a fault that people or a
// restart have to mend.
const journalRetry = 5 * time.Second

// problemOf gives an error its answer.
func problemOf(err error) *Problem {
	var known *Problem
	if errors.As(err, &known) {
		return known
	}
	var p *Problem
	switch {
	case errors.Is(err, purge.ErrNoSelector):
		p = problem(http.StatusUnprocessableEntity, CodeNoSelector, "%v", err)
	case errors.Is(err, purge.ErrConflict), errors.Is(err, deploy.ErrConflict):
		p = problem(http.StatusConflict, CodeConflict, "%v", err)
	case errors.Is(err, purge.ErrFinished), errors.Is(err, deploy.ErrFinished):
		p = problem(http.StatusConflict, CodeFinished, "%v", err)
	case errors.Is(err, purge.ErrUnknown), errors.Is(err, deploy.ErrUnknown), errors.Is(err, ErrUnknownPool), errors.Is(err, ErrUnknownReplica):
		p = problem(http.StatusNotFound, CodeUnknown, "%v", err)
	case errors.Is(err, ErrLastReplica):
		p = problem(http.StatusConflict, CodeLastReplica, "%v (force does it all the same)", err)
	case errors.Is(err, purge.ErrJournal), errors.Is(err, deploy.ErrJournal):
		p = unavailable(CodeJournal, err)
	case errors.Is(err, purge.ErrBusy), errors.Is(err, deploy.ErrBusy):
		p = unavailable(CodeBusy, err)
	case errors.Is(err, purge.ErrClosed):
		p = unavailable(CodeClosed, err)
	default:
		if p = mistaken(err); p == nil {
			p = problem(http.StatusInternalServerError, CodeFault, "%v", err)
		}
	}
	p.cause = err
	return p
}

func unavailable(code string, err error) *Problem {
	p := problem(http.StatusServiceUnavailable, code, "%v", err)
	p.retryAfter = journalRetry
	return p
}

// mistaken is the problem of an order's mistakes, nil when the error holds none.
func mistaken(err error) *Problem {
	found := collect(err, nil)
	if len(found) == 0 {
		return nil
	}
	mistakes := make([]Mistake, 0, len(found))
	for _, m := range found {
		mistakes = append(mistakes, Mistake{Field: m.Field, Value: shorten(m.Value), Want: m.Want})
	}
	p := invalid(http.StatusUnprocessableEntity, mistakes...)
	p.Detail = strings.ReplaceAll(err.Error(), "\n", "; ")
	return p
}

// collect walks joined and wrapped errors; errors.As would find the first only.
func collect(err error, found []*purge.Mistake) []*purge.Mistake {
	switch e := err.(type) {
	case *purge.Mistake:
		return append(found, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			found = collect(inner, found)
		}
	case interface{ Unwrap() error }:
		return collect(e.Unwrap(), found)
	}
	return found
}

// shorten bounds what is given back of a caller's own words.
func shorten(text string) string {
	const limit = 200
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

func (p *Problem) write(w http.ResponseWriter) {
	for name, value := range p.header {
		w.Header().Set(name, value)
	}
	if p.retryAfter > 0 {
		// RFC 9110, 10.2.3: whole seconds.
		w.Header().Set("Retry-After", strconv.Itoa(int((p.retryAfter+time.Second-1)/time.Second)))
	}
	body, err := json.Marshal(p)
	if err != nil {
		// Strings and numbers only: it cannot happen.
		panic(err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	// The caller may have gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}
