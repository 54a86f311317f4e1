package peers

import (
	"context"
	"fmt"
	"path/filepath"
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
			respond, secure(respond),
			{Name: "reverse_proxy", About: "reverse_proxy, 256 idle connections kept", Kind: workloads.Pass, Configure: caddyProxy},
		},
	})
}

// caddyVersion reads which Caddy and which Go a program was built with.
func caddyVersion(binary string) (caddy, golang string, err error) {
	info, err := builtFrom(binary)
	if err != nil {
		return "", "", err
	}
	for _, dep := range info.Deps {
		if dep.Path == caddyModule {
			return dep.Version, info.GoVersion, nil
		}
	}
	return "", "", fmt.Errorf("%s was built without %s", binary, caddyModule)
}

// caddyRespond is the least that Caddy does for an answer from memory.
func caddyRespond(s Setup) Config {
	var b strings.Builder
	for _, size := range s.Sizes {
		fmt.Fprintf(&b, "\trespond %s %s\n", object.Path(size), object.Body(size))
	}
	return caddyfile(s, "", b.String())
}

// caddyProxy keeps more idle connections than the load has, as anyone who
// measures would; of the default, 32 to a host, half would be dialled anew.
func caddyProxy(s Setup) Config {
	return caddyfile(s, "", fmt.Sprintf(`	reverse_proxy %s {
		transport http {
			keepalive_idle_conns_per_host 256
		}
	}
`, s.Origin))
}

// protocols of a server with TLS: no HTTP/3, which nobody here speaks.
const protocols = "\tservers {\n\t\tprotocols h1 h2\n\t}\n"

// caddyfile is the configuration of one site, of stock Caddy or of edge. With
// TLS it has TLS 1.3, where Go takes the cipher that the others are told to.
func caddyfile(s Setup, global, site string) Config {
	address := "http://" + s.Listen
	if s.Secure {
		address = "https://" + s.Listen
		site = fmt.Sprintf("\ttls %[1]s/cert.pem %[1]s/key.pem {\n\t\tprotocols tls1.3\n\t}\n", s.Dir) + site
		global = "\tauto_https off\n" + protocols + global
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
