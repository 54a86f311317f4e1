package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/edgegw/edge/bench/peers"
)

// Commands runs edge's commands against gateways, and holds their exit codes
// against what they print. It is safe for concurrent use.
type Commands struct {
	// Binary is edge's, Dir a folder that is the commands' home.
	Binary, Dir string
	// Token is that of the control API.
	Token string

	mu    sync.Mutex
	exits map[string]map[int]int
	lies  []string
}

// printed is what a command said, as far as its truth can be told from it.
type printed struct {
	Exit  int
	State string
	Error string
}

// honest are the exit codes that a command may end with, whatever is broken: done,
// not yet or not everywhere, rate limited, not rolled out, unreachable.
var honest = map[string][]int{"purge": {0, 4, 5, 8}, "deploy": {0, 4, 5, 7, 8}}

// Run runs a command against the gateway at a URL, and returns its exit code.
func (c *Commands) Run(ctx context.Context, url string, args ...string) (int, error) {
	run := exec.CommandContext(ctx, c.Binary, append(args, "--json")...)
	run.Env = peers.Environment(c.Dir, "EDGE_SERVER="+url+"/.edge", "EDGE_TOKEN="+c.Token)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	err := run.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	code := run.ProcessState.ExitCode()
	var said printed
	parsed := json.Unmarshal(stdout.Bytes(), &said)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exits == nil {
		c.exits = make(map[string]map[int]int)
	}
	if c.exits[args[0]] == nil {
		c.exits[args[0]] = make(map[int]int)
	}
	c.exits[args[0]][code]++
	if why := untrue(args[0], code, said, parsed); why != "" {
		c.lies = append(c.lies, fmt.Sprintf("edge %s at %s: %s\n%s\n%s", strings.Join(args, " "), url, why, stdout.Bytes(), stderr.Bytes()))
	}
	return code, nil
}

// Exits counts the commands by name and exit code. It is for when all have ended.
func (c *Commands) Exits() map[string]map[int]int { return c.exits }

// Lies are the exit codes that were not true. It is for when all have ended.
func (c *Commands) Lies() []string { return c.lies }

// ExitTable is what Exits counted, in Markdown.
func ExitTable(exits map[string]map[int]int) string {
	var b strings.Builder
	b.WriteString("| command | exit code | times |\n| --- | --: | --: |\n")
	for _, command := range slices.Sorted(maps.Keys(exits)) {
		for _, code := range slices.Sorted(maps.Keys(exits[command])) {
			fmt.Fprintf(&b, "| `edge %s` | %d | %d |\n", command, code, exits[command][code])
		}
	}
	return b.String()
}

// untrue says in which way an exit code and a report contradict each other, or
// the situation; "" if they do not.
func untrue(command string, code int, said printed, parsed error) string {
	switch {
	case !slices.Contains(honest[command], code):
		return fmt.Sprintf("exit %d: want one of %v", code, honest[command])
	case parsed != nil:
		return fmt.Sprintf("exit %d, and no JSON: %v", code, parsed)
	case said.Exit != code:
		return fmt.Sprintf("exit %d, and %d in JSON", code, said.Exit)
	case code == 0 && (said.State != "done" || said.Error != ""):
		return fmt.Sprintf("exit 0, and state %q, %q", said.State, said.Error)
	case code != 0 && said.State == "done":
		return fmt.Sprintf("exit %d, and state done", code)
	}
	return ""
}
