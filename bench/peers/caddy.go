package peers

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/workloads"
)

// caddyModule is the dependency that stock Caddy and edge have in common.
const caddyModule = "github.com/caddyserver/caddy/v2"

func init() {
	respond := Way{Name: "respond", About: "respond, a literal in the configuration", Kind: workloads.Hit, Configure: caddyRespond}
	register(Peer{
		Name: "caddy",
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, ".", "./peers/stockcaddy", filepath.Join(dir, "caddy"))
		},
		Version: func(_ context.Context, binary string) (string, error) {
			caddy, golang, err := caddyVersion(binary)
			return fmt.Sprintf("%s, standard modules, built with %s", caddy, golang), err
		},
		Ways: []Way{
			respond, secure(respond), quic(respond),
			{Name: "reverse_proxy", About: "reverse_proxy, 256 idle connections kept", Kind: workloads.Pass, Configure: caddyProxy},
		},
	})
}

// caddyVersion reads which Caddy and which Go a program was built with.
func caddyVersion(binary string) (caddy, golang string, err error) {
	versions, golang, err := builtWith(binary, caddyModule)
	if err != nil {
		return "", "", err
	}
	return versions[0], golang, nil
}

// builtWith reads the versions of some modules in a program, and which Go it was built
// with.
func builtWith(binary string, modules ...string) (versions []string, golang string, err error) {
	info, err := builtFrom(binary)
	if err != nil {
		return nil, "", err
	}
	for _, module := range modules {
		i := slices.IndexFunc(info.Deps, func(dep *debug.Module) bool { return dep.Path == module })
		if i < 0 {
			return nil, "", fmt.Errorf("%s was built without %s", binary, module)
		}
		versions = append(versions, info.Deps[i].Version)
	}
	return versions, info.GoVersion, nil
}

// caddyRespond is the least that Caddy does for an answer from memory.
func caddyRespond(s Setup) Config {
	var b strings.Builder
	for _, size := range s.Sizes {
		fmt.Fprintf(&b, "\trespond %s %s\n", object.Path(size), object.Body(size))
	}
	return caddyfile(s, "", b.String())
}

func caddyProxy(s Setup) Config { return caddyfile(s, "", reverseProxy(s)) }

// reverseProxy keeps more idle connections than the load has, as anyone who
// measures would; of the default, 32 to a host, half would be dialled anew.
func reverseProxy(s Setup) string {
	return fmt.Sprintf(`	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
`, s.Origin)
}

// protocols of a server with TLS: HTTP/3 where that is asked for alone.
const protocols = "\tservers {\n\t\tprotocols h1 h2\n\t}\n"

// caddyfile is the configuration of one site, of stock Caddy or of edge. With
// TLS it has TLS 1.3, where Go takes the cipher that the others are told to.
func caddyfile(s Setup, global, site string) Config {
	address := "http://" + s.Listen
	if s.Secure {
		address = "https://" + s.Listen
		site = fmt.Sprintf("\ttls %[1]s/cert.pem %[1]s/key.pem {\n\t\tprotocols tls1.3\n\t}\n", s.Dir) + site
		global = "\tauto_https off\n" + protocols + global
		if s.Quic {
			global = strings.Replace(global, "h1 h2", "h1 h2 h3", 1)
		}
	}
	return Config{
		File: "Caddyfile",
		Text: fmt.Sprintf(`{
	admin off
	persist_config off
	log {
		level ERROR
	}
%s}

%s {
%s}
`, global, address, site),
		Args: []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(s.Dir, "Caddyfile")},
		Env:  []string{"GOMAXPROCS=1"}, // one core, as nginx has one worker
	}
}
