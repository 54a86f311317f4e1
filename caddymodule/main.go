package caddymodule

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// Main runs the gateway's command line: Caddy's commands and ours. It does not
// return.
func Main() {
	caddy.CustomBinaryName = "edge"
	caddy.CustomLongDescription = longDescription
	version, _ := versions()
	caddy.CustomVersion = "edge " + version + ", Caddy" // whose own version follows
	if code := refuse(os.Args[1:], os.Stderr); code != 0 {
		os.Exit(code)
	}
	if err := inherit(); err != nil {
		fmt.Fprintf(os.Stderr, "edge: %v\n", err)
		os.Exit(1)
	}
	hearInterrupts(os.Args[1:])
	caddycmd.Main()
}

const longDescription = `edge is a deploy-aware caching edge gateway: a build of Caddy that stands
between Cloudflare (or the open internet) and the replicas of a web
application. It balances over replicas that come and go, keeps bad ones away,
caches what may be cached, sets the cache headers that browsers and the CDN
obey, and removes every copy of an old version when a new one is deployed.

Start with:

  edge demo                          the whole system on this machine, alive
  edge run --config Caddyfile        the real thing
  edge check --config Caddyfile      every problem of a configuration at once
  edge status                        pools, replicas, cache, purges
  edge drain --version V             takes the replicas of a version out of use
  edge purge --url URL --wait 60s    what CI calls after a deploy
  edge explain URL                   why a URL was or was not cached
  edge handover                      puts a new binary in charge, without losing a request
  edge backup, edge restore          a copy of what must not be lost, and its way back

All of Caddy's own commands work too.`

// replacing lists Caddy's commands that would put another binary, without our
// modules, in the place of this one.
var replacing = map[string]bool{"upgrade": true, "add-package": true, "remove-package": true}

// refuse says no to the commands that would replace this binary, and how to
// update instead. It returns the exit code, 0 when the command is another one.
func refuse(args []string, stderr io.Writer) int {
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if !replacing[arg] {
			return 0
		}
		fmt.Fprintf(stderr, `edge %s: refused, nothing was changed: it would replace this binary by a stock Caddy without edge's modules.
To update, install a newer release of edge and put it in charge with edge handover; to add a module, add it to xcaddy.json and go.mod and run make build,
or build with xcaddy: xcaddy build --with github.com/edgegw/edge --with MODULE.
`, arg)
		return 2
	}
	return 0
}
