package standin

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Fault is a way in which the API can fail.
type Fault string

// The faults. All but ResetAfter happen instead of the call.
const (
	TooManyRequests Fault = "429"           // 429 and Retry-After: 1, without a code
	LimitUnder400   Fault = "1134"          // code 1134 under status 400
	SuccessFalse    Fault = "success_false" // code 1134 under status 200
	SilentFalse     Fault = "silent_false"  // success:false under 200, with no code
	ServerError     Fault = "500"           // without a body
	BadGateway      Fault = "502"           // a page of HTML
	Garbage         Fault = "garbage"       // half a JSON object under 200
	StringErrors    Fault = "string_errors" // 400 whose errors are strings
	Redirect        Fault = "redirect"      // 307 to another host
	Hang            Fault = "hang"          // no answer until the client leaves
	ResetAfter      Fault = "reset_after"   // the call is applied, then the connection breaks
)

var allFaults = []Fault{TooManyRequests, LimitUnder400, SuccessFalse, SilentFalse, ServerError, BadGateway,
	Garbage, StringErrors, Redirect, Hang, ResetAfter}

// Fail makes the next n requests to the API fail, after those for which faults
// are planned already.
func (s *Server) Fail(n int, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, slices.Repeat([]Fault{f}, n)...)
}

// Recover forgets the faults that are planned.
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// nextFault counts the request and gives its fault, "" for none.
func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if len(s.faults) == 0 {
		return ""
	}
	f := s.faults[0]
	s.faults = s.faults[1:]
	return f
}

// failFor is POST /standin/fail?fault=429&n=3, for people.
func (s *Server) failFor(w http.ResponseWriter, r *http.Request) {
	fault := Fault(r.FormValue("fault"))
	n, err := strconv.Atoi(r.FormValue("n"))
	if r.FormValue("n") == "" {
		n, err = 1, nil
	}
	if err != nil || n < 1 || n > 1000 || !slices.Contains(allFaults, fault) {
		var names []string
		for _, f := range allFaults {
			names = append(names, string(f))
		}
		text := fmt.Sprintf("fault %q, n %q: want one of %s, and a number from 1 to 1000", fault, r.FormValue("n"), strings.Join(names, ", "))
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": text})
		return
	}
	s.Fail(n, fault)
	writeJSON(w, http.StatusOK, map[string]any{"fault": fault, "n": n})
}

// instead answers in place of the endpoint, if the fault wants that.
func (f Fault) instead(w http.ResponseWriter, r *http.Request) bool {
	switch f {
	case TooManyRequests:
		out := refuse(http.StatusTooManyRequests, 0, "")
		out.header = http.Header{"Retry-After": {"1"}}
		raw(w, out, "application/json", `{"success":false,"errors":[],"messages":[],"result":null}`)
	case LimitUnder400:
		refuse(http.StatusBadRequest, 1134, "Unable to purge, rate limit reached").write(w)
	case SuccessFalse:
		refuse(http.StatusOK, 1134, "Unable to purge, rate limit reached").write(w)
	case SilentFalse:
		raw(w, reply{status: http.StatusOK}, "application/json", `{"success":false,"errors":[],"messages":[],"result":null}`)
	case ServerError:
		raw(w, reply{status: http.StatusInternalServerError}, "application/json", "")
	case BadGateway:
		raw(w, reply{status: http.StatusBadGateway}, "text/html", "<html><body>502 Bad Gateway</body></html>")
	case Garbage:
		raw(w, reply{status: http.StatusOK}, "application/json", `{"success":true,"errors":[`)
	case StringErrors:
		raw(w, reply{status: http.StatusBadRequest}, "application/json", `{"success":false,"errors":["invalid request"],"messages":[],"result":null}`)
	case Redirect:
		out := reply{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {"http://elsewhere.invalid/"}}}
		raw(w, out, "text/html", "")
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	default:
		return false
	}
	return true
}

func raw(w http.ResponseWriter, out reply, contentType, body string) {
	for name, values := range out.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(out.status)
	_, _ = io.WriteString(w, body) // the client has left
}
