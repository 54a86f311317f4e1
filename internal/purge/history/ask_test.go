package history

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestWhatAVisitorReads(t *testing.T) {
	made := time.Date(2026, 11, 26, 10, 0, 0, 123, time.UTC)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", "v2")
		w.Header().Set("X-App-Made", made.Format(time.RFC3339Nano))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/mixed":
			fmt.Fprint(w, "page of v1")
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "page of v2")
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		default:
			fmt.Fprint(w, "page of v2")
		}
	}))
	defer site.Close()
	for path, want := range map[string]string{
		"/": "200 v2", "/mixed": "200 header of v2, body of another", "/broken": "502 v2", "/cut": "0 ",
	} {
		r := Ask(site.Client(), site.URL, path)
		if got := fmt.Sprint(r.Status, " ", r.Version); got != want || r.URL != path || r.End.Before(r.Start) || r.Status == 200 && !r.Made.Equal(made) || !strings.HasPrefix(r.Where, site.URL) {
			t.Errorf("%s: %+v, want %s", path, r, want)
		}
	}
}
