package standin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	key = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
	id  = "00112233445566778899aabbccddeeff"
)

func TestWhatIsNotAsTheProtocolHasItIsRefused(t *testing.T) {
	const (
		header  = `{"event_id":"` + id + `","sent_at":"2026-11-26T22:00:00Z"}` + "\n"
		payload = `{"event_id":"` + id + `","level":"error","platform":"go","timestamp":"2026-11-26T22:00:00Z"}`
		auth    = "Sentry sentry_version=7, sentry_client=x/1, sentry_key=" + key
	)
	item := func(kind, length string) string { return `{"type":"` + kind + `","length":` + length + "}\n" }
	good := header + item("event", "114") + payload + "\n"
	if len(payload) != 114 {
		t.Fatalf("the payload has %d bytes", len(payload))
	}
	cases := map[string]struct {
		change     func(*http.Request)
		body, want string
		status     int
	}{
		"as it should be":         {nil, good, `{"id":"` + id + `"}`, 200},
		"no auth":                 {func(r *http.Request) { r.Header.Del("X-Sentry-Auth") }, good, "x-sentry-auth", 401},
		"a wrong key":             {func(r *http.Request) { r.Header.Set("X-Sentry-Auth", auth+"0") }, good, "not that of this project", 403},
		"an old version":          {func(r *http.Request) { r.Header.Set("X-Sentry-Auth", strings.Replace(auth, "=7", "=6", 1)) }, good, "want 7", 401},
		"another path":            {func(r *http.Request) { r.URL.Path = "/api/42/store/" }, good, "want /api/42/envelope/", 404},
		"another type":            {func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, good, "want application/x-sentry-envelope", 415},
		"a length that is short":  {nil, header + item("event", "100") + payload + "\n", "the payload goes on", 400},
		"a length that is long":   {nil, header + item("event", "500") + payload + "\n", "more than there is", 400},
		"no length":               {nil, header + `{"type":"event"}` + "\n" + payload + "\n", "item length", 400},
		"another item":            {nil, header + item("transaction", "114") + payload + "\n", "want event", 400},
		"two events":              {nil, good + item("event", "114") + payload + "\n", "want one", 400},
		"no event":                {nil, header, "want one", 400},
		"another event's id":      {nil, strings.Replace(good, `{"event_id":"00`, `{"event_id":"ff`, 1), "want the envelope's", 400},
		"a large event":           {nil, header + item("event", "2000000") + strings.Repeat("x", 2000000), "want at most", 413},
		"an envelope without end": {nil, strings.TrimSpace(header), "no line end", 400},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/api/42/envelope/", strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/x-sentry-envelope")
			r.Header.Set("X-Sentry-Auth", auth)
			if c.change != nil {
				c.change(r)
			}
			s, w := New(key, "42"), httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("got %d %s: want %d %s", w.Code, w.Body, c.status, c.want)
			}
			if taken := len(s.Events()); (taken == 1) != (c.status == 200) {
				t.Errorf("%d events were taken", taken)
			}
		})
	}
}

func TestAnEventComesOnce(t *testing.T) {
	s := New(key, "42")
	s.seen[id] = true
	r := httptest.NewRequest(http.MethodPost, "/api/42/envelope/", strings.NewReader(
		`{"event_id":"`+id+`","sent_at":"2026-11-26T22:00:00Z"}`+"\n"+`{"type":"event","length":114}`+"\n"+
			`{"event_id":"`+id+`","level":"error","platform":"go","timestamp":"2026-11-26T22:00:00Z"}`))
	if _, status, err := s.take(r); err == nil || status != http.StatusBadRequest {
		t.Errorf("got %d, %v: want 400", status, err)
	}
}
