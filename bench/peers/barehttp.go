package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/edgegw/edge/bench/workloads"
)

func init() {
	answer := Way{Name: "answer", About: "net/http alone (over QUIC: quic-go), a handler that writes from memory", Kind: workloads.Hit, Configure: bareHTTP}
	register(Peer{
		Name: "barehttp",
		Build: func(ctx context.Context, dir string) (string, error) {
			return goBuild(ctx, ".", "./peers/barehttp", filepath.Join(dir, "barehttp"))
		},
		Version: func(_ context.Context, binary string) (string, error) {
			versions, golang, err := builtWith(binary, "github.com/quic-go/quic-go")
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("net/http of %s, quic-go %s", golang, versions[0]), nil
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
