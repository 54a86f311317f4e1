package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

const (
	// verifyPause lies between two looks at a URL.
	verifyPause = time.Second
	// verifyTimeout bounds one look.
	verifyTimeout = 10 * time.Second
	// verifyAtOnce looks go on at a time.
	verifyAtOnce = 8
	// verifyBody is read of a body, so that its connection can be used again.
	verifyBody = 256 << 10
)

// verify fetches each URL, from here and through whatever lies between, until
// it shows the new state. A CDN answers from the data centre nearest to here:
// the others are not seen.
func (p *purging) verify(ctx context.Context) (int, error) {
	transport := p.Probe
	if transport == nil {
		transport = newTransport("")
	}
	// A client of its own: the token is for the gateway alone. A redirect is
	// an answer like any other, and it has a version, too.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.checked = make([]purge.Verification, len(p.Verify))
	for {
		p.lookAtAll(ctx, client)
		if ctx.Err() != nil {
			return ExitInterrupted, errors.New("interrupted while verifying; the purge itself is done")
		}
		stale := 0
		for _, v := range p.checked {
			p.progress.once("  " + p.checkedLine(v))
			if !v.OK {
				stale++
			}
		}
		if stale == 0 {
			return ExitDone, nil
		}
		if time.Until(p.deadline) < verifyPause {
			return ExitStale, fmt.Errorf("purge %s is applied, but %d of %d URLs do not show the new state, seen from here: %s",
				p.record.ID, stale, len(p.checked), p.firstStale())
		}
		if err := sleep(ctx, verifyPause); err != nil {
			return ExitInterrupted, errors.New("interrupted while verifying; the purge itself is done")
		}
	}
}

// lookAtAll fetches every URL that does not show the new state yet. A first look
// is possible even when waiting for the order took all the time there was.
func (p *purging) lookAtAll(ctx context.Context, client *http.Client) {
	ctx, cancel := context.WithTimeout(ctx, max(time.Until(p.deadline), verifyTimeout))
	defer cancel()
	var all sync.WaitGroup
	places := make(chan struct{}, verifyAtOnce)
	for i, target := range p.Verify {
		if p.checked[i].OK {
			continue
		}
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			p.checked[i] = p.look(ctx, client, target)
		})
	}
	all.Wait()
}

func (p *purging) look(ctx context.Context, client *http.Client, target string) purge.Verification {
	v := purge.Verification{URL: target}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	// No Cache-Control: what is wanted is what visitors get.
	r.Header.Set("User-Agent", "edge")
	response, err := client.Do(r)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	defer response.Body.Close()
	// The header says it all; a body that breaks off is another's concern.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, verifyBody))
	v.Status = response.StatusCode
	v.Version = strings.TrimSpace(response.Header.Get(p.VersionHeader))
	v.Cache = response.Header.Get("CF-Cache-Status")
	if v.Cache == "" {
		v.Cache = response.Header.Get("Cache-Status")
	}
	// RFC 9111, 5.1: whole seconds; without the field no cache took part.
	if seconds, err := strconv.ParseUint(response.Header.Get("Age"), 10, 31); err == nil {
		v.Age = unit.Duration(time.Duration(seconds) * time.Second)
	}
	v.OK = p.shows(v, time.Now())
	return v
}

// shows decides whether an answer seen at now is of the new state.
func (p *purging) shows(v purge.Verification, now time.Time) bool {
	if v.Status == 0 || v.Status >= http.StatusInternalServerError {
		return false
	}
	if p.Expect != "" {
		return v.Version == p.Expect
	}
	// A copy that was stored before the order is older than the time since.
	// Caches round as they like: give them a second.
	return v.Age.D() <= now.Sub(p.began)+time.Second
}

func (p *purging) firstStale() string {
	for _, v := range p.checked {
		if !v.OK {
			return p.checkedLine(v)
		}
	}
	return ""
}

func (p *purging) checkedLine(v purge.Verification) string {
	if v.Error != "" {
		return fmt.Sprintf("%s: %s", v.URL, v.Error)
	}
	parts := []string{fmt.Sprintf("%s: %d", v.URL, v.Status)}
	switch {
	case v.Version != "":
		parts = append(parts, fmt.Sprintf("version %q", v.Version))
	case p.Expect != "":
		parts = append(parts, fmt.Sprintf("no field %s", p.VersionHeader))
	}
	if v.Cache != "" {
		parts = append(parts, v.Cache)
	}
	if v.Age > 0 {
		parts = append(parts, "age "+v.Age.String())
	}
	switch {
	case v.OK:
		parts = append(parts, "new")
	case p.Expect != "":
		parts = append(parts, fmt.Sprintf("want %q", p.Expect))
	default:
		parts = append(parts, "older than the purge")
	}
	return strings.Join(parts, ", ")
}
