package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/purge/standin"
)

// standinConfig is what edge standin takes; the fields are its flags.
type standinConfig struct {
	listen    string
	tokenFile string
	zones     []string
	plan      string
}

func standinCommand(c *cobra.Command) {
	var s standinConfig
	c.Args = cobra.NoArgs
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "address to serve on; the URL for api_url is printed")
	f.StringVar(&s.tokenFile, "token-file", "", "file with the API token to let in (default: the token in $CLOUDFLARE_API_TOKEN)")
	f.StringArrayVar(&s.zones, "zone", nil, "a zone that it knows, as ID or DOMAIN=ID; may be repeated")
	f.StringVar(&s.plan, "plan", "free", "whose rate limits to keep: free, pro, business or enterprise")
	run(c, func(ctx context.Context, _ []string) int { return runStandin(ctx, s, os.Stdout, os.Stderr) })
}

// runStandin serves until ctx ends.
func runStandin(ctx context.Context, s standinConfig, stdout, stderr io.Writer) int {
	server, listener, err := openStandin(s)
	if err != nil {
		fmt.Fprintf(stderr, "edge standin: %v\n", err)
		return cli.ExitUsage
	}
	fmt.Fprintf(stdout, "api_url   http://%[1]s/client/v4\ncalls     http://%[1]s/standin/calls\nfail next curl -X POST 'http://%[1]s/standin/fail?fault=429&n=3'\n", listener.Addr())
	h := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = h.Close() }) // its error says only that it was closed before
	defer stop()
	if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintf(stderr, "edge standin: %v\n", err)
		return 1
	}
	return 0
}

func openStandin(s standinConfig) (*standin.Server, net.Listener, error) {
	token := os.Getenv("CLOUDFLARE_API_TOKEN")
	if s.tokenFile != "" {
		text, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return nil, nil, err
		}
		token = string(text)
	}
	o := standin.Options{Token: strings.TrimSpace(token), Plan: s.plan}
	for _, zone := range s.zones {
		name, id, named := strings.Cut(zone, "=")
		if !named {
			name, id = "example.com", zone
		}
		o.Zones = append(o.Zones, standin.Zone{ID: id, Name: name})
	}
	if len(o.Zones) == 0 {
		return nil, nil, errors.New("got no --zone: want at least one, as ID or DOMAIN=ID")
	}
	server, err := standin.New(o)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", s.listen)
	return server, listener, err
}
