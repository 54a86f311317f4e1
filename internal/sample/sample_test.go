package sample

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// replica is a handler of the given version that signs sessions with one key.
func replica(t *testing.T, version string) *app {
	t.Helper()
	a, err := newApp(Config{Version: version, Instance: "r1", SessionKey: "a key for tests"}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// answer is what the handler says to a request with the given header pairs.
func answer(h http.Handler, method, path, body string, header ...string) *http.Response {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEveryAnswerSaysItsVersion(t *testing.T) {
	a := replica(t, "v7")
	for name, c := range map[string]struct {
		method, path string
		status       int
	}{
		"a page":                      {"GET", "/", 200},
		"a page's head":               {"HEAD", "/contacts", 200},
		"a contact":                   {"GET", "/contacts/1", 200},
		"a contact that is not there": {"GET", "/contacts/999", 404},
		"a contact that is no number": {"GET", "/contacts/ada", 404},
		"an unknown path":             {"GET", "/nothing", 404},
		"an unknown method":           {"DELETE", "/contacts", 405},
		"the logo":                    {"GET", "/images/logo.svg", 200},
		"the API":                     {"GET", "/api/contacts", 200},
		"health":                      {"GET", "/healthz", 200},
		"a redirect":                  {"GET", "/account", 303},
	} {
		r := answer(a, c.method, c.path, "")
		if r.StatusCode != c.status {
			t.Errorf("%s: status %d: want %d", name, r.StatusCode, c.status)
		}
		if v, i := r.Header.Get("X-App-Version"), r.Header.Get("X-App-Instance"); v != "v7" || i != "r1" {
			t.Errorf("%s: version %q, instance %q: want v7, r1", name, v, i)
		}
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	_, err := Handler(Config{Version: "v 1", Instance: "-x", Listen: "8080", Grace: -1, Linger: -1, StartDelay: -1})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{`version "v 1"`, `instance "-x"`, `listen "8080"`, "grace -1ns", "linger -1ns", "start delay -1ns"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
	if _, err := Handler(Config{}); err != nil {
		t.Errorf("the zero value: %v", err)
	}
}

func TestHealthFollowsTheLifeOfAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := newApp(Config{StartDelay: 5 * time.Second}.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		health := func() int { return answer(a, "GET", "/healthz", "").StatusCode }
		time.Sleep(4999 * time.Millisecond)
		if got := health(); got != 503 {
			t.Errorf("before the start delay is over: %d: want 503", got)
		}
		time.Sleep(time.Millisecond)
		if got := health(); got != 200 {
			t.Errorf("after the start delay: %d: want 200", got)
		}
		a.leaving.Store(true)
		if got := health(); got != 503 {
			t.Errorf("leaving: %d: want 503", got)
		}
	})
}

// start runs a replica and gives its address, what stops it and its result.
func start(t *testing.T, c Config) (base string, stop context.CancelFunc, result <-chan error) {
	t.Helper()
	out, in := io.Pipe()
	c.Out = in
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(line), cancel, done
}

// post begins a request and returns when the replica reads its body, which
// goes on through send; the answer comes over the channel, nil for none.
func post(t *testing.T, base, begin string) (send io.WriteCloser, posted <-chan *http.Response) {
	t.Helper()
	body, send := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", base+"/api/contacts", body)
	if err != nil {
		t.Fatal(err)
	}
	// RFC 9110, 10.1.1: the body stays here until the handler asks for it.
	r.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
	answers := make(chan *http.Response, 1)
	go func() {
		answer, err := client.Do(r)
		if err == nil {
			answer.Body.Close()
		}
		answers <- answer
	}()
	if _, err := io.WriteString(send, begin); err != nil {
		t.Fatal(err)
	}
	return send, answers
}

func TestRunFinishesWhatIsInFlight(t *testing.T) {
	base, stop, result := start(t, Config{})

	stream, err := http.Get(base + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	socket, _, err := websocket.Dial(t.Context(), base+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	send, posted := post(t, base, `{"name":"Ada","em`)

	stop()
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the socket ended with %v: want status 1001", err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
	if _, err := io.WriteString(send, `ail":"ada@example.com"}`); err != nil {
		t.Error(err)
	}
	send.Close()
	if r := <-posted; r == nil || r.StatusCode != http.StatusCreated {
		t.Errorf("the open request got %v: want 201", r)
	}
	if err := <-result; err != nil {
		t.Errorf("Run: %v: want nil", err)
	}
}

func TestRunSaysWhatDidNotFinish(t *testing.T) {
	base, stop, result := start(t, Config{Grace: 50 * time.Millisecond})
	send, _ := post(t, base, `{"na`)
	defer send.Close()
	stop()
	if err := <-result; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v: want the deadline", err)
	}
}

func TestRunLingersUnhealthy(t *testing.T) {
	base, stop, result := start(t, Config{Linger: 300 * time.Millisecond})
	stop()
	unhealthy := false
	for range 10000 {
		r, err := http.Get(base + "/healthz")
		if err != nil {
			break // the listener is closed
		}
		unhealthy = unhealthy || r.StatusCode == http.StatusServiceUnavailable
		r.Body.Close()
	}
	if !unhealthy {
		t.Error("health never turned bad before the listener closed")
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestRunRefusesWhatCannotBe(t *testing.T) {
	base, _, _ := start(t, Config{})
	taken := strings.TrimPrefix(base, "http://")
	if err := Run(t.Context(), Config{Listen: taken}); err == nil {
		t.Error("a taken address was accepted")
	}
	if err := Run(t.Context(), Config{Out: brokenWriter{}}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("nobody reads the address: %v: want %v", err, io.ErrClosedPipe)
	}
	var out bytes.Buffer
	if err := Run(t.Context(), Config{Version: "\n", Out: &out}); err == nil || out.Len() > 0 {
		t.Errorf("a bad version: %v, said %q", err, &out)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
