package cdn

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// site is a CDN in front of a gateway, over sockets.
func site(t *testing.T, o Options, gateway http.HandlerFunc) (*httptest.Server, *httptest.Server) {
	t.Helper()
	behind := httptest.NewServer(gateway)
	t.Cleanup(behind.Close)
	o.Origins = append(o.Origins, behind.URL)
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(c.Site(0))
	t.Cleanup(func() {
		front.Close()
		c.Close()
	})
	return front, behind
}

func ask(t *testing.T, method, url string, fields ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestWhatVisitorsAndGatewaySee(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	front, behind := site(t, Options{Origins: []string{"http://" + nobody.Addr().String()}}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut shows in the answer
		w.Header().Set("Cache-Tag", "a")
		w.Header().Set("Cloudflare-CDN-Cache-Control", "max-age=60")
		w.Header().Set("CDN-Cache-Control", "max-age=5")
		_, _ = io.WriteString(w, strings.Join([]string{r.Method, r.Host, string(body), r.Header.Get("Accept-Encoding"), r.Header.Get("If-None-Match"), r.Header.Get("CDN-Loop")}, " "))
	})
	host := strings.TrimPrefix(front.URL, "http://")
	res, body := ask(t, http.MethodGet, front.URL+"/page", "Accept-Encoding", "br", "If-None-Match", `"x"`)
	if want := "GET " + host + " order   cloudflare"; body != want || res.Header.Get("Cf-Cache-Status") != "MISS" {
		t.Errorf("%q %v: want %q, and a MISS", body, res.Header, want)
	}
	if res.Header.Get("Cache-Tag") != "" || res.Header.Get("Cloudflare-CDN-Cache-Control") != "" || res.Header.Get("CDN-Cache-Control") == "" {
		t.Errorf("%v: want CDN-Cache-Control of the three", res.Header)
	}
	if res, _ := ask(t, http.MethodGet, front.URL+"/page"); res.Header.Get("Cf-Cache-Status") != "HIT" || res.Header.Get("Age") == "" {
		t.Errorf("%v: want a HIT with an age", res.Header)
	}
	if res, body := ask(t, http.MethodPost, front.URL+"/page"); res.Header.Get("Cf-Cache-Status") != "DYNAMIC" || !strings.HasPrefix(body, "POST "+host+" order") {
		t.Errorf("%q, %v: want it carried", body, res.Header)
	}
	if res, _ := ask(t, http.MethodGet, front.URL+"/ws", "Upgrade", "websocket"); res.StatusCode != http.StatusNotImplemented {
		t.Errorf("upgrade: %s", res.Status)
	}
	behind.Close()
	if res, _ := ask(t, http.MethodGet, front.URL+"/other"); res.StatusCode != 521 {
		t.Errorf("nobody listens: %s, want 521", res.Status)
	}
}

func TestPagesWithoutACacheRuleAreDynamic(t *testing.T) {
	front, _ := site(t, Options{ByExtension: true}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
	})
	for path, want := range map[string]string{"/page": "DYNAMIC", "/app.js": "MISS"} {
		if res, _ := ask(t, http.MethodGet, front.URL+path); res.Header.Get("Cf-Cache-Status") != want {
			t.Errorf("%s: %v, want %s", path, res.Header, want)
		}
	}
}

func TestAnswersThatAreCutAreErrors(t *testing.T) {
	front, _ := site(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	if res, _ := ask(t, http.MethodGet, front.URL+"/"); res.StatusCode != 520 {
		t.Errorf("%s: want 520", res.Status)
	}
}

func TestEveryMistakeIsNamed(t *testing.T) {
	_, err := New(Options{Origins: []string{"gateway:80", "http://gateway/path"}, Sites: -1, Travel: -1})
	if err == nil {
		t.Fatal("taken")
	}
	for _, part := range []string{`"gateway:80"`, `"http://gateway/path"`, "sites -1", "travel -1ns"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v: does not name %s", err, part)
		}
	}
}
