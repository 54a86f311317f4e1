package httpcache

import (
	"net/http"
	"testing"
)

func TestHidesFields(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "close": false, "keep-alive": false, "Keep-Alive, Upgrade": false, "Upgrade, HTTP2-Settings": false, "TE": false, " , close": false,
		"X-Lang": true, "close, Accept-Language": true, "keep-alive,cookie": true, "Accept-Encoding ,close": true, "close;x": true,
	} {
		if got := hidesFields([]string{"close", line}); got != want {
			t.Errorf("Connection: %s: got %t", line, got)
		}
	}
	if hidesFields(nil) {
		t.Error("no Connection hides nothing")
	}
}

// RFC 9110, 7.6.1: what Connection names does not reach the origin, so what it
// answers must not be stored for those who send such a field.
func TestAFieldThatTheOriginDoesNotGetPoisonsNothing(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		language := r.Header.Get("Accept-Language")
		if r.Header.Get("Connection") != "" { // as the proxy behind the cache does
			language = ""
		}
		return respond(200, "in "+language, "Cache-Control: max-age=60", "Vary: Accept-Language")(rw, r)
	}
	evil := w.get(site, "Accept-Language: de", "Connection: Accept-Language")
	evil.wants(t, StatusBypass, 200, "in ")
	if evil.Reason != ReasonConnection || evil.Header().Get(cloudflareField) != "no-store" {
		t.Errorf("%s, the CDN is told %q: want %s, no-store", evil.Reason, evil.Header().Get(cloudflareField), ReasonConnection)
	}
	w.get(site, "Accept-Language: de").wants(t, StatusMiss, 200, "in de")
}
