package caddymodule

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// logTrialCase is a request, and how many records of the access log are about it.
type logTrialCase struct {
	method, path, host, fields, body string
	records                          int
}

// usual are fields that handlers change, or that Caddy drops or hides.
const usual = "X-Two: 1\nX-Two: 2\nX-Gone: soon\nCookie: session=1\nX-Forwarded-For: 203.0.113.7\nUnder_score: 1\n"

var logTrials = []logTrialCase{
	{"GET", "/respond", "one.test", usual, "", 1},
	{"HEAD", "/respond", "one.test", usual, "", 1},
	{"GET", "/nothing", "one.test", usual, "", 1},
	{"GET", "/page", "one.test", usual, "", 1},
	{"HEAD", "/page", "one.test", usual, "", 1},
	{"GET", "/page", "one.test", "If-None-Match: \"1\"\n", "", 1},
	{"GET", "/page", "one.test", "Range: bytes=1-2\n", "", 1},
	{"GET", "/rewritten/page", "one.test", usual, "", 1},
	{"GET", "/account", "one.test", "Authorization: Basic YTpi\n", "", 1},
	{"POST", "/form", "one.test", "Content-Length: 5\n", "hello", 1},
	{"POST", "/form", "one.test", "Transfer-Encoding: chunked\n", "5\nhello\n0\n\n", 1},
	{"POST", "/respond", "one.test", "Content-Length: 5\nExpect: 100-continue\n", "hello", 1},
	{"GET", "/fails", "one.test", usual, "", 1},
	{"GET", "/error", "one.test", usual, "", 1},
	{"GET", "/error500", "one.test", usual, "", 1},
	{"GET", "/skipped", "one.test", "", "", 0},
	{"GET", "/chat", "one.test", "Connection: Upgrade\nUpgrade: echo\n", "over it\n", 1},
	{strings.Repeat("LONG", 9), "/page", "one.test", "", "", 1},
	{"GET", "/page", "...", "", "", 0},
	{"GET", "/page", "ONE.test:80", "", "", 1},

	{"GET", "/trial/cut", "one.test", usual, "", 1},
	{"GET", "/trial/hints", "one.test", "", "", 1},
	{"GET", "/trial/twice", "one.test", "", "", 1},
	{"GET", "/trial/silence", "one.test", "", "", 1},
	{"GET", "/trial/flush", "one.test", "", "", 1},
	{"GET", "/trial/copy", "one.test", "", "", 1},
	{"POST", "/trial/read", "one.test", "Content-Length: 5\n", "hello", 1},
	{"POST", "/trial/half-read", "one.test", "Content-Length: 20\n", "01234567890123456789", 1},
	{"GET", "/trial/teapot", "one.test", "", "", 1},
	{"GET", "/trial/broken", "one.test", "", "", 1},
	{"GET", "/trial/late", "one.test", "", "", 1},
	{"GET", "/trial/names", "one.test", "", "", 2},
	{"GET", "/trial/level", "one.test", "", "", 1},
	{"GET", "/trial/unhandled", "one.test", "", "", 1},
	{"GET", "/trial/user", "one.test", "", "", 1},
	{"GET", "/trial/extra", "one.test", "", "", 1},
	{"GET", "/trial/changes", "one.test", usual, "", 1},

	{"GET", "/page", "two.test", "", "", 2},
	{"GET", "/error500", "two.test", "", "", 2},
	{"GET", "/page", "unlogged.test", "", "", 0},
	{"GET", "/error500", "unlogged.test", "", "", 0},
	{"GET", "/page", "a.wild.test", usual, "", 1},
	{"GET", "/error500", "B.wild.test", usual, "", 1},
	{"GET", "/", "respond.test", "", "", 1},
	{"GET", "/", "nobodys.test", "", "", 0},
}

// anyTrials are for the site that has no name, on a server without handle_errors.
var anyTrials = []logTrialCase{
	{"GET", "/page", "whoever.test", usual, "", 1},
	{"GET", "/page", "...", "", "", 1},
	{"GET", "/error", "whoever.test", usual, "", 1},
	{"GET", "/error500", "whoever.test", usual, "", 1},
	{"GET", "/trial/cut", "whoever.test", "", "", 1},
	{"GET", "/trial/broken", "whoever.test", "", "", 1},
	{"GET", "/trial/late", "whoever.test", "", "", 1},
}

// secureTrials are paths that are asked for over HTTP/2, each with one record.
var secureTrials = []string{
	"/page", "/respond", "/form", "/fails", "/error", "/error500", "/trial/cut", "/trial/copy", "/trial/read", "/trial/half-read",
	"/trial/hints", "/trial/late", "/trial/changes",
}

// Whoever keeps the log of a server, Caddy or edge, has the same records, of errors
// too, and a reload may change it.
func TestOwnLogIsCaddys(t *testing.T) {
	w := newOwnLogWorld(t)
	w.load(everyBoring)
	w.play() // so that each page is stored that may be
	w.load("")
	before := ownTrials.Load()
	want := w.play()
	if n := ownTrials.Load() - before; n != 0 {
		t.Errorf("without log_sampling edge kept the log of %d requests: want none", n)
	}
	w.load(everyBoring)
	before = ownTrials.Load()
	got := w.play()
	if n := ownTrials.Load() - before; n < 50 {
		t.Errorf("edge kept the log of %d requests: that proves little", n)
	}
	for _, line := range without(want, got) {
		t.Errorf("of edge's there is none, or fewer: %s", line)
	}
	for _, line := range without(got, want) {
		t.Errorf("of Caddy's there is none, or fewer: %s", line)
	}
	if !slices.ContainsFunc(want, func(line string) bool { return strings.Contains(line, `"http.log.error.log0"`) }) {
		t.Error("no record of an error: that proves little")
	}
}

// without are the lines of one that another has not.
func without(one, another []string) (left []string) {
	another = slices.Clone(another)
	for _, line := range one {
		if i := slices.Index(another, line); i >= 0 {
			another = slices.Delete(another, i, i+1)
			continue
		}
		left = append(left, line)
	}
	return left
}

// play asks for everything, and returns the records.
func (w *ownLogWorld) play() []string {
	w.t.Helper()
	expected := make(map[string]int) // records of the access log by the number of their request
	ask := func(prefix, address string, cases []logTrialCase) {
		for i, c := range cases {
			mark := fmt.Sprintf("?n=%s%d", prefix, i)
			expected[mark] = c.records
			w.ask(address, mark, c)
		}
	}
	ask("plain", w.plain, logTrials)
	ask("any", w.any, anyTrials)
	for i, path := range secureTrials {
		mark := fmt.Sprintf("?n=secure%d", i)
		expected[mark] = 1
		w.askSecurely(path + mark)
	}
	var all []string
	eventually(w.t, "all records", func() bool {
		records, counts := w.read()
		all = records
		for mark, n := range expected {
			if counts[mark] < n {
				return false
			}
		}
		return true
	})
	_, counts := w.read()
	for mark, n := range expected {
		if counts[mark] != n {
			w.t.Errorf("%s: %d records in the access log: want %d", mark, counts[mark], n)
		}
	}
	return all
}

// read reads the logs: what is the same whenever a request comes, and how many
// records of the access log there are of each.
func (w *ownLogWorld) read() (all []string, access map[string]int) {
	w.t.Helper()
	access = make(map[string]int)
	files, err := filepath.Glob(filepath.Join(w.logs, "*.log"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			w.t.Fatal(err)
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var record map[string]any
			if json.Unmarshal(lines.Bytes(), &record) != nil {
				continue // it is being written
			}
			logger, _ := record["logger"].(string)
			if !strings.HasPrefix(logger, "http.log") {
				continue
			}
			request, _ := record["request"].(map[string]any)
			uri, _ := request["uri"].(string)
			if _, number, ok := strings.Cut(uri, "?"); ok && strings.HasPrefix(logger, "http.log.access") {
				access["?"+number]++
			}
			all = append(all, fmt.Sprint(filepath.Base(name), ": ", lastingPart(w.t, record), topFields(w.t, lines.Bytes())))
		}
		_ = file.Close() // it was only read
	}
	return all, access
}

// lastingPart is a record without what is another each time.
func lastingPart(t *testing.T, record map[string]any) string {
	t.Helper()
	for _, field := range []string{"ts", "duration", "request_id", "err_id"} {
		delete(record, field)
	}
	if request, ok := record["request"].(map[string]any); ok {
		delete(request, "remote_port")
	}
	if header, ok := record["resp_headers"].(map[string]any); ok {
		for _, field := range []string{"X-Request-Id", "Age", "Date", "Cache-Status"} {
			delete(header, field)
		}
	}
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// topFields are the names of a record's fields in their order.
func topFields(t *testing.T, line []byte) (names []string) {
	t.Helper()
	record := json.NewDecoder(bytes.NewReader(line))
	if _, err := record.Token(); err != nil {
		t.Fatal(err)
	}
	for record.More() {
		name, err := record.Token()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprint(name))
		var value json.RawMessage
		if err := record.Decode(&value); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// ask sends a request, on a connection of its own, and reads the answer.
func (w *ownLogWorld) ask(address, mark string, trial logTrialCase) {
	w.t.Helper()
	c := rawTo(w.t, address)
	defer c.Close()
	c.send("%s %s%s HTTP/1.1\nHost: %s\n%s\n%s", trial.method, trial.path, mark, trial.host, trial.fields, trial.body)
	if strings.Contains(trial.fields, "Upgrade: echo") {
		if _, err := io.Copy(io.Discard, c.in); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	for {
		got, err := http.ReadResponse(c.in, &http.Request{Method: trial.method})
		if err != nil {
			if trial.path != "/trial/cut" {
				w.t.Fatalf("%s: %v", trial.path, err)
			}
			return
		}
		_, _ = io.Copy(io.Discard, got.Body) // one is cut off
		if got.StatusCode >= 200 {
			return
		}
	}
}

// askSecurely asks over HTTP/2.
func (w *ownLogWorld) askSecurely(target string) {
	w.t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "one.test"}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(http.MethodPost, "https://"+w.secure+target, strings.NewReader("a body of some bytes"))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Host = "one.test"
	got, err := transport.RoundTrip(r)
	if err != nil {
		if !strings.HasPrefix(target, "/trial/cut") {
			w.t.Fatalf("%s: %v", target, err)
		}
		return
	}
	if got.ProtoMajor != 2 {
		w.t.Fatalf("%s: %s", target, got.Proto)
	}
	_, _ = io.Copy(io.Discard, got.Body) // one is cut off
	_ = got.Body.Close()
}

// A request that does not come by net/http, as those over HTTP/3, has its record.
func TestCaddyLogsWhatComesAnotherWay(t *testing.T) {
	w := newOwnLogWorld(t)
	w.load(unkept)
	r := httptest.NewRequest(http.MethodGet, "/respond?n=other", nil)
	r.Host = "one.test"
	for _, l := range live.Load().ownLogs {
		l.server.ServeHTTP(httptest.NewRecorder(), r.Clone(t.Context()))
	}
	eventually(t, "a record", func() bool {
		_, counts := w.read()
		return counts["?n=other"] > 0
	})
}
