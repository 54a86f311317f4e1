package caddymodule

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/report"
	"github.com/edgegw/edge/internal/report/standin"
)

// exploding is a handler of somebody else's that panics for some paths.
type exploding struct{}

func (exploding) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_test_exploding", New: func() caddy.Module { return new(exploding) }}
}

func (exploding) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if strings.HasPrefix(r.URL.Path, "/explode") {
		panic("exploded for password=" + planted)
	}
	return next.ServeHTTP(w, r)
}

func init() {
	caddy.RegisterModule(exploding{})
	httpcaddyfile.RegisterHandlerDirective("edge_test_exploding", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return exploding{}, nil
	})
}

// planted stands wherever a visitor's secret or person may stand.
const planted = "Sup3rS3cr3t"

var plantedFields = []string{
	"Cookie", "theme=" + planted, "Authorization", "Bearer " + planted, "User-Agent", "Browser of " + planted,
	"X-Forwarded-For", "203.0.113.77", "Referer", "https://example.com/?q=" + planted,
}

// startTracker is an error tracker, and the block that names it.
func startTracker(t *testing.T) (*standin.Server, string) {
	t.Helper()
	tracker := standin.New("a1b2c3d4e5f60718293a4b5c6d7e8f90", "42")
	server := httptest.NewServer(tracker)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return tracker, fmt.Sprintf("\nsentry {\n\tdsn %s\n\tenvironment test\n\trelease app@7\n}\n", tracker.DSN(server.URL))
}

// brokenOrigin answers 500 below /broken.
func brokenOrigin(t *testing.T) string {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "page")
	})
	return address
}

// arrived waits for an event of a kind, and gives its tags and its text.
func arrived(t *testing.T, tracker *standin.Server, kind report.Kind) (tags map[string]any, raw string) {
	t.Helper()
	eventually(t, "the tracker has a report of kind "+string(kind), func() bool {
		for _, e := range tracker.Events() {
			if of, ok := e.JSON["tags"].(map[string]any); ok && of["kind"] == string(kind) {
				tags, raw = of, string(e.Raw)
			}
		}
		return tags != nil
	})
	return tags, raw
}

func reported(s samples) (captured, dropped float64) {
	for name := range maps.Keys(s) {
		if strings.HasPrefix(name, "edge_errors_captured_total") {
			captured += s[name]
		}
		if strings.HasPrefix(name, "edge_errors_dropped_total") {
			dropped += s[name]
		}
	}
	return captured, dropped
}

func TestEveryKindOfTroubleReachesTheErrorTracker(t *testing.T) {
	tracker, sentry := startTracker(t)
	e := newEdge(t)
	e.purges = "deadline 2s\ndrain_cap 200ms\nsettle 10ms\nsettle_everything 10ms"
	cloudflare := fmt.Sprintf("\ncloudflare {\n\tzone_id 023e105f4ecef8ad9ca31a8372d0c353\n\tapi_token any-token-of-this-test\n\tapi_url http://%s/client/v4\n}\n", freeAddress(t))
	block := staticPool(brokenOrigin(t)) + cloudflare + sentry
	site := "route {\n" + strings.Replace(pagesSite, "edge_proxy", "edge_test_exploding\nedge_proxy", 1) + "}\n"
	if err := e.load(block, site); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	capturedBefore, droppedBefore := reported(scrape(t, e.metricsURL()))

	broken := e.get("/broken/by?name="+planted, plantedFields...)
	tags, raw := arrived(t, tracker, report.Answer)
	for name, want := range map[string]string{
		"request_id": broken.Header.Get("X-Request-Id"), "status": "500", "pool": "app", "version": "v1", "rule": "page /*",
		"cache": "miss", "attempts": "1", "replica": e.poolStatus().Replicas[0].ID,
	} {
		if tags[name] != want {
			t.Errorf("the report of a 500 has %s %q: want %q", name, tags[name], want)
		}
	}
	for _, want := range []string{`"release":"app@7"`, `"environment":"test"`, `/broken/by"`} {
		if !strings.Contains(raw, want) {
			t.Errorf("%s is not in %s", want, raw)
		}
	}

	for _, method := range []string{http.MethodGet, http.MethodPost} { // through a fill, and past the cache
		// The connection is cut, or the answer is a 5xx.
		if got, err := e.try(method, "/explode", nil, plantedFields...); err == nil && got.StatusCode < 500 {
			t.Errorf("%s of what panics: %d", method, got.StatusCode)
		}
	}
	if _, raw := arrived(t, tracker, report.Panic); !strings.Contains(raw, "exploding") || !strings.Contains(raw, `"fatal"`) {
		t.Errorf("a panic's report does not tell where: %s", raw)
	}

	if state := e.purge(map[string]any{"tags": []string{"pages"}}); state != "partial" && state != "failed" { // failed: the deadline came first
		t.Errorf("a purge that Cloudflare never heard of: %s", state)
	}
	arrived(t, tracker, report.Purge)

	if err := e.load(block+"\npool other {\n\tdiscover file /nowhere/at/all\n\tpolicy hash {env.EDGE_TEST_NOT_SET}\n}", site); err == nil {
		t.Fatal("a configuration that cannot work was loaded")
	}
	if _, raw := arrived(t, tracker, report.Configuration); !strings.Contains(raw, "EDGE_TEST_NOT_SET") {
		t.Errorf("the report of a refused configuration does not say why: %s", raw)
	}
	if e.get("/still").StatusCode != http.StatusOK {
		t.Error("the configuration before is not in force")
	}

	for _, event := range tracker.Events() {
		for _, secret := range []string{planted, "203.0.113.77", "any-token-of-this-test", testToken} {
			if bytes.Contains(event.Raw, []byte(secret)) {
				t.Errorf("%q left the house: %s", secret, event.Raw)
			}
		}
	}
	if refusals := tracker.Refusals(); len(refusals) > 0 {
		t.Errorf("the tracker refused %q", refusals)
	}
	eventually(t, "both sides count the same", func() bool {
		captured, _ := reported(scrape(t, e.metricsURL()))
		return int(captured-capturedBefore) == len(tracker.Events())
	})
	if _, dropped := reported(scrape(t, e.metricsURL())); dropped != droppedBefore {
		t.Errorf("%v reports were dropped", dropped-droppedBefore)
	}
}

func TestAFloodOfErrorsIsThinnedOutAndAHangingTrackerHoldsUpNobody(t *testing.T) {
	tracker, sentry := startTracker(t)
	tracker.Fail(standin.Hang, -1)
	e := startEdge(t, staticPool(brokenOrigin(t))+sentry, pagesSite)
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	_, droppedBefore := reported(scrape(t, e.metricsURL()))
	const requests = 40
	for range requests {
		if got := e.get("/broken/again").StatusCode; got != http.StatusInternalServerError {
			t.Fatalf("got %d: want the origin's 500", got)
		}
	}
	eventually(t, "the flood is counted", func() bool {
		_, dropped := reported(scrape(t, e.metricsURL()))
		return dropped-droppedBefore >= requests-6 // five at once, and one a minute
	})
	if e.get("/fine").StatusCode != http.StatusOK {
		t.Error("a page is not served")
	}
}
