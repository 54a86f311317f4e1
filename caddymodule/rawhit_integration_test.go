package caddymodule

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

const taggedSite = `
edge_rules {
	page /* {
		edge 60s
		stale 10m
		tag pages
	}
}
edge_cache
edge_proxy app
`

func TestHitsAreRepeatedOnTheConnection(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path, " ", r.Host) })
	// A name of its own, since what another test has left may be counted late.
	e := startRawEdge(t, address, strings.Replace(taggedSite, "edge 60s", "name counted\n\t\tedge 60s", 1))
	c := e.rawClient()
	long := c.ask(streams.Get("/a"))
	again := c.learned(streams.Get("/a", "User-Agent: x"))
	if again.Text != long.Text || !again.hit() || fetches.Load() != 2 {
		t.Fatalf("%q %q, %d fetches", again.Text, again.cacheStatus(), fetches.Load())
	}
	if got := c.ask(strings.Replace(streams.Get("/a"), "example.com", "other.example", 1)); got.Text != "/a other.example" {
		t.Errorf("another host got %q", got.Text)
	}
	counted := func() float64 {
		return scrape(t, e.metricsURL())[`edge_cache_requests_total{rule="counted",status="hit"}`]
	}
	const asks = 50
	before, count := replies(), counted()
	for range asks {
		c.ask(streams.Get("/a"))
	}
	if after := counted(); replies() == before || after != count+asks {
		t.Errorf("%d replies after %d, metric %v after %v", replies(), before, after, count)
	}
}

func TestWhatEndsAHitEndsItOnTheConnection(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite)
	c := e.rawClient()
	host := strings.TrimPrefix(e.URL, "http://")
	get := strings.Replace(streams.Get("/a"), "example.com", host, 1)
	for name, end := range map[string]func(){
		"purge by URL":        func() { e.purge(map[string]any{"urls": []string{e.URL + "/a"}}) },
		"purge by tag":        func() { e.purge(map[string]any{"tags": []string{"pages"}}) },
		"purge by prefix":     func() { e.purge(map[string]any{"prefixes": []string{strings.Split(host, ":")[0] + "/"}}) },
		"purge of everything": func() { e.purge(map[string]any{"everything": true}) },
		"soft purge":          func() { e.purge(map[string]any{"tags": []string{"pages"}, "soft": true}) },
		"an unsafe request":   func() { e.do(http.MethodPost, "/a", strings.NewReader("x")) },
		"a reload":            func() { e.reload() },
	} {
		if name == "a reload" {
			c = e.rawClient()
		}
		c.learned(get)
		before, fetched := replies(), fetches.Load()
		end()
		if name == "a reload" { // nothing was learned yet by the new configuration
			c = e.rawClient()
			before = replies()
			fetched--
		}
		if got := c.ask(get); replies() != before || fetches.Load() == fetched {
			t.Errorf("%s: %q, still answered on the connection, or from the store", name, got.cacheStatus())
		}
	}
}

func (e *rawEdge) reload() {
	e.t.Helper()
	if err := e.loadText(strings.Replace(e.text, "interval 200ms", "interval 201ms", 1)); err != nil {
		e.t.Fatal(err)
	}
	e.text = strings.Replace(e.text, "interval 200ms", "interval 201ms", 1)
}

var volatile = regexp.MustCompile(`(X-Request-Id: |Age: |; ttl=|\r\nDate: )[^\r]*`)

// Whatever a client writes, the same comes back with edge_hits and without.
func TestStreamsAreAnsweredAsWithoutEdgeHits(t *testing.T) {
	address, _ := counting(t, streamed)
	e := startRawEdge(t, address, taggedSite)
	for _, path := range []string{"/hit/a", "/hit/5000", "/hit/40000"} { // the same state for both
		e.rawClient().ask(streams.Get(path))
	}
	t.Run("plain", func(t *testing.T) { playBoth(t, strings.TrimPrefix(e.URL, "http://"), e.other, nil, 300) })
	t.Run("TLS", func(t *testing.T) {
		c := rawSecurely(t, e.secureOther)
		for _, path := range []string{"/hit/a", "/hit/5000", "/hit/40000"} { // another scheme, other answers
			c.ask(streams.Get(path))
		}
		playBoth(t, e.secure, e.secureOther, anyCertificate, 300)
	})
}

// playBoth plays streams at two addresses, the first of which is with
// edge_hits, and compares the answers.
func playBoth(t *testing.T, raw, plain string, secure *tls.Config, seeds uint64) {
	t.Helper()
	before := replies()
	for seed := range seeds {
		stream := streams.New(rand.New(rand.NewPCG(seed, 11)).IntN, true)
		var answers [2][]byte
		for i, address := range []string{raw, plain} {
			all, err := streams.Play(address, secure, streams.Get("/hit/a"), stream)
			if err != nil {
				t.Fatal(err)
			}
			answers[i] = volatile.ReplaceAll(all, []byte("$1"))
		}
		if how := streams.Differ(stream, answers[0], answers[1]); how != "" {
			t.Fatalf("seed %d: %s", seed, how)
		}
	}
	if n := replies() - before; n < int64(seeds)/2 {
		t.Errorf("%d answers on connections: that proves little", n)
	}
}

// survey1 is the survey of a configuration's first server.
func survey1(t *testing.T, text string) (headers []string, why string) {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var config struct {
		Apps struct {
			HTTP struct{ Servers map[string]*caddyhttp.Server }
		}
	}
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	return surveyServer(config.Apps.HTTP.Servers["srv0"])
}

func TestEdgeHitsWorksWithTheExample(t *testing.T) {
	text, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, why := survey1(t, string(text)); why != "" {
		t.Errorf("edge_hits does nothing: %s", why)
	}
}

func TestEdgeHitsKnowsWhatItCannotRepeat(t *testing.T) {
	for site, want := range map[string]string{
		"edge_cache":                     "",
		"header X-A b\nedge_cache":       "",
		"header X-A {http.request.uuid}": "placeholder",
		"basic_auth {\nx $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}": "authentication",
		"@a remote_ip 10.0.0.0/8\nrespond @a no":                                          "remote_ip",
		"@a client_ip 10.0.0.0/8\nrespond @a no":                                          "client_ip",
		"@a header User-Agent *bot*\nrespond @a no":                                       "",
		"@a not header X-A b\nrespond @a no":                                              "",
		"@a expression `{http.request.method} == \"GET\"`\nrespond @a no":                 "expression",
		"handle /a {\n@b remote_ip 10.0.0.0/8\nrespond @b no\n}":                          "remote_ip",
		"forward_auth localhost:1 {\nuri /auth\n}":                                        "handle_response",
		"file_server {\npass_thru\n}":                                                     "file_server",
		"templates":                                                                       "templates",
		"log":                                                                             "",
		"log\nlog_skip /a":                                                                "logs",
		"log_name other":                                                                  "logs",
		"tracing":                                                                         "tracing",
		"edge_rules {\nprivate @x\n}\n@x remote_ip 10.0.0.0/8":                            "remote_ip",
		"rewrite /a /b\nedge_cache":                                                       "",
	} {
		headers, why := survey1(t, "http://localhost:8123 {\n"+site+"\n}\n")
		if want == "" && why != "" || !strings.Contains(why, want) {
			t.Errorf("%s: refused because %q: want %q", site, why, want)
		}
		if strings.Contains(site, "header User-Agent") && (len(headers) != 1 || headers[0] != "User-Agent") {
			t.Errorf("%s: looks at %q", site, headers)
		}
	}
}

// The access log tells the same of a request wherever it was answered.
func TestTheAccessLogHasRepliesOnTheConnection(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite)
	t.Run("plain", func(t *testing.T) { e.sameRecords(t, e.rawClient(), rawTo(t, e.other)) })
	t.Run("TLS", func(t *testing.T) { e.sameRecords(t, rawSecurely(t, e.secure), rawSecurely(t, e.secureOther)) })
}

// sameRecords compares a reply on the connection of raw with one of the chain,
// over the connection other, which is without edge_hits.
func (e *rawEdge) sameRecords(t *testing.T, c, other *rawClient) {
	t.Helper()
	request := streams.Get("/a", "User-Agent: tester", "X-Forwarded-For: 192.0.2.1")
	c.ask(request)
	c.ask(request)
	before := replies()
	got := c.learned(request)
	long := other.ask(request)
	if replies() != before+1 {
		t.Fatalf("%d replies after %d", replies(), before)
	}
	e.sameRecord(t, got.Header.Get("X-Request-Id"), long.Header.Get("X-Request-Id"))
}

// sameRecord compares the records of a reply and of an answer of the chain, by
// their ids.
func (e *rawEdge) sameRecord(t *testing.T, reply, answer string) {
	t.Helper()
	eventually(t, "both records", func() bool { return e.record(reply) != nil && e.record(answer) != nil })
	raw, chain := e.record(reply), e.record(answer)
	for _, record := range []map[string]any{raw, chain} {
		for _, differs := range []string{"ts", "duration", "request_id"} {
			if record[differs] == nil {
				t.Errorf("no %s in %v", differs, record)
			}
			delete(record, differs)
		}
		delete(record["request"].(map[string]any), "remote_port")
		header := record["resp_headers"].(map[string]any)
		for _, differs := range []string{"Age", "Cache-Status", "X-Request-Id"} {
			if header[differs] == nil {
				t.Errorf("no %s in %v", differs, header)
			}
			delete(header, differs)
		}
	}
	if !reflect.DeepEqual(raw, chain) {
		t.Errorf("on the connection\n%v\nby the chain\n%v", raw, chain)
	}
}

// record is the access log's of a request, nil if it is not there yet.
func (e *rawEdge) record(id string) map[string]any {
	e.t.Helper()
	text, err := os.ReadFile(e.accessLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["request_id"] == id {
			return record
		}
	}
	return nil
}

func TestTheHostSaysWhichLoggersWrite(t *testing.T) {
	logs := &caddyhttp.ServerLogConfig{
		DefaultLoggerName: "rest", SkipHosts: []string{"quiet.example", "*.quiet.example"},
		LoggerNames: map[string]caddyhttp.StringArray{"a.example": {"one", ""}, "*.b.example": {"two"}},
	}
	for host, want := range map[string]string{
		"a.example": "[one ]", "A.Example:8080": "[one ]", "x.b.example": "[two]", "other.example": "[rest]",
		"quiet.example": "", "x.quiet.example:80": "",
	} {
		names, logged := loggerNames(logs, host)
		if got := fmt.Sprint(names); logged != (want != "") || logged && got != want {
			t.Errorf("%s: %s, %v: want %q", host, got, logged, want)
		}
	}
	logs.SkipUnmappedHosts = true
	if _, logged := loggerNames(logs, "other.example"); logged {
		t.Error("a host that is not mapped is logged")
	}
}

func TestHTTP2IsServedBesideEdgeHits(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite)
	for _, address := range []string{e.secure, e.secureOther} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "example.com"}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		for range 3 {
			got, err := read((&http.Client{Transport: transport}).Get("https://" + address + "/a"))
			if err != nil || got.Proto != "HTTP/2.0" || got.Text != "/a" {
				t.Fatalf("%v %q, %v", got.Response, got.Text, err)
			}
		}
	}
}
