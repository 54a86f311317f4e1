package peers

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	cache := Way{Name: "cache", About: "its built-in VCL, objects in memory", Kind: workloads.Hit, Configure: varnishCache}
	register(Peer{
		Name:    "varnish",
		Build:   func(context.Context, string) (string, error) { return Find("varnishd", "varnish") },
		Version: varnishVersion,
		Ways: []Way{
			cache, mixed(cache),
			{Name: "pass", About: "every request passed on", Kind: workloads.Pass, Configure: varnishPass},
		},
	})
}

// varnishVersion reads "varnishd (varnish-7.1.1 revision …)".
func varnishVersion(ctx context.Context, binary string) (string, error) {
	return versionAfter(ctx, "varnishd (varnish-", binary, "-V")
}

func varnishCache(s Setup) Config { return varnishConfig(s, "") }

func varnishPass(s Setup) Config {
	return varnishConfig(s, "\nsub vcl_recv {\n\treturn (pass);\n}\n")
}

// varnishConfig has one pool of threads, as its manual advises for one core,
// and jails nothing: the folder is closed to Varnish's own user.
func varnishConfig(s Setup, vcl string) Config {
	host, port, _ := net.SplitHostPort(s.Origin) // as the stand has chosen it
	return Config{
		File: "bench.vcl",
		Text: fmt.Sprintf("vcl 4.1;\n\nbackend default {\n\t.host = \"%s\";\n\t.port = \"%s\";\n}\n%s", host, port, vcl),
		Args: []string{
			"-F", "-j", "none", "-a", s.Listen, "-f", filepath.Join(s.Dir, "bench.vcl"), "-n", filepath.Join(s.Dir, "varnish"),
			"-s", "malloc,256m", "-p", "thread_pools=1",
		},
	}
}
