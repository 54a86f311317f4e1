package sample

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// stream is what a client reads from /events within the given time.
func stream(a *app, within time.Duration, lastID string) string {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, "GET", "/events", nil)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w.Body.String()
}

func TestEventsTickOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := replica(t, "v1")
		got := stream(a, 2500*time.Millisecond, "")
		want := "retry: 1000\n\n"
		for _, id := range []string{"1", "2", "3"} { // at 0, 1 and 2 seconds
			want += "id: " + id + "\nevent: tick\ndata: {\"version\":\"v1\",\"instance\":\"r1\"}\n\n"
		}
		if got != want {
			t.Errorf("got %q: want %q", got, want)
		}
		if got := stream(a, time.Millisecond, "41"); !strings.Contains(got, "id: 42\n") {
			t.Errorf("after event 41: %q: want event 42", got)
		}
		if got := stream(a, time.Millisecond, "x"); !strings.Contains(got, "id: 1\n") {
			t.Errorf("after event x: %q: want event 1", got)
		}
		a.endStreams()
		if got := stream(a, time.Hour, ""); strings.Count(got, "id:") != 1 {
			t.Errorf("a leaving replica sent %q: want one event and the end", got)
		}
	})
}

func TestTheSocketEchoes(t *testing.T) {
	server := httptest.NewServer(replica(t, "v1"))
	defer server.Close()
	socket, answer, err := websocket.Dial(t.Context(), server.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("X-App-Version"); got != "v1" {
		t.Errorf("the handshake says version %q", got)
	}
	for kind, message := range map[websocket.MessageType]string{websocket.MessageText: "grüße", websocket.MessageBinary: "\x00\xff"} {
		if err := socket.Write(t.Context(), kind, []byte(message)); err != nil {
			t.Fatal(err)
		}
		gotKind, got, err := socket.Read(t.Context())
		if err != nil || gotKind != kind || string(got) != message {
			t.Errorf("sent %v %q, got %v %q, %v", kind, message, gotKind, got, err)
		}
	}
	if err := socket.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestAPlainRequestForTheSocketIsRefused(t *testing.T) {
	if r := answer(replica(t, "v1"), "GET", "/ws", ""); r.StatusCode != 426 {
		t.Errorf("%d: want 426 (RFC 9110, 15.5.22)", r.StatusCode)
	}
}
