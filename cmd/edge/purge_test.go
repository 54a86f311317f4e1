package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/purge/standin"
)

func TestPurgeFromTheCommandLine(t *testing.T) {
	t.Parallel()
	server, lines := cloudflare(t)
	g := configure(t, origin(t), lines)
	g.start()
	const host = "127.0.0.1" // without a port, as at Cloudflare
	for name, args := range map[string][]string{
		"url":        {"--url", g.url + "/a"},
		"tag":        {"--tag", "pages"},
		"prefix":     {"--prefix", host + "/a"},
		"host":       {"--host", host},
		"version":    {"--version", "v2"},
		"everything": {"--everything", "--yes"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{"--hard", "--soft"} {
				before, _ := g.page("/a")
				if again, status := g.page("/a"); again != before || !strings.Contains(status, "edge; hit") {
					t.Fatalf("%q then %q, %q: want a hit", before, again, status)
				}
				calls := len(server.Calls())
				r := g.edge(append([]string{"purge", "--json", "--wait", "1m", mode}, args...)...)
				if parsed := reportOf(t, r); r.code != 0 || parsed.State != "done" || parsed.Exit != 0 {
					t.Fatalf("exit %d, %s\n%s", r.code, r.stdout, r.stderr)
				}
				if after, status := g.page("/a"); after == before {
					t.Errorf("%s: still %q, %q", mode, after, status)
				}
				sent := server.Calls()[calls:]
				want := map[string]string{"--hard": "purge_cache", "--soft": "invalidate_cache"}[mode]
				if len(sent) != 2 || sent[0].Operation != want || sent[1].Operation != want {
					t.Errorf("%s: Cloudflare got %+v: want %s, and again after settling", mode, sent, want)
				}
			}
		})
	}
}

// Each way in which Cloudflare can fail for a while ends in done; each way in
// which it fails for good ends in the exit code that says so.
func TestPurgeWhenCloudflareFails(t *testing.T) {
	t.Parallel()
	server, lines := cloudflare(t)
	g := configure(t, origin(t), lines)
	g.start()
	for _, fault := range []standin.Fault{standin.TooManyRequests, standin.LimitUnder400, standin.SuccessFalse, standin.SilentFalse,
		standin.ServerError, standin.BadGateway, standin.Garbage, standin.ResetAfter} {
		t.Run("once "+string(fault), func(t *testing.T) {
			server.Fail(1, fault)
			r := g.edge("purge", "--json", "--wait", "1m", "--tag", "pages")
			parsed := reportOf(t, r)
			if r.code != 0 || parsed.State != "done" {
				t.Fatalf("exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
			}
			if got := parsed.Targets[0].Attempts; got != 3 {
				t.Errorf("%d attempts: want 3, one that failed and two passes", got)
			}
		})
	}
	for fault, exit := range map[standin.Fault]int{
		standin.TooManyRequests: 5, standin.LimitUnder400: 5, standin.SuccessFalse: 5,
		standin.ServerError: 4, standin.BadGateway: 4, standin.Garbage: 4, standin.Hang: 4,
	} {
		t.Run("always "+string(fault), func(t *testing.T) {
			t.Parallel()
			server, lines := cloudflare(t) // of its own: a breaker that the others opened would stay open
			g := configure(t, origin(t), strings.Replace(lines, "deadline 5m", "deadline 6s", 1))
			g.start()
			server.Fail(10_000, fault)
			r := g.edge("purge", "--json", "--wait", "30s", "--tag", "pages")
			server.Recover()
			parsed := reportOf(t, r)
			if r.code != exit || parsed.Exit != exit || parsed.Error == "" {
				t.Errorf("exit %d: want %d\n%s\n%s", r.code, exit, r.stdout, r.stderr)
			}
			journal, err := os.ReadFile(g.journal())
			if err != nil || !strings.Contains(string(journal), parsed.ID) {
				t.Errorf("the journal does not know %s: %v", parsed.ID, err)
			}
			// The visitors' node was purged all the same.
			before, _ := g.page("/b")
			if after, _ := g.page("/b"); after != before {
				t.Errorf("the gateway no longer serves hits: %q, %q", before, after)
			}
		})
	}
}

// A CDN that nobody answers for: the exit code and the error say so, the order
// is kept, and visitors notice nothing.
func TestPurgeWhenCloudflareIsUnreachable(t *testing.T) {
	t.Parallel()
	_, lines := cloudflare(t)
	nobody := regexp.MustCompile(`api_url \S+`).ReplaceAllString(lines, "api_url http://"+freeAddress(t)+"/client/v4")
	g := configure(t, origin(t), nobody)
	g.start()
	before, _ := g.page("/a")
	r := g.edge("purge", "--json", "--wait", "2s", "--tag", "pages")
	parsed := reportOf(t, r)
	if r.code != 4 {
		t.Fatalf("exit %d: want 4\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	g.eventually("it says why", func() bool { // not so while it pauses, after some calls
		var now report
		err := json.Unmarshal([]byte(g.control(http.MethodGet, "purge/"+parsed.ID, "").text), &now)
		return err == nil && len(now.Targets) == 1 && now.Targets[0].Error != nil && strings.Contains(now.Targets[0].Error.Message, "connection refused")
	})
	if after, _ := g.page("/a"); after == before {
		t.Errorf("this node still serves %q", before)
	}
	if again, status := g.page("/a"); !strings.Contains(status, "edge; hit") {
		t.Errorf("visitors get %q, Cache-Status %q: want hits", again, status)
	}
	if list := g.edge("status"); list.code != 0 || !strings.Contains(list.stdout, parsed.ID) {
		t.Errorf("edge status does not show the pending order: exit %d\n%s", list.code, list.stdout)
	}
}

func (g *gateway) journal() string {
	files, err := filepath.Glob(filepath.Join(g.stateDir, "*"))
	if err != nil || len(files) == 0 {
		g.t.Fatalf("nothing in %s: %v", g.stateDir, err)
	}
	i := slices.IndexFunc(files, func(f string) bool { return strings.Contains(filepath.Base(f), "journal") })
	if i < 0 {
		g.t.Fatalf("no journal among %v", files)
	}
	return files[i]
}

func TestPurgeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server, lines := cloudflare(t)
	g := configure(t, origin(t), strings.Replace(lines, "deadline 5m", "deadline 6s", 1))
	g.start()
	wrongToken := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(wrongToken, []byte("not-the-token-at-all-0000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no selector":                    {nil, 2, "selector"},
		"everything, without a yes":      {[]string{"--everything"}, 2, "--yes"},
		"a URL that is none":             {[]string{"--url", "contacts"}, 2, "contacts"},
		"a prefix with a scheme":         {[]string{"--prefix", "https://example.com/a"}, 2, "prefix"},
		"a tag with a space":             {[]string{"--tag", "a b"}, 2, "tag"},
		"a flag that does not exist":     {[]string{"--tags", "a"}, 2, "--tags"},
		"a wrong token":                  {[]string{"--tag", "a", "--token-file", wrongToken}, 3, "token"},
		"nobody there":                   {[]string{"--tag", "a", "--server", "http://" + freeAddress(t) + "/.edge"}, 8, "connection refused"},
		"a version that nobody runs":     {[]string{"--tag", "a", "--expect", "v9", "--wait", "30s"}, 7, "v9"},
		"verification sees the old page": {[]string{"--tag", "a", "--verify", g.url + "/x", "--expect", "v2", "--version-header", "X-None", "--wait", "5s"}, 6, "/x"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := len(server.Calls())
			r := g.edge(append([]string{"purge"}, c.args...)...)
			if r.code != c.exit || !strings.Contains(r.stderr, c.says) {
				t.Errorf("exit %d, %q: want %d and a word about %q", r.code, r.stderr, c.exit, c.says)
			}
			if strings.Contains(r.stdout+r.stderr, controlToken) {
				t.Error("the token is shown")
			}
			if sent := len(server.Calls()) - calls; c.exit != 6 && sent != 0 {
				t.Errorf("%d calls to Cloudflare", sent)
			}
		})
	}
	if log := g.log.String(); strings.Contains(log, controlToken) || strings.Contains(log, cloudflareToken) {
		t.Error("a token is in the log")
	}
}

// A gateway that is killed in the middle of a purge finishes it after a restart.
func TestAPurgeOutlivesAKill(t *testing.T) {
	t.Parallel()
	server, lines := cloudflare(t)
	g := configure(t, origin(t), lines)
	g.start()
	server.Fail(10_000, standin.Hang)
	r := g.edge("purge", "--json", "--wait", "1s", "--tag", "pages")
	if r.code != 4 {
		t.Fatalf("exit %d: want 4, still being retried\n%s", r.code, r.stderr)
	}
	id := reportOf(t, r).ID
	g.kill()
	server.Recover()
	g.start()
	g.eventually("the purge is done", func() bool {
		request, err := http.NewRequest(http.MethodGet, g.url+"/.edge/purge/"+id+"?wait=5s", nil)
		if err != nil {
			return false
		}
		request.Header.Set("Authorization", "Bearer "+controlToken)
		got, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer got.Body.Close()
		var record struct{ State string }
		return json.NewDecoder(got.Body).Decode(&record) == nil && record.State == "done"
	})
}

func TestAStateDirectoryThatCannotBeWritten(t *testing.T) {
	g := configure(t, origin(t))
	file := filepath.Join(t.TempDir(), "a-file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(g.config)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), g.stateDir, filepath.Join(file, "state"), 1)
	if err := os.WriteFile(g.config, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "--config", g.config, "--adapter", "caddyfile"}, {"check", "--config", g.config}} {
		c := exec.Command(binary, args...)
		c.Env = []string{"HOME=" + t.TempDir(), "EDGE_TOKEN=" + controlToken}
		out, err := c.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "state_dir") || !strings.Contains(string(out), "want a folder that can be written") {
			t.Errorf("edge %s: %v, %s: want an error that names state_dir", args[0], err, out)
		}
	}
}
