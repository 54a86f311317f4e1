package peers

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	register(Peer{
		Name: "souin",
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, "peers/souin", ".", filepath.Join(dir, "souin"))
		},
		Version: souinVersion,
		Ways: []Way{
			{Name: "cache", About: "Caddy's cache-handler, which is Souin, objects in the storage it has by itself", Kind: workloads.Hit, Configure: souinCache},
		},
	})
}

// souinVersion names the cache, its engine and the Caddy they are in.
func souinVersion(_ context.Context, binary string) (string, error) {
	versions, golang, err := builtWith(binary,
		"github.com/caddyserver/cache-handler", "github.com/darkweak/souin", caddyModule)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("cache-handler %s with Souin %s, on Caddy %s, built with %s", versions[0], versions[1], versions[2], golang), nil
}

// souinCache leaves everything at its default, the storage among it, which Souin calls
// one for development: others are modules of their own.
func souinCache(s Setup) Config { return caddyfile(s, "\tcache\n", "\tcache\n"+reverseProxy(s)) }
