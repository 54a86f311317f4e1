package caddymodule

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/reason"
	"github.com/edgegw/edge/internal/sighting"
)

const (
	// lookTime is how long edge check looks for the replicas of a pool, and
	// waits for each answer.
	lookTime = 5 * time.Second
	// lookVisits is how often a visitor asks for a URL: what is stored the first
	// time is there the second.
	lookVisits = 2
	// lookReplicas is how many replicas of a pool it asks.
	lookReplicas = 20
)

// regrets asks the replicas of each pool for samples, and says what will be
// regretted. A sample is a path, or a URL whose host is asked for.
func (a *App) regrets(ctx context.Context, asked []string) (all []string) {
	if len(asked) == 0 {
		return nil
	}
	targets, mistakes := sampleTargets(asked)
	all = append(all, mistakes...)
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		pool := a.Pools[name]
		looking, cancel := context.WithTimeout(ctx, lookTime)
		found, err := lb.LookUp(looking, pool.Discover)
		cancel()
		if err != nil {
			all = append(all, fmt.Sprintf("pool %s: %v", name, err))
		}
		slices.Sort(found)
		found = slices.Compact(found)
		answers := askEach(ctx, found[:min(len(found), lookReplicas)], targets, pool.Transport)
		for _, regret := range sighting.Regrets(answers, pool.Health.VersionHeader) {
			all = append(all, fmt.Sprintf("pool %s: %s", name, regret))
		}
	}
	return all
}

// asVisitors asks for URLs as visitors do, through whatever is in between, and
// says what will be regretted.
func (a *App) asVisitors(ctx context.Context, visits []string) (all []string) {
	var answers []sighting.Answer
	client := &http.Client{
		Timeout:       lookTime,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableCompression: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	for _, text := range visits {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			all = append(all, fmt.Sprintf("visit %q: want a URL such as https://crm.example.com/", text))
			continue
		}
		for range lookVisits {
			answer := askOne(ctx, client, u.Scheme, u.Host, u)
			answer.Target = text
			answers = append(answers, answer)
		}
	}
	return append(all, sighting.Visits(answers, a.Cloudflare != nil)...)
}

// sampleTargets reads samples.
func sampleTargets(asked []string) (targets []*url.URL, mistakes []string) {
	for _, sample := range asked {
		u, err := url.Parse(sample)
		if err != nil || u.Scheme == "" && !strings.HasPrefix(sample, "/") || u.Scheme != "" && u.Host == "" {
			mistakes = append(mistakes, fmt.Sprintf("sample %q: want a path such as /, or a URL such as https://crm.example.com/", sample))
			continue
		}
		targets = append(targets, u)
	}
	return targets, mistakes
}

// askEach asks each replica twice for each target, as edge would.
func askEach(ctx context.Context, replicas []lb.Address, targets []*url.URL, how lb.Transport) (answers []sighting.Answer) {
	scheme := "http"
	if how.TLS {
		scheme = "https"
	}
	client := &http.Client{
		Timeout: lookTime,
		Transport: &http.Transport{
			DialContext:        (&net.Dialer{Timeout: lookTime}).DialContext,
			DisableCompression: true, DisableKeepAlives: true,
			// What is wrong with a certificate is for the pool's own checks to say.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, replica := range replicas {
		for _, target := range targets {
			for range 2 {
				answers = append(answers, askOne(ctx, client, scheme, string(replica), target))
			}
		}
	}
	return answers
}

func askOne(ctx context.Context, client *http.Client, scheme, replica string, target *url.URL) sighting.Answer {
	answer := sighting.Answer{Replica: replica, Target: target.RequestURI()}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+replica+target.RequestURI(), nil)
	if err != nil {
		answer.Err = err
		return answer
	}
	if target.Host != "" {
		r.Host = target.Host
		if replica != target.Host {
			r.Header.Set("X-Forwarded-Proto", target.Scheme)
		}
	}
	got, err := client.Do(r)
	if err != nil {
		answer.Err = reason.Of(err) // The finding names the URL.
		return answer
	}
	defer got.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(got.Body, 1<<20)) // the header is what counts
	answer.Status, answer.Header = got.StatusCode, got.Header
	return answer
}
