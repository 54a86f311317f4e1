package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/edgegw/edge/bench/workloads"
)

const quicModule = "github.com/quic-go/quic-go"

func init() {
	answer := Way{Name: "answer", About: "net/http alone (over QUIC: quic-go), a handler that writes from memory", Kind: workloads.Hit, Configure: bareHTTP}
	register(Peer{
		Name: "barehttp",
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, ".", "./peers/barehttp", filepath.Join(dir, "barehttp"))
		},
		Version: func(_ context.Context, binary string) (string, error) {
			info, err := builtFrom(binary)
			if err != nil {
				return "", err
			}
			for _, dep := range info.Deps {
				if dep.Path == quicModule {
					return fmt.Sprintf("net/http of %s, quic-go %s", info.GoVersion, dep.Version), nil
				}
			}
			return "", fmt.Errorf("%s was built without %s", binary, quicModule)
		},
		Ways: []Way{answer, secure(answer), quic(answer)},
	})
}

func bareHTTP(s Setup) Config {
	values := map[string]any{"listen": s.Listen, "sizes": s.Sizes}
	if s.Secure {
		values["certificate"], values["key"] = filepath.Join(s.Dir, "cert.pem"), filepath.Join(s.Dir, "key.pem")
	}
	if s.Quic {
		values["quic"] = true
	}
	text, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		panic(err) // of texts and numbers: it cannot be
	}
	return Config{
		File: "barehttp.json", Text: string(text) + "\n",
		Args: []string{"-config", filepath.Join(s.Dir, "barehttp.json")},
		Env:  []string{"GOMAXPROCS=1"},
	}
}
