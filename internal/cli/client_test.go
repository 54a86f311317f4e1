package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge"
)

// answers serves one canned answer and counts how often.
func answers(status int, kind, body string, calls *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
}

func TestAnswersThatAreNotTheAPIs(t *testing.T) {
	const record = `{"id":"p1","state":"accepted"}`
	cases := map[string]struct {
		status     int
		kind, body string
		exit       int
		says       string
	}{
		"a page":                            {200, "text/html", "<html>", ExitUnreachable, "no control API is there"},
		"no type":                           {200, "", record, ExitUnreachable, "no control API is there"},
		"JSON of something else":            {200, "application/json", `{"hello":"world"}`, ExitUnreachable, "want the record of a purge"},
		"a JSON list":                       {200, "application/json", `[1]`, ExitUnreachable, "JSON of another kind"},
		"JSON cut short":                    {200, "application/json", record[:9], ExitUnreachable, "JSON of another kind"},
		"a site without a control API":      {404, "text/plain", "not found", ExitUnreachable, "no control API is there"},
		"a problem of another program":      {400, "application/problem+json", `{"status":400}`, ExitUnreachable, "no control API is there"},
		"a firewall's 403":                  {403, "text/html", "<html>", ExitNotAllowed, "lets nobody in"},
		"an unknown route":                  {404, "application/problem+json", `{"code":"no_such_route","detail":"path"}`, ExitUnreachable, "path"},
		"a fault":                           {500, "application/problem+json", `{"code":"fault","detail":"out of luck"}`, ExitUnreachable, "out of luck"},
		"too many bad tokens":               {429, "application/problem+json", `{"code":"too_many_failures","detail":"later"}`, ExitNotAllowed, "later"},
		"escape sequences for the terminal": {500, "application/problem+json", `{"code":"fault","detail":"\u001b[2Jgone\u202e"}`, ExitUnreachable, "\ufffd[2Jgone\ufffd"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			server := httptest.NewServer(answers(tc.status, tc.kind, tc.body, &calls))
			defer server.Close()
			got := runPurge(t.Context(), PurgeConfig{Connection: connection(server.URL), Tags: []string{"a"}})
			if got.code != tc.exit || !strings.Contains(got.stderr, tc.says) || calls.Load() != 1 {
				t.Errorf("exit %d after %d calls, want %d after one, saying %q: %s", got.code, calls.Load(), tc.exit, tc.says, got.stderr)
			}
		})
	}
}

// in a bubble: a connection to a handler, with time of its own.
func bubbled(t *testing.T, handler http.Handler) Connection {
	c := connection("http://127.0.0.1/.edge")
	c.Transport = bubble(t, handler)
	return c
}

func TestAGatewayThatIsAwayForAMomentIsWaitedFor(t *testing.T) {
	for name, away := range map[string]http.HandlerFunc{
		"the proxy before it says 502": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"Cloudflare says 521":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(521) },
		"it asks to come back": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
		},
		"the connection is cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"the answer is cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(200)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &site{gateway: newGateway()}
				up := s.handler()
				var calls atomic.Int32
				c := bubbled(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					// The order arrives, but its answer is lost; then two
					// questions about it.
					switch calls.Add(1) {
					case 1:
						up.ServeHTTP(httptest.NewRecorder(), r)
						away(w, r)
					case 3, 4:
						away(w, r)
					default:
						up.ServeHTTP(w, r)
					}
				}))
				got := runPurge(t.Context(), PurgeConfig{Connection: c, Tags: []string{"a"}})
				if got.code != ExitDone || len(s.orders) != 1 {
					t.Errorf("exit %d, %d orders: want 0 and one: %s", got.code, len(s.orders), got.stderr)
				}
				if !strings.Contains(got.stderr, "trying again") {
					t.Errorf("said %q: want that it tries again", got.stderr)
				}
			})
		})
	}
}

func TestAGatewayThatStaysAwayIsGivenUp(t *testing.T) {
	gone := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) })
	silent := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		// Once the body is read the server notices a caller that leaves.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	for name, tc := range map[string]struct {
		handler http.Handler
		within  time.Duration
	}{
		"it answers 502":                  {gone, submitFor},
		"it takes the call and is silent": {silent, callTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				got := runPurge(t.Context(), PurgeConfig{Connection: bubbled(t, tc.handler), Tags: []string{"a"}, IdempotencyKey: "ci-7"})
				if took := time.Since(began); got.code != ExitUnreachable || took > tc.within {
					t.Errorf("exit %d after %v: want 8 within %v", got.code, took, tc.within)
				}
				if !strings.Contains(got.stderr, "--idempotency-key ci-7") {
					t.Errorf("said %q: want how to repeat it", got.stderr)
				}
			})
		})
	}
}

func TestAGatewayThatIsLostWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{gateway: newGateway()}
		s.become = func(r *purge.Record) { r.State = purge.Running }
		up := s.handler()
		c := bubbled(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				up.ServeHTTP(w, r)
				return
			}
			w.WriteHeader(502)
		}))
		began := time.Now()
		got := runPurge(t.Context(), PurgeConfig{Connection: c, Tags: []string{"a"}, Wait: time.Minute})
		if took := time.Since(began); got.code != ExitUnreachable || took > time.Minute || took < 50*time.Second {
			t.Errorf("exit %d after %v: want 8 after a minute or a little less", got.code, took)
		}
		if !strings.Contains(got.stderr, "purge p1 was accepted, its outcome is unknown") {
			t.Errorf("said %q: want that the outcome is unknown", got.stderr)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := PurgeConfig{Connection: connection("http://" + address), Tags: []string{"a"}, Wait: time.Millisecond}
	if got := runPurge(t.Context(), c); got.code != ExitUnreachable {
		t.Errorf("purge: exit %d, want 8: %s", got.code, got.stderr)
	}
	var stdout, stderr bytes.Buffer
	if code := Status(t.Context(), StatusConfig{Connection: c.Connection}, &stdout, &stderr); code != ExitUnreachable {
		t.Errorf("status: exit %d, want 8: %s", code, &stderr)
	}
}

func TestTheTokenFollowsNoRedirectElsewhere(t *testing.T) {
	var leaked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Add(1)
		}
	}))
	defer elsewhere.Close()
	s := newSite(t, newGateway())
	var target string
	redirecting := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	}))
	defer redirecting.Close()
	for name, to := range map[string]string{
		"another port":   elsewhere.URL,
		"another host":   strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1),
		"another scheme": strings.Replace(redirecting.URL, "http:", "https:", 1),
		"in circles":     redirecting.URL,
	} {
		target = to
		got := runPurge(t.Context(), PurgeConfig{Connection: connection(redirecting.URL), Tags: []string{"a"}})
		if got.code != ExitUnreachable || !strings.Contains(got.stderr, "redirect refused") || leaked.Load() != 0 {
			t.Errorf("%s: exit %d, token leaked %d times: want 8, never: %s", name, got.code, leaked.Load(), got.stderr)
		}
	}
	if s.calls.Load() != 0 {
		t.Errorf("%d calls elsewhere: want none", s.calls.Load())
	}
}

func TestARedirectMayNotTurnAnOrderIntoAQuestion(t *testing.T) {
	var asked atomic.Int32
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, server.URL+"/moved", http.StatusMovedPermanently)
	}))
	defer server.Close()
	got := runPurge(t.Context(), PurgeConfig{Connection: connection(server.URL), Tags: []string{"a"}})
	if got.code != ExitUnreachable || asked.Load() != 1 || !strings.Contains(got.stderr, "turns POST into GET") {
		t.Errorf("exit %d after %d calls: want 8 after one: %s", got.code, asked.Load(), got.stderr)
	}
}

func TestRetryAfterIsReadAsTheStandardHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// RFC 9110, 10.2.3: seconds, or a date.
		for field, want := range map[string]time.Duration{
			"":    0,
			"7":   7 * time.Second,
			"-7":  0,
			"1.5": 0,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
		} {
			if got := retryAfter(&http.Response{Header: http.Header{"Retry-After": {field}}}); got != want {
				t.Errorf("%q: %v, want %v", field, got, want)
			}
		}
	})
}

func TestOnlyAFailureIsTriedAgain(t *testing.T) {
	other := errors.New("another error")
	calls := 0
	err := retrying(t.Context(), time.Now().Add(time.Hour), func() error { calls++; return other }, func(error, time.Duration) {})
	if !errors.Is(err, other) || calls != 1 {
		t.Errorf("%v after %d tries: want the error after one", err, calls)
	}
}
