package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// written is a configuration in a file.
func written(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// checked is what edge check --json prints.
type checked struct {
	OK       bool
	Findings []struct{ Severity, Problem string }
}

// replicas answer with a tag of their own each, and s-maxage.
func replicas(t *testing.T, n int) (addresses string) {
	t.Helper()
	for i := range n {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "crm.example.com" {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, i))
			w.Header().Set("Cache-Control", "s-maxage=60")
			w.Header().Set("X-App-Version", "v1")
		}))
		t.Cleanup(server.Close)
		addresses += " " + strings.TrimPrefix(server.URL, "http://")
	}
	return addresses
}

func TestCheckAsksReplicas(t *testing.T) {
	t.Parallel()
	config := written(t, fmt.Sprintf("{\n\tadmin off\n\tedge {\n\t\tstate_dir %q\n\t\tpool app {\n\t\t\tdiscover static%s %s\n\t\t\thealth /healthz {\n\t\t\t\tversion_header X-App-Version\n\t\t\t}\n\t\t}\n\t}\n}\n",
		t.TempDir(), replicas(t, 2), freeAddress(t)))
	r := command(t, nil, "check", "--config", config, "--sample", "https://crm.example.com/page?n=1", "--sample", "crm")
	if r.code != 0 {
		t.Errorf("exit %d: want 0, these are warnings\n%s", r.code, r.stderr)
	}
	for _, want := range []string{`sample "crm": want a path`, "connection refused", "GET /page?n=1 says Cache-Control: s-maxage=60", `GET /page?n=1: replicas of one version differ`} {
		if strings.Count(r.stdout, want) != 1 {
			t.Errorf("%s\nwant once %q", r.stdout, want)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := func(block, rules string) string {
		return fmt.Sprintf(`{
	admin off
	servers {
		listener_wrappers {
			edge
		}
	}
	edge {
		state_dir %q
		pool app {
			discover static 127.0.0.1:3000
			health /healthz {
				version_header X-App-Version
			}
		}
		%s
	}
}
http://127.0.0.1:1 {
	edge_rules {
		%s
	}
	edge_cache
	edge_proxy app
}
`, t.TempDir(), block, rules)
	}
	const page = "page /*"
	for name, c := range map[string]struct {
		text string
		env  []string
		exit int
		says []string // each in a finding of its own
	}{
		"a good configuration": {good("", page), nil, 0, nil},
		"a server that loses connections": {strings.Replace(good("", page), "\t\t\tedge\n", "", 1), nil, 0,
			[]string{"warning sites at :1: no listener wrapper edge: a reload resets connections"}},
		"a rule that nothing can reach": {good("", "page /*\nprivate /api/*"), nil, 0,
			[]string{"warning private /api/*"}},
		"a pool without health and versions": {good("pool bare {\ndiscover static 127.0.0.1:3001\n}", page), nil, 0,
			[]string{"warning pool bare: no health path", "warning pool bare: no version_header"}},
		"a token from the environment": {good("control {\ntoken {env.EDGE_TOKEN}\n}", page), []string{"EDGE_TOKEN=" + controlToken}, 0,
			[]string{"warning no cloudflare block"}},
		"an environment that lacks it": {good("control {\ntoken {env.EDGE_TOKEN}\n}", page), nil, 2,
			[]string{"error {env.EDGE_TOKEN}"}},
		"a pool that nobody can join": {good("pool lonely {\n}", page), nil, 2,
			[]string{"error pool lonely: no discover"}},
		"a pool that is not there": {strings.Replace(good("", page), "edge_proxy app", "edge_proxy ap", 1), nil, 2,
			[]string{`error unknown pool "ap": want one of app`}},
		"a program that is not there, and a driver that never asks for fewer": {
			good("pool own {\nhealth /healthz {\nversion_header V\n}\ndiscover process no-such-program {port}\n}\npool rail {\nhealth /healthz {\nversion_header V\n}\ndiscover static 127.0.0.1:3001\nautoscale {\ndriver railway {\nservice s\nenvironment e\nregion r\ntoken {env.RAILWAY}\n}\n}\n}", page),
			[]string{"RAILWAY=token"}, 2,
			[]string{`error pool own: discover process: exec: "no-such-program"`, "warning pool rail: autoscale driver railway without replicas_finish"}},
		"a driver whose token is missing": {
			good("pool rail {\nautoscale {\ndriver railway {\nservice s\nenvironment e\nregion r\ntoken {env.RAILWAY}\n}\n}\n}", page), nil, 2,
			[]string{"error {env.RAILWAY} is empty"}},
		"several words wrong": {good("cach {\n}\ncache {\nmemory lots\n}\npool more {\ndrain soon\npolicy best\n}", page), nil, 2,
			[]string{`error unknown word "cach"`, `error memory "lots"`, `error drain "soon"`, `error unknown name "best"`}},
		"several values wrong": {good("control {\ntoken {env.EDGE_TOKEN} hunter2\n}\ncloudflare {\nzone_id {env.ZONE}\napi_token short\nplan gold\n}", page), nil, 2,
			[]string{"error {env.EDGE_TOKEN}", "error {env.ZONE} is empty", "error 7 characters", `error "gold"`}},
		"a pool with two mistakes that reading it does not find": {good("pool more {\nhealth healthz\ndrain 1ns\nqueue {\nwait 99999h\n}\n}", page), nil, 2,
			[]string{`error pool more: health path "healthz"`}},
		"a purge that its own pauses use up": {good("purge {\ndeadline 20s\n}", page), nil, 2,
			[]string{"error purge deadline 20s: want more than 40s"}},
		"no Caddyfile at all": {"{\n\tedge {\n", nil, 2, []string{"error "}},
	} {
		t.Run(name, func(t *testing.T) {
			config := written(t, c.text)
			r := command(t, c.env, "check", "--config", config, "--json")
			var got checked
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
				t.Fatalf("%v in %q\n%s", err, r.stdout, r.stderr)
			}
			if r.code != c.exit || got.OK != (c.exit == 0) {
				t.Errorf("exit %d, ok %t: want %d\n%s", r.code, got.OK, c.exit, r.stdout)
			}
			for _, want := range c.says {
				severity, words, _ := strings.Cut(want, " ")
				found := 0
				for _, f := range got.Findings {
					if f.Severity == severity && strings.Contains(f.Problem, words) {
						found++
					}
				}
				if found != 1 {
					t.Errorf("%d findings of severity %s about %q: want one in\n%s", found, severity, words, r.stdout)
				}
			}
			if c.exit == 0 {
				warnings := 0
				for _, f := range got.Findings {
					if !strings.Contains(f.Problem, "not formatted") {
						warnings++
					}
				}
				if warnings != len(c.says) {
					t.Errorf("%d warnings: want %d\n%s", warnings, len(c.says), r.stdout)
				}
			}
			for _, f := range got.Findings {
				if strings.Contains(f.Problem, "provision") || strings.Contains(f.Problem, "route 0") {
					t.Errorf("%q: on which way Caddy came across a mistake is no help", f.Problem)
				}
				if strings.Contains(f.Problem, "caddy fmt") {
					t.Errorf("%q: want the name of this program", f.Problem)
				}
			}
			if r.stderr != "" {
				t.Errorf("on stderr, where nobody asked for it: %s", r.stderr)
			}
			if strings.Contains(r.stdout+r.stderr, "hunter2") || strings.Contains(r.stdout+r.stderr, controlToken) {
				t.Error("a token is shown")
			}
			for text, plain := 0, command(t, c.env, "check", "--config", config); text < len(got.Findings); text++ {
				if f := got.Findings[text]; !strings.Contains(plain.stdout, f.Problem) || plain.code != r.code {
					t.Errorf("without --json: exit %d, and no %q in\n%s", plain.code, f.Problem, plain.stdout)
				}
			}
		})
	}
	if r := command(t, nil, "check", "--config", filepath.Join(t.TempDir(), "none")); r.code != 2 || !strings.Contains(r.stdout, "no such file") {
		t.Errorf("a file that is not there: exit %d, %s", r.code, r.stdout)
	}
}

// Whoever misuses a command is told so, and CI can tell by the exit code.
func TestUsageErrorsExitWithTwo(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"purge", "pages"}, "pages"},
		{[]string{"purge", "--soft", "--hard", "--tag", "a"}, "--soft and --hard"},
		{[]string{"purge", "--wait", "soon", "--tag", "a"}, "soon"},
		{[]string{"status", "now"}, "now"},
		{[]string{"explain"}, "want one URL"},
		{[]string{"check", "Caddyfile"}, "Caddyfile"},
		{[]string{"check", "--adaptor", "caddyfile"}, "--adaptor"},
		{[]string{"demo", "fast"}, "fast"},
		{[]string{"demo", "--visitor", "3"}, "--visitor"},
		{[]string{"demo", "--visitors", "501"}, "want 1 to 500"},
		{[]string{"demo", "--duration", "5s", "--listen", "nowhere"}, "want at least 15s"},
		{[]string{"demo", "--duration", "5s", "--listen", "nowhere"}, `"nowhere"`},
		{[]string{"sample", "v2"}, "v2"},
		{[]string{"standin"}, "--zone"},
		{[]string{"standin", "--zone", "a", "--origin", "gateway:80"}, `"gateway:80"`},
	} {
		r := command(t, nil, c.args...)
		if r.code != 2 || !strings.Contains(r.stderr, c.says) {
			t.Errorf("edge %s: exit %d, %q: want 2, and a word about %s", strings.Join(c.args, " "), r.code, r.stderr, c.says)
		}
	}
}

// Whoever misspells a word is told which one was meant, by a check and by a start.
func TestMisspelledDirectivesAreRecognized(t *testing.T) {
	t.Parallel()
	good := configure(t, "127.0.0.1:1")
	text := read(t, good.config)
	wrapped := strings.Replace(text, "{\n", "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tedge_hit\n\t\t}\n\t}\n", 1)
	for wrong, meant := range map[string]string{
		strings.Replace(text, "edge_control", "edge_controll", 1): "did you mean edge_control?",
		wrapped: "did you mean edge_hits?",
	} {
		config := written(t, wrong)
		for _, name := range []string{"check", "validate", "run", "reload", "adapt"} {
			r := command(t, []string{"EDGE_TOKEN=" + controlToken}, name, "--config", config)
			if r.code == 0 || strings.Count(r.stdout+r.stderr, meant) != 1 {
				t.Errorf("edge %s: exit %d: want %q in\n%s%s", name, r.code, meant, r.stdout, r.stderr)
			}
		}
	}
}
