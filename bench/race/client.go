package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
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
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		_, err := c.get(ctx, "/page/ready")
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("it has ended: %w", err)
		default:
		}
		if !pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("not ready: %w", err)
		}
	}
}
