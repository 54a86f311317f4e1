package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// findings are what edge check says, as "SEVERITY PROBLEM".
func findings(t *testing.T, r ran) (all []string) {
	t.Helper()
	var got checked
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v in %q\n%s", err, r.stdout, r.stderr)
	}
	for _, f := range got.Findings {
		all = append(all, f.Severity+" "+f.Problem)
	}
	return all
}

// once reports whether exactly one finding of a severity has the words.
func once(all []string, want string) bool {
	severity, words, _ := strings.Cut(want, " ")
	n := 0
	for _, f := range all {
		if strings.HasPrefix(f, severity+" ") && strings.Contains(f, words) {
			n++
		}
	}
	return n == 1
}

// manyMistakes is a configuration that is well written, for an environment where
// nothing is as it should be.
func manyMistakes(t *testing.T) (config string, env []string) {
	t.Helper()
	dir := t.TempDir()
	secret := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := fmt.Sprintf(`{
	admin off
	edge {
		state_dir %q
		pool app {
			discover static {env.APP} # {env.IN_A_COMMENT}
			health /healthz {
				version_header X-App-Version
			}
		}
		pool none {
			discover file %s
			health /healthz {
				version_header X-App-Version
			}
		}
		fleet redis://%s/0 {
			password {env.REDIS_PASSWORD}
		}
		backup {
			to s3://backups/x {
				endpoint http://%s
				access_key {env.BACKUP_ID}
				secret_key {file.%s}
			}
			key {file.%s}
		}
		control {
			token {env.EDGE_TOKEN} {env.OTHER_TOKEN}
		}
	}
}
http://127.0.0.1:1 {
	header X-Where "{env.REGION} {$STAGE}"
	basic_auth {
		bob {env.BOBS_HASH}
	}
	edge_proxy app
}
`, filepath.Join(dir, "state"), secret("replicas", "# none\n"), freeAddress(t), freeAddress(t), secret("s3", "\n"), filepath.Join(dir, "not-there"))
	return written(t, text), []string{
		"APP=127.0.0.1:3000", "REDIS_PASSWORD=changeme", "BACKUP_ID=AKIA3ASDKJHASDKJH", "EDGE_TOKEN=aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"OTHER_TOKEN=\"v7Qd2mXk9LrTz4WbPf\"", "REGION=<your region>",
	}
}

func TestCheckForAnEnvironmentSaysEverythingAtOnce(t *testing.T) {
	t.Parallel()
	config, env := manyMistakes(t)
	for environment, wanted := range map[string][]string{
		"production": {
			"error {env.REDIS_PASSWORD}", "error {file.", "error {env.EDGE_TOKEN}", "error {env.OTHER_TOKEN}", "error {env.REGION}", "error {$STAGE}", "error {env.BOBS_HASH}",
		},
		"preview": {
			"error {env.REDIS_PASSWORD}", "warning {env.EDGE_TOKEN}", "error {env.OTHER_TOKEN}", "error {env.REGION}", "error {$STAGE}", "error {env.BOBS_HASH}",
		},
	} {
		r := command(t, env, "check", "--config", config, "--env", environment, "--json")
		all := findings(t, r)
		if r.code != 2 {
			t.Errorf("%s: exit %d: want 2", environment, r.code)
		}
		for _, want := range wanted {
			if want == "error {file." {
				continue // two of them, below
			}
			if !once(all, want) {
				t.Errorf("%s: want one finding %q in\n%s", environment, want, strings.Join(all, "\n"))
			}
		}
		for _, path := range []string{"/s3}", "/not-there}"} {
			if !once(all, "error "+path) && !strings.Contains(strings.Join(all, "\n"), path) {
				t.Errorf("%s: nothing about %s in\n%s", environment, path, strings.Join(all, "\n"))
			}
		}
		whole := strings.Join(all, "\n")
		if strings.Contains(whole, "IN_A_COMMENT") || strings.Contains(whole, "{env.APP}") {
			t.Errorf("%s: says something of what is in order:\n%s", environment, whole)
		}
		for _, value := range []string{"changeme", "aaaaaaaa", "v7Qd2m", "your region"} {
			if strings.Contains(whole, value) {
				t.Errorf("%s: shows %q:\n%s", environment, value, whole)
			}
		}
	}
	if r := command(t, env, "check", "--config", config, "--env", "moon"); r.code != 2 || !strings.Contains(r.stdout+r.stderr, "production, staging or preview") {
		t.Errorf("an environment that is none: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// What an environment's values are like is one thing, whether others answer another.
func TestCheckForAnEnvironmentAsksWhatIsNeeded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "replicas")
	if err := os.WriteFile(empty, []byte("# none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate, key := oldCertificate(t, "crm.test")
	text := fmt.Sprintf(`{
	admin off
	edge {
		state_dir %q
		pool app {
			discover file %s
			health /healthz {
				version_header X-App-Version
			}
		}
		fleet redis://%s/0
		backup {
			to s3://backups/x {
				endpoint http://%s
				access_key AKIA3ASDKJHASDKJH
				secret_key v7Qd2mXk9LrTz4WbPf
			}
		}
	}
}
https://crm.test {
	tls %s %s
	edge_proxy app
}
https://127.0.0.1 {
	tls internal
	edge_proxy app
}
`, filepath.Join(dir, "state"), empty, freeAddress(t), freeAddress(t), certificate, key)
	config := written(t, text)
	for environment, wanted := range map[string][]string{
		"production": {"error fleet redis://", "error pool app: discovery finds no replica", "error backup to s3://backups/x", "warning backup: no key", "warning control: no token", "warning tls internal", "error certificate "},
		"staging":    {"error fleet redis://", "warning pool app: discovery finds no replica", "error backup to s3://backups/x", "error certificate "},
		"preview":    {"warning fleet redis://", "warning pool app: discovery finds no replica", "warning backup to s3://backups/x"},
	} {
		r := command(t, nil, "check", "--config", config, "--env", environment, "--json")
		all := findings(t, r)
		for _, want := range wanted {
			if !once(all, want) {
				t.Errorf("%s: want one finding %q in\n%s", environment, want, strings.Join(all, "\n"))
			}
		}
		if want := map[bool]int{true: 0, false: 2}[environment == "preview"]; r.code != want {
			t.Errorf("%s: exit %d: want %d\n%s", environment, r.code, want, strings.Join(all, "\n"))
		}
	}
}

// A mistake in the global block hides none in a site, nor one site's another's.
func TestCheckReadsOnAfterAMistake(t *testing.T) {
	t.Parallel()
	config := written(t, fmt.Sprintf(`{
	admin off
	edge {
		state_dir %q
		cach {
		}
		pool app {
			drain soon
		}
	}
}
http://127.0.0.1:1 {
	edge_rules {
		page /* {
			edge sometimes
		}
	}
	edge_cache {
		profile best
	}
}
http://127.0.0.1:2 {
	edge_proxxy app
	edge_rules {
		pge /*
	}
}
`, t.TempDir()))
	r := command(t, nil, "check", "--config", config, "--json")
	all := findings(t, r)
	for _, want := range []string{`error unknown word "cach"`, `error drain "soon"`, `error "sometimes"`, `error "best"`, `error edge_proxxy`, `error "pge"`} {
		if !once(all, want) {
			t.Errorf("want one finding %q in\n%s", want, strings.Join(all, "\n"))
		}
	}
	config = written(t, fmt.Sprintf(`{
	admin off
	edge {
		state_dir %q
		pool app {
			discover static 127.0.0.1:3000
		}
		control {
			token short
		}
	}
}
http://127.0.0.1:1 {
	edge_proxy ap
}
http://127.0.0.1:2 {
	edge_proxy apple
	handle /.edge/* {
		edge_control
	}
}
`, t.TempDir()))
	all = findings(t, command(t, nil, "check", "--config", config, "--json"))
	for _, want := range []string{"error token has 5 characters", `error unknown pool "ap"`, `error unknown pool "apple"`} {
		if !once(all, want) {
			t.Errorf("want one finding %q in\n%s", want, strings.Join(all, "\n"))
		}
	}
}

// The example environments name what the example Caddyfile takes, and nothing in
// them passes for filled in.
func TestTheExampleEnvironments(t *testing.T) {
	t.Parallel()
	used := make(map[string]bool)
	for _, name := range all(`\{(?:env\.|\$)([A-Z_]+)`, regexp.MustCompile(`(?m)^\s*#.*$`).ReplaceAllString(read(t, example), "")) {
		used[name] = true
	}
	for _, environment := range []string{"production", "staging", "preview"} {
		var env, open []string
		for _, found := range regexp.MustCompile(`(?m)^([A-Z_]+)=(.*)$`).FindAllStringSubmatch(read(t, "../../packaging/env/"+environment+".env.example"), -1) {
			env = append(env, found[0])
			if !used[found[1]] {
				t.Errorf("%s: %s is not in the example", environment, found[1])
			}
			if found[2] == "REPLACE" {
				open = append(open, found[1])
			}
		}
		if len(env) != len(used) || len(open) < 3 {
			t.Errorf("%s has %d variables, %d to fill in: want the %d of the example", environment, len(env), len(open), len(used))
		}
		env = append(env, "EDGE_STATE_DIR="+t.TempDir())
		r := command(t, env, "check", "--config", example, "--env", environment, "--json")
		said := findings(t, r)
		for _, name := range open {
			if !once(said, "error {env."+name+"}") {
				t.Errorf("%s: nothing about %s in\n%s", environment, name, strings.Join(said, "\n"))
			}
		}
		if r.code != 2 {
			t.Errorf("%s: exit %d: want 2", environment, r.code)
		}
	}
}
