package demo

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// cloudflare is the stand-in of Cloudflare on a free port, in this process.
type cloudflare struct {
	standin  *standin.Server
	server   *http.Server
	listener net.Listener
	served   chan error
}

func startCloudflare(token string) (*cloudflare, error) {
	s, err := standin.New(standin.Options{Token: token, Zones: []standin.Zone{{ID: zoneID, Name: "example.com"}}, Plan: "free"})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cloudflare{
		standin: s, listener: listener, served: make(chan error, 1),
		server: &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second},
	}
	go func() { c.served <- c.server.Serve(listener) }()
	return c, nil
}

// api is the base URL of the stand-in's API.
func (c *cloudflare) api() string { return "http://" + c.listener.Addr().String() + "/client/v4" }

// calls counts the purge calls that it accepted.
func (c *cloudflare) calls() int { return len(c.standin.Calls()) }

func (c *cloudflare) close() error {
	err := c.server.Close()
	if served := <-c.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
