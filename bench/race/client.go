package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// client asks one contestant.
type client struct {
	base string // "http://127.0.0.1:port"
	dir  string // the contestant's folder
	http *http.Client
}

func newClient(address, dir string) *client {
	return &client{base: "http://" + address, dir: dir, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		Timeout:   30 * time.Second,
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// get is the number on a page.
func (c *client) get(ctx context.Context, path string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("get %s: %s", path, resp.Status)
	}
	return numberIn(string(body))
}

// ready waits until the contestant answers.
func (c *client) ready(ctx context.Context, exited <-chan struct{}) error {
	return gateway.Ready(ctx, exited, func(ctx context.Context) error {
		_, err := c.get(ctx, "/page/ready")
		return err
	})
}
