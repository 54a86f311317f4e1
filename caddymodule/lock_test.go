package caddymodule

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const (
	lockSecret    = "l0ck-Vq7Zt2Nc9Rb4Ws6"
	newLockSecret = "l0ck-Hm3Jy8Kd5Pf1Xg0"
)

func TestOnlyWhoHasTheSecretGetsIn(t *testing.T) {
	var mu sync.Mutex
	var shown []string
	address, asked := counting(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		shown = append(shown, r.Header["X-Origin-Secret"]...)
	})
	e := newEdge(t)
	if err := e.load(staticPool(address), "edge_lock X-Origin-Secret "+lockSecret+" "+newLockSecret+"\n"+pagesSite); err != nil {
		t.Fatal(err)
	}
	if got := e.get("/page", "X-Origin-Secret", lockSecret); got.StatusCode != http.StatusOK {
		t.Fatalf("with the secret: %d", got.StatusCode)
	}
	before := asked.Load()
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
	}{
		{"the other secret gets the same page, stored", "/page", []string{"X-Origin-Secret", newLockSecret}, http.StatusOK},
		{"nobody gets a stored page without", "/page", nil, http.StatusForbidden},
		{"nor one that is not stored", "/other", nil, http.StatusForbidden},
		{"nor the control API, token or not", "/.edge/status", []string{"Authorization", "Bearer " + testToken}, http.StatusForbidden},
		{"a wrong one", "/page", []string{"X-Origin-Secret", lockSecret + "x"}, http.StatusForbidden},
		{"half of one", "/page", []string{"X-Origin-Secret", lockSecret[:10]}, http.StatusForbidden},
		{"an empty one", "/page", []string{"X-Origin-Secret", ""}, http.StatusForbidden},
		{"both at once, as a list", "/page", []string{"X-Origin-Secret", lockSecret + ", " + newLockSecret}, http.StatusForbidden},
		{"in another field", "/page", []string{"X-Other", lockSecret[1:] + "l"}, http.StatusForbidden},
		{"claiming to be Cloudflare", "/page", []string{"CF-Connecting-IP", "203.0.113.1", "X-Forwarded-For", "173.245.48.1"}, http.StatusForbidden},
	} {
		got := e.get(c.path, c.headers...)
		if got.StatusCode != c.status {
			t.Errorf("%s: %d: want %d", c.name, got.StatusCode, c.status)
		}
		if c.status == http.StatusForbidden && got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q: want that no cache keeps it", c.name, got.Header.Get("Cache-Control"))
		}
	}
	if after := asked.Load(); after != before {
		t.Errorf("replicas were asked %d times: want %d, those who have no secret cost them nothing", after, before)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(shown) > 0 {
		t.Errorf("the replica got the secret: %q", shown)
	}
}

// Whatever a log tells of requests, right or wrong, it tells without the field: the
// access log, Caddy's log of errors, and all that is written for debugging.
func TestNoLogShowsTheSecretOfALock(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs-up" {
			panic(http.ErrAbortHandler)
		}
	})
	const site = `
	log_append asks {http.request.header.X-Origin-Secret}
	@fails path /fails
	edge_lock X-Origin-Secret ` + lockSecret + " " + newLockSecret + "\n" + pagesSite + `
	error @fails "as it should" 500
	`
	e := startRawEdge(t, address, pagesSite)
	logs := filepath.Join(t.TempDir(), "all.log")
	text := strings.Replace(e.text, "output discard", fmt.Sprintf("output file %q\n\t\tlevel DEBUG", logs), 1)
	if err := e.loadText(strings.Replace(text, pagesSite, site, 1)); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	asked := 0
	for _, base := range []string{e.URL, "http://" + e.other, "https://" + e.secure, "https://" + e.secureOther} {
		for _, secret := range []string{lockSecret, newLockSecret, "wr0ng-" + lockSecret[6:], ""} {
			for _, path := range []string{"/page", "/fails", "/hangs-up"} {
				request, err := http.NewRequest(http.MethodGet, base+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				request.Header.Set("X-Origin-Secret", secret)
				got, err := read(client.Do(request))
				if err != nil {
					t.Fatal(err)
				}
				asked++
				opened := secret == lockSecret || secret == newLockSecret
				if (got.StatusCode != http.StatusForbidden) != opened || strings.HasPrefix(base, "https") && got.ProtoMajor != 2 {
					t.Errorf("%s%s with %q: %s %d", base, path, secret, got.Proto, got.StatusCode)
				}
			}
		}
	}
	eventually(t, "all are in the log", func() bool { return len(e.records()) >= asked })
	for _, name := range []string{e.accessLog, logs} {
		log, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(log) == 0 || strings.Contains(string(log), lockSecret[6:]) || strings.Contains(string(log), newLockSecret) || strings.Contains(string(log), `"X-Origin-Secret"`) {
			t.Errorf("%s is empty or shows the secret:\n%s", filepath.Base(name), log)
		}
	}
}

// Two fields, one right, are not one: which of them counts, parsers differ about.
func TestTheSecretTwiceIsNone(t *testing.T) {
	l := Lock{Header: "X-Origin-Secret", Secrets: []string{lockSecret}}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		values []string
		opens  bool
	}{
		{nil, false}, {[]string{lockSecret}, true}, {[]string{lockSecret, lockSecret}, false}, {[]string{"", lockSecret}, false}, {[]string{strings.Repeat("x", 1<<20)}, false},
	} {
		if got := l.opens(c.values); got != c.opens {
			t.Errorf("%.40q: got %t", c.values, got)
		}
	}
}

func TestALockThatIsNone(t *testing.T) {
	for _, c := range []struct {
		lock Lock
		want []string
	}{
		{Lock{}, []string{`header ""`, "got 0 secrets"}},
		{Lock{Header: "Host", Secrets: []string{"short"}}, []string{`header "Host"`, "5 characters"}},
		{Lock{Header: "x: y", Secrets: []string{lockSecret, newLockSecret, lockSecret}}, []string{`"x: y"`, "got 3 secrets"}},
		{Lock{Header: "X-Origin-Secret", Secrets: []string{"{env.EDGE_TEST_NO_SUCH_SECRET}"}}, []string{"EDGE_TEST_NO_SUCH_SECRET"}},
		{Lock{Header: "X-Origin-Secret", Secrets: []string{"changeme-changeme-changeme"}}, []string{"placeholder"}},
	} {
		err := c.lock.prepare()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v: want %q", c.lock, err, want)
			}
		}
	}
}
