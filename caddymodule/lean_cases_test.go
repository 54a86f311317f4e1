package caddymodule

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"
	"go.uber.org/zap"
)

func TestLeanIsForPlainConfigurations(t *testing.T) {
	for _, c := range []struct {
		name  string
		proxy Proxy
		want  bool
	}{
		{"nothing asked for", Proxy{}, true},
		{"trusted proxies", Proxy{Handler: reverseproxy.Handler{TrustedProxies: []string{"10.0.0.0/8", "192.0.2.1", "::1"}}}, true},
		{"flush at once", Proxy{Handler: reverseproxy.Handler{FlushInterval: -1}}, true},
		{"how long streams live", Proxy{Handler: reverseproxy.Handler{StreamTimeout: caddy.Duration(time.Hour)}}, true},
		{"switched off", Proxy{LeanOff: true}, false},
		{"header operations", Proxy{Handler: reverseproxy.Handler{Headers: new(headers.Handler)}}, false},
		{"a flush now and then", Proxy{Handler: reverseproxy.Handler{FlushInterval: 1}}, false},
		{"a rewrite", Proxy{Handler: reverseproxy.Handler{Rewrite: new(rewrite.Rewrite)}}, false},
		{"request buffers", Proxy{Handler: reverseproxy.Handler{RequestBuffers: 1}}, false},
		{"response buffers", Proxy{Handler: reverseproxy.Handler{ResponseBuffers: -1}}, false},
		{"other answers", Proxy{Handler: reverseproxy.Handler{HandleResponse: []caddyhttp.ResponseHandler{{}}}}, false},
		{"verbose logs", Proxy{Handler: reverseproxy.Handler{VerboseLogs: true}}, false},
		{"a proxy that is no address: Caddy says so", Proxy{Handler: reverseproxy.Handler{TrustedProxies: []string{"nobody"}}}, false},
	} {
		if got := newLean(&c.proxy, nil, zap.NewNop()) != nil; got != c.want {
			t.Errorf("%s: lean %v: want %v", c.name, got, c.want)
		}
	}
	if newLean(new(Proxy), nil, zap.NewExample()) != nil {
		t.Error("debug messages are logged: want Caddy's handler, whose they are")
	}
}

// plainRequest has what keeps two runs apart from each other only by accident.
const plainRequest = "GET PATH HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: request-1\r\n\r\n"

func requested(line string, fields ...string) string {
	return line + "\r\nHost: a.example\r\nX-Request-Id: request-1\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

func ok(fields ...string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

var leanRequests = map[string]string{
	"plain":              plainRequest,
	"a head":             requested("HEAD PATH HTTP/1.1"),
	"another method":     requested("PURGE PATH?a=b&c=%2F HTTP/1.1", "Accept: */*"),
	"options":            requested("OPTIONS PATH HTTP/1.1"),
	"http 1.0":           requested("GET PATH HTTP/1.0"),
	"a body":             requested("POST PATH HTTP/1.1", "Content-Length: 4", "Content-Type: x/y") + "body",
	"a get with a body":  requested("GET PATH HTTP/1.1", "Content-Length: 4") + "body",
	"no body":            requested("POST PATH HTTP/1.1", "Content-Length: 0"),
	"chunks":             requested("POST PATH HTTP/1.1", "Transfer-Encoding: chunked") + "4\r\nbody\r\n0\r\n\r\n",
	"chunks, trailers":   requested("PUT PATH HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: X-Sum") + "4\r\nbody\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n\r\n",
	"hidden trailers":    requested("PUT PATH HTTP/1.1", "Transfer-Encoding: chunked") + "4\r\nbody\r\n0\r\nX-Late: 2\r\n\r\n",
	"expects":            requested("POST PATH HTTP/1.1", "Content-Length: 4", "Expect: 100-continue") + "body",
	"hop by hop":         requested("GET PATH HTTP/1.1", "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Authorization: x", "Te: trailers, gzip", "Proxy-Connection: a", "Alt-Svc: b"),
	"te nominated":       requested("GET PATH HTTP/1.1", "Connection: TE, close", "Te: trailers"),
	"hides its agent":    requested("GET PATH HTTP/1.1", "Connection: user-agent, x-forwarded-for", "User-Agent: x"),
	"agents":             requested("GET PATH HTTP/1.1", "User-Agent: a  b "),
	"an empty agent":     requested("GET PATH HTTP/1.1", "User-Agent:"),
	"via":                requested("GET PATH HTTP/1.1", "Via: 1.0 a", "Via: 1.1 b, 1.1 c"),
	"forwarded":          requested("GET PATH HTTP/1.1", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2, 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Proto: https", "X-Forwarded-Host: b.example"),
	"forwarded, empty":   requested("GET PATH HTTP/1.1", "X-Forwarded-For:", "X-Forwarded-Proto:", "X-Forwarded-Host:"),
	"many fields":        requested("GET PATH HTTP/1.1", "Cookie: a=b", "Cookie: c=d", "Accept: a", "Accept: b", "x-lower: 1", "X-Empty:", "Range: bytes=0-1", "If-None-Match: \"a\""),
	"incremental":        requested("POST PATH HTTP/1.1", "Incremental: ?1", "Content-Length: 4") + "body",
	"a whole url":        "GET http://a.examplePATH HTTP/1.1\r\nHost: a.example\r\nX-Request-Id: request-1\r\n\r\n",
	"odd characters":     requested("GET PATH%00%2e/../a;b=c?d=%zz|\" HTTP/1.1"),
	"an upgrade refused": requested("GET PATH HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-Websocket-Key: a"),
	"an upgrade alone":   requested("GET PATH HTTP/1.1", "Upgrade: h2c"),
}

var leanAnswers = map[string]script{
	"plain":              {pieces: []string{ok("Content-Length: 4", "Content-Type: text/plain") + "page"}},
	"two pieces":         {pieces: []string{ok("Content-Length: 4") + "pa", "ge"}},
	"empty":              {pieces: []string{ok("Content-Length: 0", "X-One: a", "X-One: b")}},
	"no content":         {pieces: []string{"HTTP/1.1 204 No Content\r\nX-One: a\r\n\r\n"}},
	"not modified":       {pieces: []string{"HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\nContent-Length: 12\r\n\r\n"}},
	"chunks":             {pieces: []string{ok("Transfer-Encoding: chunked"), "4\r\npage\r\n", "0\r\n\r\n"}},
	"no chunks":          {pieces: []string{ok("Transfer-Encoding: chunked") + "0\r\n\r\n"}},
	"trailers":           {pieces: []string{ok("Transfer-Encoding: chunked", "Trailer: X-Sum, X-Never") + "4\r\npage\r\n0\r\nX-Sum: 1\r\n\r\n"}},
	"hidden trailers":    {pieces: []string{ok("Transfer-Encoding: chunked") + "4\r\npage\r\n0\r\nX-Late: 1\r\n\r\n"}},
	"more trailers":      {pieces: []string{ok("Transfer-Encoding: chunked", "Trailer: X-Sum") + "4\r\npage\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n\r\n"}},
	"until the end":      {pieces: []string{ok("Content-Type: text/plain") + "page"}, end: "close"},
	"http 1.0":           {pieces: []string{"HTTP/1.0 200 OK\r\nX-One: a\r\n\r\npage"}, end: "close"},
	"http 1.0, length":   {pieces: []string{"HTTP/1.0 404 Gone Fishing\r\nContent-Length: 4\r\n\r\npage"}},
	"http 1.0, kept":     {pieces: []string{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\npage"}},
	"says close":         {pieces: []string{ok("Content-Length: 4", "Connection: close, X-Hop", "X-Hop: 1") + "page"}, end: "close"},
	"hop by hop":         {pieces: []string{ok("Content-Length: 4", "Keep-Alive: timeout=5", "Proxy-Authenticate: x", "Alt-Svc: h3", "Upgrade: h2c", "Server: x", "Via: 1.0 a") + "page"}},
	"interim":            {pieces: []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", ok("Content-Length: 4", "X-One: b") + "page"}},
	"continues":          {pieces: []string{"HTTP/1.1 100 Continue\r\n\r\n", ok("Content-Length: 4") + "page"}},
	"events":             {pieces: []string{ok("Content-Type: text/event-stream; charset=utf-8", "Content-Length: 9") + "data: a\n\n"}},
	"incremental":        {pieces: []string{ok("Incremental: ?1", "Content-Length: 4") + "page"}},
	"its own request id": {pieces: []string{ok("X-Request-Id: request-2", "Set-Cookie: a=b", "Set-Cookie: c=d", "Content-Length: 4") + "page"}},
	"an error":           {pieces: []string{"HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\npage"}},
	"unavailable":        {pieces: []string{"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nRetry-After: 5\r\n\r\npage"}},
	"an odd status":      {pieces: []string{"HTTP/1.1 799 What\r\nContent-Length: 4\r\n\r\npage"}},
	"lengths":            {pieces: []string{ok("Content-Length: 4", "Content-Length: 4") + "page"}},
	"two lengths":        {pieces: []string{ok("Content-Length: 4", "Content-Length: 5") + "pages"}, end: "close"},
	"length and chunks":  {pieces: []string{ok("Content-Length: 5", "Transfer-Encoding: chunked") + "4\r\npage\r\n0\r\n\r\n"}, end: "close"},
	"a bad length":       {pieces: []string{ok("Content-Length: -4") + "page"}, end: "close"},
	"a bad coding":       {pieces: []string{ok("Transfer-Encoding: gzip") + "page"}, end: "close"},
	"garbage":            {pieces: []string{"what?\r\n\r\n"}, end: "close"},
	"a bad field":        {pieces: []string{ok("X One: a", ": b", "Content-Length: 4") + "page"}, end: "close"},
	"a folded field":     {pieces: []string{ok("X-One: a\r\n b", "Content-Length: 4") + "page"}},
	"cut header":         {pieces: []string{"HTTP/1.1 200 OK\r\nContent-Le"}, end: "close"},
	"cut body":           {pieces: []string{ok("Content-Length: 9") + "page"}, end: "close"},
	"cut chunks":         {pieces: []string{ok("Transfer-Encoding: chunked") + "4\r\npage\r\n5\r\npa"}, end: "close"},
	"cut before the end": {pieces: []string{ok("Transfer-Encoding: chunked") + "4\r\npage\r\n"}, end: "close"},
	"a bad chunk":        {pieces: []string{ok("Transfer-Encoding: chunked") + "4\r\npage\r\nx\r\n"}, end: "close"},
	"reset body":         {pieces: []string{ok("Content-Length: 9") + "page"}, end: "reset"},
	"closes at once":     {end: "close"},
	"resets at once":     {end: "reset"},
	"interim, then ends": {pieces: []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"}, end: "close"},
	"more than its part": {pieces: []string{ok("Content-Length: 4") + "pageHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"}, end: "close"},
	"a body for a 304":   {pieces: []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"}, end: "close"},
	"switches unasked":   {pieces: []string{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"}, end: "close"},
	"large":              {pieces: []string{ok("Content-Length: 300000") + strings.Repeat("page", 75000)}},
	"large chunks":       {pieces: []string{ok("Transfer-Encoding: chunked") + strings.Repeat("1388\r\n"+strings.Repeat("page", 1250)+"\r\n", 40) + "0\r\n\r\n"}},
}

// Every request with a plain answer, every answer to a plain request, and pairs
// of both drawn at random: replica and client see what they see of Caddy.
func TestLeanIsCaddys(t *testing.T) {
	e, origin := startWays(t)
	for name, request := range leanRequests {
		path := "request/" + tidy(name)
		sameBothWays(t, e, origin, path, request, leanAnswers["plain"])
		if got := origin.seen("lean", path+"/0"); len(got) != 1 && name != "odd characters" {
			t.Errorf("%s: %d requests at the origin: want 1", path, len(got))
		}
	}
	for name, act := range leanAnswers {
		sameBothWays(t, e, origin, "answer/"+tidy(name), plainRequest, act)
		sameBothWays(t, e, origin, "answer/head/"+tidy(name), leanRequests["a head"], act)
	}
	requests, answers := slices.Sorted(maps.Keys(leanRequests)), slices.Sorted(maps.Keys(leanAnswers))
	draw := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		request, act := requests[draw.IntN(len(requests))], answers[draw.IntN(len(answers))]
		sameBothWays(t, e, origin, fmt.Sprintf("pair/%d/%s/%s", i, tidy(request), tidy(act)), leanRequests[request], leanAnswers[act])
	}
}

func TestLeanTimesOutAsCaddy(t *testing.T) {
	e, origin := startWays(t)
	got := sameBothWays(t, e, origin, "late", plainRequest, script{end: "wait"})
	if !strings.Contains(got.Status, "504") {
		t.Errorf("no header in time: %s: want 504", got.Status)
	}
	eventually(t, "the connections to a replica that is late are closed", func() bool {
		return origin.left("lean", "late/0") && origin.left("caddy", "late/0")
	})
}

// A client that leaves, before the answer or within it, ends the exchange with
// the replica.
func TestLeanEndsWithItsClient(t *testing.T) {
	e, origin := startWays(t)
	for name, act := range map[string]script{
		"within": {pieces: []string{ok("Content-Length: 9") + "page"}, end: "wait"},
		"stream": {pieces: []string{ok("Content-Type: text/event-stream") + "data: a\n\n"}, end: "wait"},
	} {
		origin.mu.Lock()
		origin.scripts[name] = act
		origin.mu.Unlock()
		for _, way := range []string{"lean", "caddy"} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, addressed(e, way, name, plainRequest))
			eventually(t, "the origin has the request", func() bool { return len(origin.seen(way, name)) > 0 })
			_ = conn.Close()
			eventually(t, "the origin's connection ends by "+way+", "+name, func() bool { return origin.left(way, name) })
		}
	}
}

// What an event stream has sent reaches the client while it goes on.
func TestLeanPassesEventsOnAtOnce(t *testing.T) {
	e, origin := startWays(t)
	origin.mu.Lock()
	origin.scripts["events"] = script{pieces: []string{ok("Content-Type: text/event-stream"), "data: a\n\n"}, end: "wait"}
	origin.mu.Unlock()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, addressed(e, "lean", "events", plainRequest))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The body is left open: to close it would be to read it to its end.
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || line != "data: a\n" {
		t.Errorf("%q, %v: want the event", line, err)
	}
}

func tidy(name string) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(name)
}
