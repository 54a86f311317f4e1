package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// binary is edge, built once for all tests of this package.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "edge-binary-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "edge")
	build := exec.Command("go", "build", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	// Most tests wait: for leases, deadlines and alerts. Those that do at the same
	// time share the machine well; -parallel says otherwise.
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// ran is what a command did.
type ran struct {
	code           int
	stdout, stderr string
}

// command runs edge with the arguments and an environment of its own.
func command(t *testing.T, env []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("edge %s: %v", strings.Join(args, " "), err)
	}
	return ran{code: c.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

func TestCommandsThatWouldReplaceTheBinaryRefuse(t *testing.T) {
	before, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"upgrade"}, {"add-package", "github.com/mholt/caddy-l4"}, {"remove-package", "x"}, {"--help", "upgrade"}} {
		r := command(t, nil, args...)
		if r.code != 2 || !strings.Contains(r.stderr, "To update") {
			t.Errorf("edge %s: exit %d, %q: want 2, and how to update", strings.Join(args, " "), r.code, r.stderr)
		}
	}
	after, err := os.ReadFile(binary)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the binary changed: %v", err)
	}
}

func TestHelpNamesOurCommands(t *testing.T) {
	r := command(t, nil, "help")
	for _, word := range []string{"edge demo", "purge", "status", "explain", "replay", "drain", "check", "standin", "deploy", "deploys", "reverse-proxy"} {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("edge help does not mention %q", word)
		}
	}
	r = command(t, nil, "purge", "--help")
	for _, word := range []string{"--tag", "--url", "--prefix", "--host", "--version", "--everything", "--soft", "--hard", "--expect", "--wait",
		"--verify", "--dry-run", "--json", "--idempotency-key", "--server", "--token-file", "--cancel", "7  the replicas did not reach"} {
		if !strings.Contains(r.stdout, word) {
			t.Errorf("edge purge --help does not mention %q", word)
		}
	}
}
