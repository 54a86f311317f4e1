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
	"github.com/edgegw/edge/internal/purge/standin/cdn"
)

// standinConfig is what edge standin takes; the fields are its flags.
type standinConfig struct {
	listen    string
	tokenFile string
	zones     []string
	plan      string
	// origins are the gateways that its data centres cache for; none: only the
	// API is there.
	origins []string
	spread  time.Duration
}

func standinCommand(c *cobra.Command) {
	var s standinConfig
	c.Args = cobra.NoArgs
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "address to serve on; the URL for api_url is printed")
	f.StringVar(&s.tokenFile, "token-file", "", "file with the API token to let in (default: the token in $CLOUDFLARE_API_TOKEN)")
	f.StringArrayVar(&s.zones, "zone", nil, "a zone that it knows, as ID or DOMAIN=ID; may be repeated")
	f.StringVar(&s.plan, "plan", "free", "whose rate limits to keep: free, pro, business or enterprise")
	f.StringArrayVar(&s.origins, "origin", nil, "URL of a gateway: two data centres then cache what it answers, until it is purged; may be repeated for one site on several")
	f.DurationVar(&s.spread, "spread", 150*time.Millisecond, "how long after its acceptance a purge has reached all data centres")
	run(c, func(ctx context.Context, _ []string) int { return runStandin(ctx, s, os.Stdout, os.Stderr) })
}

// runStandin serves until ctx ends.
func runStandin(ctx context.Context, s standinConfig, stdout, stderr io.Writer) int {
	places, closed, err := openStandin(s)
	if err != nil {
		fmt.Fprintf(stderr, "edge standin: %v\n", err)
		return cli.ExitUsage
	}
	defer closed()
	fmt.Fprintf(stdout, "api_url   http://%[1]s/client/v4\ncalls     http://%[1]s/standin/calls\nfail next curl -X POST 'http://%[1]s/standin/fail?fault=429&n=3'\n", places[0].listener.Addr())
	for i, site := range places[1:] {
		fmt.Fprintf(stdout, "site %d    http://%s\n", i+1, site.listener.Addr())
	}
	ended := make(chan error)
	for _, place := range places {
		h := &http.Server{Handler: place.handler, ReadHeaderTimeout: 10 * time.Second}
		stop := context.AfterFunc(ctx, func() { _ = h.Close() }) // its error says only that it was closed before
		defer stop()
		go func() { ended <- h.Serve(place.listener) }()
	}
	code := 0
	for range places {
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintf(stderr, "edge standin: %v\n", err)
			code = 1
		}
	}
	return code
}

// standinPlace is something to listen at: the API, and each data centre.
type standinPlace struct {
	handler  http.Handler
	listener net.Listener
}

func openStandin(s standinConfig) (places []standinPlace, closed func(), err error) {
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
	var sites []http.Handler
	closed = func() {}
	if len(s.origins) > 0 {
		c, err := cdn.New(cdn.Options{Origins: s.origins, Spread: s.spread, Travel: s.spread})
		if err != nil {
			return nil, nil, err
		}
		o.Accepted, closed = c.Purge, c.Close
		for i := range c.Sites() {
			sites = append(sites, c.Site(i))
		}
	}
	server, err := standin.New(o)
	if err != nil {
		closed()
		return nil, nil, err
	}
	for i, handler := range append([]http.Handler{server}, sites...) {
		address := "127.0.0.1:0"
		if i == 0 {
			address = s.listen
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			for _, place := range places {
				_ = place.listener.Close() // nobody has come yet
			}
			closed()
			return nil, nil, err
		}
		places = append(places, standinPlace{handler, listener})
	}
	return places, closed, nil
}
