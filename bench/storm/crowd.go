package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// crowd is clients who each have a connection of their own.
type crowd struct {
	base    string
	clients []*http.Client
}

func newCrowd(base string, size int) *crowd {
	c := &crowd{base: base}
	for range size {
		c.clients = append(c.clients, &http.Client{
			Transport: &http.Transport{MaxConnsPerHost: 1, DisableCompression: true},
			Timeout:   time.Minute,
		})
	}
	return c
}

func (c *crowd) leave() {
	for _, one := range c.clients {
		one.CloseIdleConnections()
	}
}

// answer is what one client got.
type answer struct {
	number string // of the answer; "" for none
	took   time.Duration
	err    error
}

// ask has one client ask for a page.
func (c *crowd) ask(ctx context.Context, client int, path string) answer {
	began := time.Now()
	number, err := c.fetch(ctx, client, path)
	return answer{number, time.Since(began), err}
}

func (c *crowd) fetch(ctx context.Context, client int, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.clients[client].Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	number, rest, _ := strings.Cut(string(body), " ")
	if resp.StatusCode != http.StatusOK || rest != filling {
		return "", fmt.Errorf("%s: %s, %d bytes", path, resp.Status, len(body))
	}
	return number, nil
}

// all has everybody ask at once.
func (c *crowd) all(ctx context.Context, path func(client int) string) []answer {
	answers := make([]answer, len(c.clients))
	var ready, done sync.WaitGroup
	begin := make(chan struct{})
	for i := range c.clients {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-begin
			answers[i] = c.ask(ctx, i, path(i))
		})
	}
	ready.Wait()
	close(begin)
	done.Wait()
	return answers
}

// connect opens everybody's connection, and the contestant's own to the origin, if it
// keeps so many: each asks for a page that nobody else asks for.
func (c *crowd) connect(ctx context.Context, takes time.Duration) error {
	for i, a := range c.all(ctx, func(i int) string { return fmt.Sprintf("/private/of-%d?takes=%s", i, takes) }) {
		if a.err != nil {
			return fmt.Errorf("client %d: %w", i, a.err)
		}
	}
	return nil
}

// storm is what became of all storms of a kind.
type storm struct {
	kind
	answers, fetches int
	shared           int // answers that another client got too, and must not have
	failed           int
	why              error
	took             []time.Duration // sorted
	longest          []time.Duration // of each time
}

// add counts one time.
func (s *storm) add(answers []answer, fetches int) {
	s.answers += len(answers)
	s.fetches += fetches
	seen := make(map[string]int)
	longest := time.Duration(0)
	for _, a := range answers {
		if a.err != nil {
			s.failed++
			s.why = cmp.Or(s.why, a.err)
			continue
		}
		seen[a.number]++
		s.took = append(s.took, a.took)
		longest = max(longest, a.took)
	}
	if !s.storable {
		for _, n := range seen {
			if n > 1 {
				s.shared += n
			}
		}
	}
	slices.Sort(s.took)
	s.longest = append(s.longest, longest)
}
