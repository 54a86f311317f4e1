package main

import (
	"bufio"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/edgegw/edge/internal/purge/standin"
)

const example = "../../Caddyfile.example"

// startSample runs a replica of the sample application by the command that
// operators would use, and gives its port.
func startSample(t *testing.T, version string) (port string) {
	t.Helper()
	c := exec.Command(binary, "sample", "--version", version)
	c.Env = []string{"HOME=" + t.TempDir()}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it has no reason to have ended
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the replica gave no address: %v", err)
	}
	return strings.TrimSpace(line[strings.LastIndexByte(line, ':')+1:])
}

// exampleEnv sets what the example names to values of the test.
func exampleEnv(t *testing.T, app string) (env []string, site, admin string) {
	t.Helper()
	site, admin = "http://"+freeAddress(t), freeAddress(t)
	return []string{
		"EDGE_ADMIN=" + admin, "EDGE_STATE_DIR=" + filepath.Join(t.TempDir(), "state"),
		"APP_ADDRESS=" + app, "SITE_ADDRESS=" + site, "EDGE_TOKEN=" + controlToken,
		"CLOUDFLARE_ZONE_ID=" + zoneID, "CLOUDFLARE_API_TOKEN=" + cloudflareToken,
	}, site, admin
}

func TestTheExampleIsValid(t *testing.T) {
	env, _, _ := exampleEnv(t, "localhost:3000")
	for _, args := range [][]string{{"adapt", "--config", example}, {"validate", "--config", example}} {
		if r := command(t, env, args...); r.code != 0 {
			t.Errorf("edge %s: exit %d\n%s", strings.Join(args, " "), r.code, r.stderr)
		}
	}
	if r := command(t, env, "adapt", "--config", example, "--pretty"); strings.Contains(r.stderr, "WARN") || strings.Contains(r.stdout, controlToken) {
		t.Errorf("adapt warns, or shows what it must not:\n%s", r.stderr)
	}
	if r := command(t, nil, "fmt", "--diff", example); strings.Contains(r.stdout, "\n+") || strings.Contains(r.stdout, "\n-") {
		t.Errorf("the example is not formatted:\n%s", r.stdout)
	}
	r := command(t, nil, "validate", "--config", example)
	for _, variable := range []string{"{env.EDGE_TOKEN}", "{env.CLOUDFLARE_ZONE_ID}", "{env.CLOUDFLARE_API_TOKEN}"} {
		if r.code == 0 || !strings.Contains(r.stderr, variable) {
			t.Errorf("without the environment: exit %d, and no word about %s in %s", r.code, variable, r.stderr)
		}
	}
}

// The example, as it is but for Cloudflare's stand-in, serves a real replica and
// obeys the commands of its manual.
func TestTheExampleRuns(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	server, err := standin.New(standin.Options{Token: cloudflareToken, Plan: "free", Zones: []standin.Zone{{ID: zoneID, Name: "example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	cdn := httptest.NewServer(server)
	t.Cleanup(cdn.Close)
	config := strings.Replace(string(text), "# api_url http://127.0.0.1:9999/client/v4   # edge standin, for dry runs", "api_url "+cdn.URL+"/client/v4", 1)
	if config == string(text) {
		t.Fatal("the example does not say how to use the stand-in")
	}
	config = strings.Replace(config, "edge_cloudflare private_ranges\n", "edge_cloudflare private_ranges {\n\t\t\tapi_url "+cdn.URL+"/client/v4\n\t\t}\n", 1)
	g := &gateway{t: t, config: written(t, config), log: new(lockedBuffer)}
	var admin string
	g.env, g.url, admin = exampleEnv(t, "localhost:"+startSample(t, "v7"))

	if r := command(t, g.env, "check", "--config", g.config); r.code != 0 || !strings.Contains(r.stdout, "no error, 0 warnings") {
		t.Errorf("edge check: exit %d, want no warning\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	g.start()
	if page, status := g.page("/contacts"); !strings.Contains(page, "v7") || !strings.Contains(status, "stored") {
		t.Errorf("the first page: Cache-Status %q: want stored\n%s", status, page)
	}
	if _, status := g.page("/contacts"); !strings.Contains(status, "edge; hit") {
		t.Errorf("the second: Cache-Status %q: want a hit", status)
	}
	if _, status := g.page("/api/contacts"); strings.Contains(status, "hit") || strings.Contains(status, "stored") {
		t.Errorf("the API: Cache-Status %q", status)
	}
	atAdmin := func(args ...string) ran {
		return command(t, []string{"EDGE_SERVER=http://" + admin + "/edge"}, args...)
	}
	for place, edge := range map[string]func(...string) ran{"site": g.edge, "admin endpoint": atAdmin} {
		for _, c := range []struct {
			args []string
			says []string
		}{
			{[]string{"status"}, []string{"pool app: least_time", "127.0.0.1:", "v7", "up", "closed", "purges: 0 pending", "dependencies"}},
			{[]string{"explain", g.url + "/contacts"}, []string{"page /*", "serve", "v7", "pages"}},
			{[]string{"purge", "--tag", "pages", "--dry-run"}, []string{"dry run"}},
		} {
			r := edge(c.args...)
			for _, words := range c.says {
				if r.code != 0 || !strings.Contains(r.stdout, words) {
					t.Errorf("%s: edge %s: exit %d, and no %q in\n%s\n%s", place, strings.Join(c.args, " "), r.code, words, r.stdout, r.stderr)
				}
			}
		}
	}
	if _, status := g.page("/contacts"); !strings.Contains(status, "edge; hit") || len(server.Calls()) > 0 && strings.Contains(server.Calls()[0].Operation, "purge") {
		t.Errorf("after the dry run: Cache-Status %q, calls %+v: want a hit and no purge", status, server.Calls())
	}
	if log := g.log.String(); !strings.Contains(log, `"request_id":`) || strings.Contains(log, controlToken) || strings.Contains(log, cloudflareToken) {
		t.Errorf("the log lacks request ids or shows a token:\n%s", log)
	}
}

func TestStatusShowsWhichEdgeAndWhichCaddy(t *testing.T) {
	g := configure(t, origin(t))
	g.start()
	r := g.edge("status")
	_, direct := goMod(t)
	line, _, _ := strings.Cut(r.stdout, "\n")
	if !strings.Contains(line, "(Caddy "+direct[caddyModule]+")") || strings.HasPrefix(line, "edge "+direct[caddyModule]) {
		t.Errorf("%q: want edge's own version, and Caddy %s beside it", line, direct[caddyModule])
	}
}
