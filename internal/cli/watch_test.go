package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/control"
)

func TestStatusIsWatchedUntilInterrupted(t *testing.T) {
	g := newGateway()
	g.status = busy()
	inner := newSite(t, g).handler()
	ctx, interrupt := context.WithCancel(t.Context())
	var calls atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch calls.Add(1) {
		case 2: // one that fails ends nothing
			w.WriteHeader(http.StatusBadGateway)
			return
		case 4:
			interrupt()
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	var stdout, stderr bytes.Buffer
	code := Status(ctx, StatusConfig{Connection: connection(server.URL + "/.edge"), Watch: leastWatch, Clear: true}, &stdout, &stderr)
	if code != ExitDone || stderr.Len() != 0 {
		t.Errorf("exit %d, %q: want 0 and no complaint: to be interrupted is how it ends", code, &stderr)
	}
	screens := strings.Split(stdout.String(), "\x1b[H\x1b[2J")
	if len(screens) != 4 || !strings.HasPrefix(screens[1], "edge 1.2.3") || !strings.Contains(screens[2], "edge status: ") || !strings.HasPrefix(screens[3], "edge 1.2.3") {
		t.Errorf("screens %q: want a status, what went wrong, and a status", screens)
	}
}

func TestAWatchThatIsTooQuickIsAMatterOfUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := Status(t.Context(), StatusConfig{Watch: time.Millisecond}, &stdout, &stderr); code != ExitUsage || !strings.Contains(stderr.String(), "--watch 1ms: want 100ms or more") {
		t.Errorf("exit %d, %q: want 2, and what would be right", code, &stderr)
	}
}

func TestExplainWithoutAGateway(t *testing.T) {
	c := ExplainConfig{URL: "https://a.test/x", Header: []string{"Cookie: a=1"}, Ask: func(q control.ExplainQuery) (any, error) {
		return map[string]any{"url": q.URL, "method": q.Method, "cookie": q.Header.Get("Cookie")}, nil
	}}
	var stdout, stderr bytes.Buffer
	if code := Explain(t.Context(), c, &stdout, &stderr); code != ExitDone || !strings.Contains(stdout.String(), "a=1") || !strings.Contains(stdout.String(), "GET") {
		t.Errorf("exit %d, %q, %q: want what was asked and answered", code, &stdout, &stderr)
	}
	c.Header = []string{"no field"}
	if code := Explain(t.Context(), c, &stdout, &stderr); code != ExitUsage || !strings.Contains(stderr.String(), "want a field such as") {
		t.Errorf("exit %d, %q: want 2, and what would be right", code, &stderr)
	}
	c.Header, c.Ask = nil, func(control.ExplainQuery) (any, error) { return nil, fmt.Errorf("Caddyfile:3: wrong") }
	if code := Explain(t.Context(), c, &stdout, &stderr); code != ExitUsage || !strings.Contains(stderr.String(), "Caddyfile:3: wrong") {
		t.Errorf("exit %d, %q: want 2, and what is wrong", code, &stderr)
	}
}
