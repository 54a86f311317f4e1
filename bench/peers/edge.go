package peers

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	cache := Way{Name: "cache", About: "edge_rules, edge_cache and edge_proxy", Kind: workloads.Hit, Configure: edgeCache}
	hits := Way{Name: "hits", About: "the same, with the listener wrapper edge_hits", Kind: workloads.Hit, Configure: edgeHits}
	register(Peer{
		Name: "edge",
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, "..", "./cmd/edge", filepath.Join(dir, "edge"))
		},
		Version: edgeVersion,
		Ways: []Way{
			cache, hits, secure(cache), quic(cache), secure(hits), mixed(cache), mixed(hits),
			{Name: "proxy", About: "edge_proxy alone", Kind: workloads.Pass, Configure: edgeProxy},
			{Name: "chain", About: "edge_rules with private, edge_cache and edge_proxy", Kind: workloads.Pass, Configure: edgeChain},
		},
	})
}

// edgeVersion names the commit, since what is compared has rarely been tagged.
func edgeVersion(ctx context.Context, binary string) (string, error) {
	caddy, golang, err := caddyVersion(binary)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s on Caddy %s, built with %s", revision(ctx), caddy, golang), nil
}

// revision of the checkout; outside of one there is none to name.
func revision(ctx context.Context) string {
	commit, err := exec.CommandContext(ctx, "git", "-C", "..", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unversioned sources"
	}
	text := "commit " + strings.TrimSpace(string(commit))
	// Only what is built counts: results and documents change nothing.
	changed, err := exec.CommandContext(ctx, "git", "-C", "..", "status", "--porcelain", "--", "*.go", "go.mod", "go.sum", ":!bench").Output()
	if err != nil || len(changed) > 0 {
		text += " with changes"
	}
	return text
}

func edgeCache(s Setup) Config {
	return edgeConfig(s, `	edge_rules {
		page /* {
			edge 1h
		}
	}
	edge_cache
	edge_proxy app
`)
}

func edgeHits(s Setup) Config {
	c := edgeCache(s)
	const wrappers = `		listener_wrappers {
			edge
			tls
			edge_hits
		}
	}
`
	if s.Secure {
		c.Text = strings.Replace(c.Text, protocols, strings.TrimSuffix(protocols, "\t}\n")+wrappers, 1)
		return c
	}
	c.Text = strings.Replace(c.Text, "\tedge {\n", "\tservers {\n"+wrappers+"\tedge {\n", 1)
	return c
}

func edgeProxy(s Setup) Config { return edgeConfig(s, "\tedge_proxy app\n") }

func edgeChain(s Setup) Config {
	return edgeConfig(s, `	edge_rules {
		private /*
	}
	edge_cache
	edge_proxy app
`)
}

// edgeConfig leaves everything at its default, health checks among it, but for
// the announcement of its end, for which nobody here waits. There is no control
// API on the site, so it needs no token.
func edgeConfig(s Setup, site string) Config {
	return caddyfile(s, fmt.Sprintf(`	edge {
		state_dir %s
		pool app {
			discover static %s
		}
		stop {
			announce 1ms
		}
	}
`, filepath.Join(s.Dir, "state"), s.Origin), site)
}
