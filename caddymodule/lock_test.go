package caddymodule

import (
	"net/http"
	"os"
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
	text := e.caddyfile(staticPool(address), "edge_lock X-Origin-Secret "+lockSecret+" "+newLockSecret+"\n"+pagesSite)
	filter := "format filter {\n\t\t\trequest>headers>X-Origin-Secret delete\n\t\t\twrap json\n\t\t}\n\t\toutput file"
	if err := e.loadText(strings.Replace(text, "output file", filter, 1)); err != nil {
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
	log, err := os.ReadFile(e.accessLog)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(log), lockSecret) || strings.Contains(string(log), newLockSecret) {
		t.Errorf("the access log shows the secret:\n%s", log)
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
