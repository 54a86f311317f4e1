package caddymodule

import (
	"regexp"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// example is what edge help shows in the place of Caddy's own.
const example = `  $ edge run --config Caddyfile
  $ edge reload --config Caddyfile
  $ edge stop`

// register adds commands, and fits those that were there before, Caddy's own, to this
// binary. Caddy tells nobody of the command that they belong to; but each of ours has
// become its child when the next one is made.
func register(commands []caddycmd.Command) {
	first := new(cobra.Command)
	for i, c := range commands {
		fill := c.CobraFunc
		c.CobraFunc = func(made *cobra.Command) {
			fill(made)
			switch i {
			case 0:
				first = made
			case len(commands) - 1:
				root := first.Root()
				root.Example = example
				inOurName(root)
				readAsChecked(root)
			}
		}
		caddycmd.RegisterCommand(c)
	}
}

// inOurName has the texts of all commands call this binary by its name.
func inOurName(root *cobra.Command) {
	var names []string
	for _, c := range root.Commands() {
		names = append(names, regexp.QuoteMeta(c.Name()))
	}
	called := regexp.MustCompile(`\bcaddy (` + strings.Join(names, "|") + `)\b`)
	rename := func(text *string) { *text = called.ReplaceAllString(*text, "edge $1") }
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		rename(&c.Short)
		rename(&c.Long)
		rename(&c.Example)
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(root)
}
