package history

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// Ask is how a visitor of the sample application reads: its answers say of which
// version they are, and when they were made. Where is the place, what its CDN
// and its gateway say of their caches, and what went wrong. A page whose body is
// of another version than its header is of neither.
func Ask(client *http.Client, place, path string) Read {
	r := Read{Start: time.Now(), URL: path}
	got, err := client.Get(place + path)
	if err != nil {
		r.End, r.Where = time.Now(), place+", "+err.Error()
		return r
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	r.End = time.Now()
	if err != nil {
		r.Where = place + ", " + err.Error()
		return r
	}
	h := got.Header
	r.Status, r.Version = got.StatusCode, h.Get("X-App-Version")
	r.Where = strings.Join([]string{place, h.Get("Cf-Cache-Status"), h.Get("X-Standin-From"), h.Get("Cache-Status")}, ", ")
	if got.StatusCode == http.StatusOK && strings.HasPrefix(h.Get("Content-Type"), "text/html") && !strings.Contains(string(body), r.Version) {
		r.Version = "header of " + r.Version + ", body of another"
	}
	if made, err := time.Parse(time.RFC3339Nano, h.Get("X-App-Made")); err == nil {
		r.Made = made // an error page has none
	}
	return r
}
