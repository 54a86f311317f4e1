package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/edgegw/edge/bench/gateway"
	"github.com/klauspost/compress/zstd"
)

// token is what edge's control API wants.
var token = rand.Text()

const (
	// visitors is how many requests are on their way at most.
	visitors = 16
	// every fourth request is for an URL that was asked for before: one of the
	// popular, or one of the latest.
	again   = 4
	popular = 2_000
	latest  = 20_000
)

// client asks the gateway.
type client struct {
	base string // "http://127.0.0.1:port"
	http *http.Client
}

func newClient(address string) *client {
	return &client{base: "http://" + address, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 2 * visitors, DisableCompression: true},
		Timeout:   30 * time.Second,
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// request is one that is to be made.
type request struct {
	article  article
	language string
	encoded  bool // the client takes what browsers take
	new      bool
}

// requestAt is the request of a place in the order: a function of it alone.
func requestAt(place int) request {
	random := mathrand.New(mathrand.NewPCG(uint64(place), 3))
	asked := place - place/again // URLs asked for before this place
	r := request{language: []string{"de", "en", "fr"}[random.IntN(3)], new: place%again < again-1}
	switch {
	case r.new:
		r.article = articleOf(asked)
	case random.IntN(2) == 0:
		r.article = articleOf(random.IntN(min(popular, asked)))
	default:
		r.article = articleOf(asked - 1 - random.IntN(min(latest, asked)))
	}
	r.encoded = !r.new && random.IntN(2) == 0
	return r
}

// requestsFor is how many requests it takes to ask for so many URLs.
func requestsFor(urls int) int { return urls + (urls-1)/(again-1) }

// get makes the request and compares the answer, byte by byte.
func (c *client) get(ctx context.Context, one request) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+one.article.path(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept-Language", one.language)
	if one.encoded {
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", r.URL.Path, resp.Status)
	}
	body, err := decoded(resp)
	if err != nil {
		return fmt.Errorf("get %s: %w", r.URL.Path, err)
	}
	head, rest := one.article.body(one.language)
	if err := compare(body, head, rest); err != nil {
		return fmt.Errorf("get %s: %w", r.URL.Path, err)
	}
	return nil
}

func decoded(resp *http.Response) (io.Reader, error) {
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "":
		return resp.Body, nil
	case "gzip":
		return gzip.NewReader(resp.Body)
	case "br":
		return brotli.NewReader(resp.Body), nil
	case "zstd":
		d, err := zstd.NewReader(resp.Body, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	default:
		return nil, fmt.Errorf("content-encoding %q was not asked for", coding)
	}
}

// errDiffers: the body is not the one that the origin sent.
var errDiffers = errors.New("the body is another one")

func compare(body io.Reader, parts ...[]byte) error {
	var space [16 << 10]byte
	for _, want := range parts {
		for len(want) > 0 {
			part := space[:min(len(space), len(want))]
			if _, err := io.ReadFull(body, part); err != nil {
				return err
			}
			if !bytes.Equal(part, want[:len(part)]) {
				return errDiffers
			}
			want = want[len(part):]
		}
	}
	if n, err := body.Read(space[:1]); n > 0 || !errors.Is(err, io.EOF) {
		return errors.Join(errDiffers, err)
	}
	return nil
}

// load is what has been asked for so far.
type load struct {
	next, answered, distinct atomic.Int64

	mu     sync.Mutex
	failed error
}

// ask makes all requests, evenly over the duration; who is late does not wait.
// The first fault ends it.
func (l *load) ask(ctx context.Context, o options, c *client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all := requestsFor(o.urls)
	began := time.Now()
	var running sync.WaitGroup
	for range visitors {
		running.Go(func() {
			for {
				place := int(l.next.Add(1)) - 1
				if place >= all || !gateway.Pause(ctx, time.Until(began.Add(o.duration/time.Duration(all)*time.Duration(place)))) {
					return
				}
				one := requestAt(place)
				if err := c.get(ctx, one); err != nil {
					l.fail(err)
					cancel()
					return
				}
				l.answered.Add(1)
				if one.new {
					l.distinct.Add(1)
				}
			}
		})
	}
	running.Wait()
	return errors.Join(l.failed, context.Cause(ctx))
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// purge gives up one topic.
func (c *client) purge(ctx context.Context, number int) error {
	body := fmt.Appendf(nil, `{"tags":["topic-%d"]}`, number%topics)
	return gateway.Control(ctx, c.http, token, http.MethodPost, c.base+"/.edge/purge", body, &struct{}{})
}

// cache is what edge says of its cache.
type cache struct {
	Entries   int64 `json:"entries"`
	Bytes     int64 `json:"bytes"`
	Hits      int64 `json:"hits"`
	Misses    int64 `json:"misses"`
	Evictions int64 `json:"evictions"`
	Encoded   int64 `json:"encoded"`
}

func (c *client) status(ctx context.Context) (cache, error) {
	var found struct{ Cache cache }
	err := gateway.Control(ctx, c.http, token, http.MethodGet, c.base+"/.edge/status", nil, &found)
	return found.Cache, err
}

// ready waits until the gateway answers.
func (c *client) ready(ctx context.Context, exited <-chan struct{}) error {
	return gateway.Ready(ctx, exited, func(ctx context.Context) error {
		_, err := c.status(ctx)
		return err
	})
}
