package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/backup"
)

// elsewhere are the programs whose lines are not run here, each with why.
var elsewhere = map[string]string{
	"go":         "builds what this test has built, or runs what others test",
	"make":       "does what others test",
	"docker":     "wants an engine of containers",
	"kubectl":    "wants a cluster",
	"systemctl":  "wants a machine that systemd runs",
	"journalctl": "wants a machine that systemd runs",
	"railway":    "wants an account",
	"git":        "wants a clone with a remote",
	"sudo":       "wants rights over the machine",
	"redis-cli":  "wants a Redis of the example: TestReplicasAnnounceThemselvesInRedis of internal/lb, TestAFleetOverTLSWithFewRights of internal/fleet",
	"openssl":    "asks for a certificate that the example's host has",
	"dmesg":      "wants rights over the machine",
	"cosign":     "wants a release that was published",
	"gh":         "wants a release that was published",
}

// notHere are lines that cannot be run in this test's world, each with why.
var notHere = map[string]string{
	"README.md: cp Caddyfile.example Caddyfile     # annotated; change names and paths":                                                                                     "would put another file in the place of the world's: TestTheExampleRuns",
	"README.md: bin/edge run --config Caddyfile":                                                                                                                            "runs until it is stopped: TestTheExampleRuns",
	"docs/backup.md: edge restore --config Caddyfile && edge run --config Caddyfile":                                                                                        "wants a node that is lost: TestADestroyedNodeIsRestored",
	"docs/backup.md: edge restore --config Caddyfile                      # the newest one":                                                                                 "wants a gateway that is stopped: TestADestroyedNodeIsRestored",
	"docs/backup.md: edge restore --backup NAME --force --config Caddyfile":                                                                                                 "wants a gateway that is stopped: TestADestroyedNodeIsRestored",
	"docs/backup.md: edge restore --from s3://backups/crm --endpoint https://s3.example.com --key-file edge_backup_key  \t--state-dir /var/lib/edge --config-dir /etc/edge": "wants a bucket: TestADestroyedNodeIsRestored",
	"docs/disaster-recovery.md: edge restore --config Caddyfile && edge run --config Caddyfile":                                                                             "wants a node that is lost: TestADestroyedNodeIsRestored",
	"docs/control-api.md: CLOUDFLARE_API_TOKEN=any-token edge standin --zone 023e105f4ecef8ad9ca31a8372d0c353 --plan free":                                                  "runs until it is stopped: internal/purge/standin has its tests",
	"docs/release.md: sha256sum --check --ignore-missing SHA256SUMS":                                                                                                        "wants a release: TestAReleaseIsWhatItSays of packaging",
	"docs/release.md: sha256sum dist/v1.2.0/edge_1.2.0_linux_amd64.tar.gz":                                                                                                  "wants a release: TestAReleaseIsWhatItSays of packaging",
	"docs/rollback.md: edge deploy --version \"$OLD\" --verify https://crm.example.com/ --timeout 15m":                                                                      "wants a rollback: TestRollingDeploys",
	"docs/rollback.md: edge drain --version \"$NEW\" --wait 30s":                                                                                                            "wants replicas of two versions: TestDrain",
	"docs/rollback.md: edge drain --version \"$NEW\" --undo":                                                                                                                "wants replicas of two versions: TestDrain",
}

// commandLine is one line of a document that somebody would type.
type commandLine struct {
	page, text string
	prints     []string // what the document has it print, for a block console
}

// commandLines are those of all blocks of shell in README.md, docs and packaging: all
// lines of a block sh, and those with a prompt of any other.
func commandLines(t *testing.T) (lines []commandLine) {
	t.Helper()
	block := regexp.MustCompile("(?ms)^[ \t]*```(\\w*)\n(.*?)^[ \t]*```")
	loop := regexp.MustCompile(`(?ms)^for [^\n]*; do\n.*?^done`)
	take := func(path string) {
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		for _, found := range block.FindAllStringSubmatch(read(t, path), -1) {
			text := loop.ReplaceAllStringFunc(strings.ReplaceAll(found[2], "\\\n", " "), func(loop string) string {
				return strings.ReplaceAll(strings.Replace(loop, "do\n", "do ", 1), "\n", "; ")
			})
			for _, line := range strings.Split(text, "\n") {
				line = strings.TrimSpace(line)
				typed, prompt := strings.CutPrefix(line, "$ ")
				isShell := found[1] == "sh" || found[1] == "bash"
				switch {
				case typed == "" || strings.HasPrefix(typed, "#"):
				case prompt || isShell:
					lines = append(lines, commandLine{page: name, text: typed})
				case found[1] == "console" && len(lines) > 0:
					last := &lines[len(lines)-1]
					last.prints = append(last.prints, typed)
				}
			}
		}
	}
	take("../../README.md")
	for _, folder := range []string{"../../docs", "../../packaging"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".md") {
				take(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// programs are those that a line of shell calls.
func (l commandLine) programs() (names []string) {
	unquoted := regexp.MustCompile(`'[^']*'|"[^"]*"`).ReplaceAllString(l.text, "x")
	unquoted, _, _ = strings.Cut(unquoted, " #")
	for _, part := range regexp.MustCompile(`\|\||&&|[|;]|\$\(`).Split(unquoted, -1) {
		for _, word := range strings.Fields(part) {
			if !strings.Contains(word, "=") && word != "exec" && word != "!" {
				names = append(names, filepath.Base(strings.Trim(word, ")")))
				break
			}
		}
	}
	return names
}

// documentWorld is a gateway of which the documents' commands are true: its Caddyfile
// stands in the folder in which they are typed.
func documentWorld(t *testing.T) (g *gateway, folder string, words *strings.Replacer) {
	t.Helper()
	key, err := backup.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	replica := "127.0.0.1:" + startSample(t, "v43")
	g = configure(t, replica, fmt.Sprintf("backup {\nto %s\nkey {env.BACKUP_KEY}\n}", t.TempDir()))
	g.env = []string{"BACKUP_KEY=" + strings.TrimSpace(key)}
	folder = filepath.Dir(g.config)
	text := strings.Replace(read(t, g.config), "\tedge_rules {\n", fmt.Sprintf("\tlog {\n\t\toutput file %q\n\t}\n\tedge_rules {\n", filepath.Join(folder, "access.log")), 1)
	for name, content := range map[string]string{"Caddyfile": text, "Caddyfile.example": read(t, example), "candidate": text, "production.env": "", "edge_backup_key": key} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(folder, "bin", "edge")); err != nil {
		t.Fatal(err)
	}
	packagingIn(t, folder)
	g.start()
	g.page("/contacts")
	admin := all(`(?m)^\tadmin (\S+)`, text)[0]
	words = strings.NewReplacer("--prefix crm.example.com", "--prefix crm.example.com", "https://crm.example.com", g.url, "crm.example.com", strings.TrimPrefix(g.url, "http://"), "http://localhost:2019", "http://"+admin,
		"http://REPLICA:PORT", "http://"+replica, "EDGE_STATE_DIR", "EDGE_STATE_DIR", "STATE_DIR", g.stateDir, "/usr/local/share/man/man8", filepath.Join(folder, "man8"),
		"/etc/bash_completion.d/edge", filepath.Join(folder, "completion"), "EDGE_TOKEN=…", "EDGE_TOKEN="+controlToken, "/var/lib/edge", filepath.Join(folder, "restored"),
		"/etc/edge", filepath.Join(folder, "etc"), " URL", " "+g.url+"/contacts", "--version V ", "--version v43 ",
		"edge reload ", "edge reload --address "+admin+" ")
	return g, folder, words
}

// script runs the line as the number-th of its page, and tells its exit code.
func (l commandLine) script(words *strings.Replacer, number int) string {
	text := l.text
	if l.isDeployment() {
		text = guideWords.Replace(text)
	}
	text = words.Replace(text)
	return fmt.Sprintf("%s\ncode=$?; echo \"@@ %d $code\" >&2; echo \"@@ %[2]d 0\"\n", text, number)
}

// beginning is what the lines of an output have in common, whatever the names and
// numbers in them: the words before a number, a colon, or the next column.
var beginning = regexp.MustCompile(`^[^\d:]*?[^\d: ](?:  |:|\d|$)`)

// differs says what the document has the line print and the program does not.
func (l commandLine) differs(output string) (missing []string) {
	for _, line := range l.prints {
		if words := strings.TrimRight(beginning.FindString(line), " :0123456789"); words != "" && !strings.Contains(output, words) {
			missing = append(missing, line)
		}
	}
	return missing
}

// Every command that a document tells somebody to type can be typed: it is run as it
// stands, but for addresses, or named above with why not.
func TestTheCommandsOfDocumentsRun(t *testing.T) {
	t.Parallel()
	g, folder, words := documentWorld(t)
	left := make(map[string]bool)
	pages := make(map[string][]commandLine)
	for _, line := range commandLines(t) {
		name := line.page + ": " + line.text
		away := func(program string) bool {
			return elsewhere[program] != "" && !(line.isDeployment() && slices.Contains(standIns, program))
		}
		switch {
		case notHere[name] != "" || notDeployed[name] != "":
			left[name] = true
		case slices.ContainsFunc(line.programs(), away):
		default:
			pages[line.page] = append(pages[line.page], line)
		}
	}
	ran := 0
	for page, lines := range pages {
		ran += len(lines)
		g.page("/contacts") // some page's commands have purged it
		for _, failed := range typeIn(t, g, folder, words, lines) {
			t.Errorf("%s: %s", page, failed)
		}
	}
	if ran < 120 {
		t.Errorf("ran %d lines: want those of all pages", ran)
	}
	for _, list := range []map[string]string{notHere, notDeployed} {
		for name, why := range list {
			if !left[name] {
				t.Errorf("no document has %q any more, which is not run since it %s", name, why)
			}
		}
	}
}

// typeIn types lines one after the other, and tells of those that failed.
func typeIn(t *testing.T, g *gateway, folder string, words *strings.Replacer, lines []commandLine) (failed []string) {
	t.Helper()
	script := ""
	if lines[0].isDeployment() {
		script = read(t, "testdata/deployment.sh")
	}
	for n, line := range lines {
		script += line.script(words, n)
	}
	c := exec.Command("bash", "-c", script)
	c.Dir = folder
	c.Env = append([]string{
		"PATH=" + filepath.Join(folder, "bin") + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NEW=v43", "OLD=v42",
		"EDGE_SERVER=" + g.url + "/.edge", "EDGE_TOKEN=" + controlToken,
	}, g.env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	_ = c.Run() // each line has a code of its own
	part := regexp.MustCompile(`(?s)(.*?)@@ (\d+) (\d+)\n`)
	codes, outputs := part.FindAllStringSubmatch(stderr.String(), -1), part.FindAllStringSubmatch(stdout.String(), -1)
	if len(codes) != len(lines) || len(outputs) != len(lines) {
		return []string{fmt.Sprintf("%d of %d lines came to an end:\n%s", len(codes), len(lines), stderr.String())}
	}
	for n, code := range codes {
		nothing := strings.Contains(lines[n].text, "grep") && code[3] == "1" && !lines[n].isDeployment() // was there to be found
		if code[3] != "0" && !nothing {
			failed = append(failed, fmt.Sprintf("%s: exit %s\n%s", lines[n].text, code[3], code[1]))
		}
		if missing := lines[n].differs(outputs[n][1]); len(missing) > 0 {
			failed = append(failed, fmt.Sprintf("%s prints nothing like\n%s\nbut\n%s", lines[n].text, strings.Join(missing, "\n"), outputs[n][1]))
		}
	}
	return failed
}
