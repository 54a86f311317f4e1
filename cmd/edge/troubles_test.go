package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// trouble is one that is caused, and where it must be seen.
type trouble struct {
	alert  string // that fires, with the pool's name behind a slash if it is about one
	metric string // a query that finds something
	log    string // what stands in one line of the log, in this order
	page   string // a pattern of what the dashboard shows, in a browser
	at     *gateway
}

// member is a replica of which a test decides how it is.
type member struct {
	*httptest.Server
	version atomic.Pointer[string]
	lies    atomic.Bool  // its check passes, its pages do not
	lingers atomic.Int64 // nanoseconds before it answers a page
}

func newMember(t *testing.T) *member {
	t.Helper()
	m := new(member)
	m.runs("v1")
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-App-Version", *m.version.Load())
		if r.URL.Path == "/healthz" {
			return
		}
		if wait := time.Duration(m.lingers.Load()); wait > 0 {
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
				return
			}
		}
		if m.lies.Load() {
			http.Error(w, "the database is gone", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *member) runs(version string) { m.version.Store(&version) }

func (m *member) address() string { return strings.TrimPrefix(m.URL, "http://") }

// poolOf is a pool of these, and the site that shows it.
func poolOf(name string, words string, members ...*member) (pool, site string) {
	var addresses []string
	for _, m := range members {
		addresses = append(addresses, m.address())
	}
	return fmt.Sprintf("pool %s {\ndiscover static %s\npolicy round_robin\nhealth /healthz {\ninterval 200ms\nversion_header X-App-Version\n}\n%s\n}", name, strings.Join(addresses, " "), words),
		fmt.Sprintf("http://%s.test:%%s {\n\tedge_proxy %s\n}\n", name, name)
}

// admin is the address of the admin endpoint.
func (g *gateway) admin() string {
	return all(`(?m)^\s+admin (\S+)`, read(g.t, g.config))[0]
}

// logs reports whether a line of the log has all these words, in their order.
func (g *gateway) logs(words string) bool {
	return regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(words), " \\.\\.\\. ", ".*")).MatchString(g.log.String())
}

// missing are the places where a trouble is not seen, of those given. The pages are
// what a reader sees on the dashboards.
func (x *trouble) missing(p *prometheus, firing map[string]bool, pages map[*gateway]string, places []string) (left []string) {
	seen := map[string]func() bool{
		"alert": func() bool { return firing[x.alert] },
		"metric": func() bool {
			var found struct{ Result []any }
			return p.ask("query?query="+url.QueryEscape(x.metric), &found) && len(found.Result) > 0
		},
		"log":  func() bool { return x.at.logs(x.log) },
		"page": func() bool { return regexp.MustCompile(x.page).MatchString(pages[x.at]) },
	}
	for _, place := range places {
		if !seen[place]() {
			left = append(left, place)
		}
	}
	return left
}

// runbook runs the commands of edge in the runbook's part that tells more.
func (x *trouble) runbook(t *testing.T) {
	t.Helper()
	name, _, _ := strings.Cut(x.alert, "/")
	page := read(t, "../../docs/runbooks/"+name+".md")
	_, more, _ := strings.Cut(page, "## What tells more")
	ran := 0
	for _, line := range all(`(?m)^edge ([^#\n|]+)`, more) {
		args := strings.Fields(strings.NewReplacer("URL", x.at.url+"/page", "--config Caddyfile", "--config "+x.at.config).Replace(line))
		if r := x.at.edge(args...); r.code != 0 || r.stdout == "" {
			// edge check has its own code for what it is there to find.
			if args[0] != "check" || r.code != 2 && r.code != 1 {
				t.Errorf("the runbook of %s says edge %s: exit %d\n%s%s", name, strings.Join(args, " "), r.code, r.stdout, r.stderr)
			}
		}
		ran++
	}
	if ran == 0 && !strings.Contains(more, "access.log") && !strings.Contains(more, "journalctl") {
		t.Errorf("the runbook of %s says nothing that tells more", name)
	}
}

// onFullDisk runs the gateway with its cache on a disk of two megabytes.
func (g *gateway) onFullDisk() {
	g.within = []string{"unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mkdir -p "$0" && mount -t tmpfs -o size=2m none "$0" && exec "$@"`, filepath.Join(g.stateDir, "cache")}
}
