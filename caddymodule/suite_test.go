package caddymodule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// suiteFolder holds the public suite as npm has it, and the verdicts that are
// expected of each profile.
const suiteFolder = "testdata/suite"

// suitePool has the suite's origin for a replica. Its scripts hang up and fail
// on purpose, so nothing may set it aside or ask it again.
const suitePool = `pool app {
	discover static %s
	breaker {
		consecutive none
		failure_ratio 100%%
		min_requests 1000000
	}
	retry {
		attempts none
	}
	queue {
		max_inflight none
	}
}`

// The public HTTP cache test suite (cache-tests.fyi) against both profiles, and
// against the default one with all that is there to be fast: it must not change a
// verdict. Every second request is traced; the others may be answered on the
// connection. The suite waits some three seconds in most of its tests, so all go
// side by side.
func TestPublicSuite(t *testing.T) {
	took := startCollector(t)
	origin := startSuiteOrigin(t)
	e := newEdge(t)
	plain, fast := freeAddress(t), freeAddress(t)
	contestants := map[string]struct{ profile, url string }{
		"conformance": {"conformance", e.URL}, "default": {"default", "http://" + plain}, "default, fast": {"default", "http://" + fast},
	}
	port := strings.TrimPrefix(fast, "127.0.0.1")
	config := e.caddyfile("tracing {\n\trequests 50%\n}\n"+fmt.Sprintf(suitePool, origin), "edge_cache {\n\tprofile conformance\n}\nedge_proxy app\n")
	config = strings.Replace(config, "\tservers {", "\tservers "+port+" {\n\t\tlistener_wrappers {\n\t\t\tedge\n\t\t\ttls\n\t\t\tedge_hits\n\t\t}\n\t}\n\tservers {", 1)
	for _, site := range []string{"http://" + plain, "http://" + port} {
		config += site + " {\n\tedge_cache\n\tedge_proxy app\n}\n"
	}
	if err := e.loadText(config); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for name, c := range contestants {
		expected := readExpectations(t, c.profile)
		all.Go(func() {
			tests, err := runSuite(t.Context(), c.url)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			verdicts := verdictsOf(tests)
			if *update && name == c.profile {
				writeExpectations(t, c.profile, tests, verdicts)
				return
			}
			for _, complaint := range compare(tests, verdicts, expected) {
				t.Errorf("%s: %s", name, complaint)
			}
		})
	}
	all.Wait()
	eventually(t, "many requests of the suite are traced", func() bool { return len(took.Spans()) > 1000 })
}

// suiteScript is a script of the suite, in its folder.
func suiteScript(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "node", append([]string{name}, args...)...)
	command.Dir = suiteFolder
	return command
}

// startSuiteOrigin runs the suite's own origin until the test ends.
func startSuiteOrigin(t *testing.T) (address string) {
	t.Helper()
	var complaints strings.Builder
	command := suiteScript(context.Background(), "origin.mjs") // ends with its input
	command.Stderr = &complaints
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%v: want Node.js; make tools installs it", err)
	}
	t.Cleanup(func() {
		_ = in.Close() // an origin that ended by itself has failed the test already
		_ = command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = in.Close()
		_ = command.Wait() // so that it has written all it has to say
		t.Fatalf("the suite's origin gave no address: is the suite installed (make tools)?\n%s", complaints.String())
	}
	return strings.TrimSpace(line)
}

// runSuite plays the suite against the cache at the URL.
func runSuite(ctx context.Context, url string) ([]suiteTest, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	out, err := suiteScript(ctx, "client.mjs", url).Output()
	if exit, ok := err.(*exec.ExitError); ok {
		return nil, fmt.Errorf("the suite's client: %w\n%s", err, exit.Stderr)
	} else if err != nil {
		return nil, err
	}
	var tests []suiteTest
	if err := json.Unmarshal(out, &tests); err != nil {
		return nil, fmt.Errorf("the suite's client: %w", err)
	}
	return tests, nil
}
