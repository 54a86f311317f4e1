package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// script runs scripts/ci-deploy.sh, or the command given, as CI would.
func (g *gateway) script(t *testing.T, command string, env ...string) (ran, string) {
	t.Helper()
	outputs := filepath.Join(t.TempDir(), "outputs")
	c := exec.Command("sh", "-c", command)
	c.Dir = "../.."
	c.Env = append([]string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GITHUB_OUTPUT=" + outputs}, env...)
	var stdout, stderr strings.Builder
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	given, err := os.ReadFile(outputs)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return ran{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}, string(given)
}

func TestCICallsEdgeDeploy(t *testing.T) {
	t.Parallel()
	x := rollout(t, 1)
	server, token := "EDGE_SERVER="+x.url+"/.edge", "EDGE_TOKEN="+controlToken
	const script = "scripts/ci-deploy.sh"
	if r, _ := x.script(t, script, server, token); r.code != 2 || !strings.Contains(r.stderr, "no EDGE_VERSION") {
		t.Errorf("no version: exit %d, %s", r.code, r.stderr)
	}
	if r, given := x.script(t, script, server, token, "EDGE_VERSION=v2", "EDGE_TIMEOUT=1s"); r.code != 7 || !regexp.MustCompile(`^id=d[a-z0-9]+\nstate=failed\nexit=7\n$`).MatchString(given) {
		t.Errorf("not there: exit %d, outputs %q\n%s%s", r.code, given, r.stdout, r.stderr)
	}
	// What stands in a variable is a value, and never a flag or a command.
	marked := filepath.Join(t.TempDir(), "marked")
	if r, _ := x.script(t, script, server, token, "EDGE_VERSION=$(touch "+marked+")", "EDGE_TIMEOUT=1s"); r.code != 7 {
		t.Errorf("a version that is none: exit %d\n%s", r.code, r.stderr)
	}
	if _, err := os.Stat(marked); err == nil {
		t.Error("a version was run")
	}
	if r, _ := x.script(t, script, server, "EDGE_TOKEN=not-the-control-token", "EDGE_VERSION=v2"); r.code != 3 {
		t.Errorf("a bad token: exit %d\n%s", r.code, r.stderr)
	}
	x.roll("v2", 1)
	r, given := x.script(t, script, server, token, "EDGE_VERSION=v2", "EDGE_VERIFY="+x.url+"/\n"+x.url+"/contacts", "EDGE_WARM="+x.url+"/contacts/1\n\n"+x.url+"/contacts/2", "EDGE_KEY=ci-1")
	if r.code != 0 || !strings.Contains(given, "state=done\nexit=0\n") || !strings.Contains(r.stdout, x.url+"/contacts: 200") {
		t.Errorf("exit %d, outputs %q\n%s%s", r.code, given, r.stdout, r.stderr)
	}
	if !strings.Contains(r.stdout, "node: 0 hit, 2 miss, 0 failed") {
		t.Errorf("two pages were to be warmed\n%s", r.stdout)
	}
}

// The action passes each of its inputs on, and runs what is tested above.
func TestTheActionRunsTheScript(t *testing.T) {
	text := read(t, "../../action.yml")
	if !strings.Contains(text, "run: ${{ github.action_path }}/scripts/ci-deploy.sh\n") {
		t.Error("action.yml: want it to run scripts/ci-deploy.sh")
	}
	_, after, found := strings.Cut(text, "\ninputs:\n")
	inputs, rest, whole := strings.Cut(after, "\noutputs:\n")
	if !found || !whole {
		t.Fatal("action.yml: want inputs and outputs")
	}
	for _, input := range regexp.MustCompile(`(?m)^  ([a-z]+):$`).FindAllStringSubmatch(inputs, -1) {
		if !strings.Contains(rest, "${{ inputs."+input[1]+" }}\n") {
			t.Errorf("action.yml: input %s is passed on nowhere", input[1])
		}
	}
	script := read(t, "../../scripts/ci-deploy.sh")
	for _, variable := range regexp.MustCompile(`(?m)^        (EDGE[A-Z_]*):`).FindAllStringSubmatch(rest, -1) {
		if !strings.Contains(script, variable[1]) {
			t.Errorf("action.yml sets %s, which the script does not read", variable[1])
		}
	}
	// No expression stands in a script, where its value would be run.
	for _, line := range strings.Split(rest, "\n") {
		if run, is := strings.CutPrefix(strings.TrimSpace(line), "run:"); is && strings.Contains(run, "inputs.") {
			t.Errorf("action.yml: %q runs an input", line)
		}
	}
}

// The workflow for rollbacks gives the action inputs that it has, and waits for the
// version that it was told.
func TestTheRollbackWorkflowCallsTheAction(t *testing.T) {
	_, step, found := strings.Cut(read(t, "../../packaging/github/rollback.yml"), "- uses: edgegw/edge@main\n")
	if !found || !strings.Contains(step, "          version: ${{ inputs.version }}\n") {
		t.Fatalf("want a step that waits for the version:\n%s", step)
	}
	inputs, _, _ := strings.Cut(read(t, "../../action.yml"), "\noutputs:\n")
	given := regexp.MustCompile(`(?m)^          ([a-z]+):`).FindAllStringSubmatch(step, -1)
	if len(given) < 4 {
		t.Errorf("want server, token, version and reason:\n%s", step)
	}
	for _, input := range given {
		if !strings.Contains(inputs, "\n  "+input[1]+":\n") {
			t.Errorf("the action has no input %s", input[1])
		}
	}
}

// What docs/deploying.md tells CI to run is run: the lines of GitLab and Railway.
func TestTheSnippetsOfCIRun(t *testing.T) {
	t.Parallel()
	x := rollout(t, 1)
	x.roll("v2", 1)
	x.eventually("v2 is done", func() bool {
		last := x.seen().Deploys.Last
		return len(last) == 1 && last[0].State == "done"
	})
	page := read(t, "../../docs/deploying.md")
	server := "EDGE_SERVER=" + x.url + "/.edge"
	_, gitlab, _ := strings.Cut(page, "# .gitlab-ci.yml\n")
	gitlab, _, _ = strings.Cut(gitlab, "```")
	env := []string{"EDGE_TOKEN=" + controlToken}
	for _, variable := range regexp.MustCompile(`(?m)^    (EDGE_[A-Z]+): (\S+)`).FindAllStringSubmatch(gitlab, -1) {
		value := strings.NewReplacer("$CI_COMMIT_SHA", "v2", "$CI_JOB_ID", "17", "https://crm.example.com", x.url).Replace(variable[2])
		env = append(env, variable[1]+"="+value)
	}
	if !slices.Contains(env, server) || !slices.Contains(env, "EDGE_VERSION=v2") || len(env) != 5 {
		t.Fatalf("variables of GitLab's job: %v", env)
	}
	_, job, found := strings.Cut(gitlab, "script:\n    - ")
	if !found {
		t.Fatalf("GitLab's job: %s", gitlab)
	}
	if r, _ := x.script(t, strings.TrimSpace(job), env...); r.code != 0 {
		t.Errorf("GitLab: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	railway := regexp.MustCompile(`(?m)^EDGE_SERVER=.*ci-deploy\.sh$`).FindString(page)
	railway = strings.NewReplacer("https://crm.example.com", x.url, "$(git rev-parse HEAD)", "v2").Replace(railway)
	if r, _ := x.script(t, railway, "EDGE_TOKEN="+controlToken); railway == "" || r.code != 0 {
		t.Errorf("Railway: %q: exit %d\n%s%s", railway, r.code, r.stdout, r.stderr)
	}
}
