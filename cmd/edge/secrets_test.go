package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edgegw/edge/internal/report/standin"
)

// planted are secrets, each where a gateway takes one from.
type planted struct {
	env    []string
	values map[string]string // by what they are
}

func plant(t *testing.T) (p planted, path func(name string) string) {
	t.Helper()
	dir := t.TempDir()
	key := command(t, nil, "backup", "--new-key")
	p.values = map[string]string{
		"control token": "pl4nted-c0ntrol-Zk3vQ8xWm2", "second control token": "pl4nted-second-Yt6nR1bLc9",
		"Cloudflare's token": "pl4nted-cloudflare-Hd5sJ7gFq4", "password of Redis": "pl4nted-redis-Bx9wE2uKz8",
		"key of the tracker": "a1b2c3d4e5f60718293a4b5c6d7e8f90", "key of the store": "pl4nted-store-Mv3cT6yPj1",
		"token of source maps": "pl4nted-maps-Gn8kD4hSr5", "key of backups": strings.TrimSpace(key.stdout),
		"secret of a webhook": "pl4nted-webhook-Lw2fU7iAo3",
	}
	path = func(name string) string { return filepath.Join(dir, name) }
	for name, what := range map[string]string{"second": "second control token", "store": "key of the store", "backup": "key of backups"} {
		if err := os.WriteFile(path(name), []byte(p.values[what]+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, what := range map[string]string{
		"PLANTED_CONTROL": "control token", "PLANTED_CLOUDFLARE": "Cloudflare's token", "PLANTED_REDIS": "password of Redis",
		"PLANTED_MAPS": "token of source maps", "PLANTED_WEBHOOK": "secret of a webhook",
	} {
		p.env = append(p.env, name+"="+p.values[what])
	}
	return p, path
}

// searched fails the test for each planted secret in a text.
func (p planted) searched(t *testing.T, where, text string) {
	t.Helper()
	for what, value := range p.values {
		if i := strings.Index(text, value); i >= 0 {
			t.Errorf("%s shows the %s: …%s…", where, what, text[max(0, i-80):min(len(text), i+20)])
		}
	}
	if text == "" {
		t.Errorf("%s is empty: nothing was searched", where)
	}
}

// TestNoSecretIsShown plants a secret wherever one is taken from, has everything go
// wrong that they are used for, and searches whatever a gateway says.
func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	p, path := plant(t)
	tracker := standin.New(p.values["key of the tracker"], "42")
	reports := httptest.NewServer(tracker)
	t.Cleanup(reports.Close)
	p.env = append(p.env, "PLANTED_DSN="+tracker.DSN(reports.URL))
	_, cdn := cloudflare(t) // which knows another token
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "not for "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	t.Cleanup(hook.Close)
	g := configure(t, origin(t),
		strings.Replace(cdn, "api_token "+cloudflareToken, "api_token {env.PLANTED_CLOUDFLARE}", 1),
		fmt.Sprintf("fleet redis://%s/0 {\npassword {env.PLANTED_REDIS}\n}", freeAddress(t)),
		"sentry {\ndsn {env.PLANTED_DSN}\n}",
		fmt.Sprintf("backup {\nto s3://backups/x {\nendpoint http://%s\naccess_key AKIAPLANTED\nsecret_key {file.%s}\n}\nevery 1s\nkey {file.%s}\n}", freeAddress(t), path("store"), path("backup")))
	text := strings.Replace(read(t, g.config), "token {env.EDGE_TOKEN}", fmt.Sprintf("token {env.PLANTED_CONTROL} {file.%s}", path("second")), 1)
	text = strings.Replace(text, "admin ", "debug\n\tadmin ", 1)
	text = strings.Replace(text, "page /* {", "source_map *.map {\ntoken {env.PLANTED_MAPS}\n}\npage /* {", 1)
	text = strings.Replace(text, "version_header X-App-Version\n\t\t\t}", fmt.Sprintf("version_header X-App-Version\n\t\t\t}\n\t\t\tautoscale {\nmin 1\nmax 3\ndriver webhook %s {\nsecret {env.PLANTED_WEBHOOK}\n}\n}", hook.URL), 1)
	text = strings.Replace(text, "\tedge_cache\n", "\tlog {\n\t\toutput stderr\n\t\tformat json\n\t}\n\tedge_cache\n", 1)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.env = p.env
	for _, args := range [][]string{{"adapt", "--pretty"}, {"validate"}, {"check", "--env", "production"}, {"check", "--json"}, {"backup"}, {"backup", "--list"}, {"restore"}} {
		r := command(t, p.env, append(args, "--config", g.config)...)
		p.searched(t, "edge "+strings.Join(args, " "), r.stdout+r.stderr)
	}
	g.launch()
	g.answers("/.edge/healthz")
	authorized := func(url, token string) string {
		request, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			return err.Error()
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		return fmt.Sprint(got.Status, got.Header, string(body), err)
	}
	for _, value := range p.values { // right for one place, and wrong for the others
		for _, path := range []string{"/.edge/status", "/.edge/readyz", "/app.js.map", "/page"} {
			p.searched(t, path, authorized(g.url+path, value))
		}
	}
	env := []string{"EDGE_SERVER=" + g.url + "/.edge", "EDGE_TOKEN=" + p.values["control token"]}
	for _, args := range [][]string{{"purge", "--tag", "pages", "--wait", "2s"}, {"status"}, {"status", "--json"}, {"explain", g.url + "/page"}, {"deploys"}} {
		r := command(t, env, args...)
		p.searched(t, "edge "+strings.Join(args, " "), r.stdout+r.stderr)
	}
	g.eventually("a backup has failed", func() bool { return strings.Contains(g.log.String(), "backup failed") })
	g.eventually("the tracker was told", func() bool { return len(tracker.Events()) > 0 })
	admin := "http://" + all(`admin (\S+)`, text)[0]
	for _, path := range []string{"/config/", "/metrics", "/edge/status", "/edge/readyz", "/edge/traffic", "/debug/vars", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2"} {
		p.searched(t, "the admin endpoint's "+path, authorized(admin+path, "none"))
	}
	p.searched(t, "the tracker", fmt.Sprintf("%+v", tracker.Events()))
	if err := g.process.Process.Signal(syscall.SIGABRT); err != nil { // Go's runtime dumps all stacks, as in a crash
		t.Fatal(err)
	}
	<-g.ended
	if !strings.Contains(g.log.String(), "goroutine ") {
		t.Error("SIGABRT has left no dump: nothing was searched")
	}
	p.searched(t, "the log, with its access log and the crash's dump,", g.log.String())
	files, err := filepath.Glob(filepath.Join(g.stateDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
			p.searched(t, file, read(t, file))
		}
	}
}
