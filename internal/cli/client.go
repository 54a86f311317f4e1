package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/control"
)

const (
	// callTimeout bounds one call, beyond what it asks the gateway to wait.
	callTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer: far above a status of ten
	// thousand replicas.
	maxAnswer = 32 << 20
	// Between tries of a call, doubled each time and jittered by a half.
	firstPause = 250 * time.Millisecond
	maxPause   = 4 * time.Second
)

// request is one call of the API.
type request struct {
	method, path string
	query        url.Values
	header       http.Header
	body         any           // sent as JSON; nil: none
	wait         time.Duration // how long the gateway was asked to take
}

// failure is why a call gave no answer of the kind that was asked for. It never
// shows the token.
type failure struct {
	exit  int
	retry bool          // a later try may succeed
	after time.Duration // how long the gateway asked to wait
	text  string
	code  string // of the problem, if it was one
}

func (f *failure) Error() string { return f.text }

// call does one request and decodes its JSON. Its error is a *failure, or the
// context's.
func (c *Client) call(ctx context.Context, q request, into any) error {
	timed, cancel := context.WithTimeout(ctx, q.wait+callTimeout)
	defer cancel()
	r, err := c.build(timed, q)
	if err != nil {
		return &failure{exit: ExitUsage, text: err.Error()}
	}
	response, err := c.HTTP.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.unreachable(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &failure{exit: ExitUnreachable, retry: true, text: fmt.Sprintf("%s answered %s, cut short: %v", c.Server, response.Status, err)}
	case len(text) > maxAnswer:
		return &failure{exit: ExitUnreachable, text: fmt.Sprintf("%s answered more than %d bytes", c.Server, maxAnswer)}
	}
	return c.read(response, text, into)
}

func (c *Client) build(ctx context.Context, q request) (*http.Request, error) {
	var body io.Reader
	if q.body != nil {
		text, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	target := c.Server + "/" + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, values := range q.header {
		r.Header[name] = values
	}
	r.Header.Set("Accept", "application/json, application/problem+json")
	r.Header.Set("User-Agent", "edge")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return r, nil
}

// cancel ends what is under way at the gateway. An id that is not known there, or
// too late, is a matter of usage.
func (c *Client) cancel(ctx context.Context, kind, id string, into any) error {
	err := c.call(ctx, request{method: http.MethodPost, path: kind + "/" + url.PathEscape(id) + "/cancel"}, into)
	var f *failure
	if errors.As(err, &f) && f.code == control.CodeUnknown {
		f.exit = ExitUsage
	}
	return err
}

// unreachable is the failure of a call without an answer.
func (c *Client) unreachable(err error) error {
	var certificate *tls.CertificateVerificationError
	settled := errors.Is(err, errRedirect) || errors.As(err, &certificate)
	text := err.Error()
	if c.assumed {
		text += fmt.Sprintf(" (no gateway is named: if its admin endpoint is elsewhere, want that in %s or --server)", ServerEnv)
	}
	return &failure{exit: ExitUnreachable, retry: !settled, text: text}
}

// read tells an answer from the API from one of something that stands in its way.
func (c *Client) read(response *http.Response, text []byte, into any) error {
	kind, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		kind = "text of no known type"
	}
	if kind == "application/problem+json" {
		var p control.Problem
		if err := json.Unmarshal(text, &p); err == nil && p.Code != "" {
			return c.refused(response, p)
		}
	}
	if response.StatusCode/100 == 2 && kind == "application/json" {
		if err := json.Unmarshal(text, into); err != nil {
			return &failure{exit: ExitUnreachable, text: fmt.Sprintf("%s answered JSON of another kind: %v", c.Server, err)}
		}
		return nil
	}
	// Not the control API, but what stands before it, or in its place.
	f := &failure{exit: ExitUnreachable, after: retryAfter(response)}
	f.text = fmt.Sprintf("%s answered %s, %s: no control API is there", c.Server, response.Status, kind)
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		f.exit = ExitNotAllowed
		f.text = fmt.Sprintf("%s answered %s: something before the control API lets nobody in", c.Server, response.Status)
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		// Cloudflare's words for an origin that it cannot reach.
		521, 522, 523, 524:
		f.retry = true
		f.text = fmt.Sprintf("%s answered %s", c.Server, response.Status)
	}
	return f
}

// refused is the failure of a call that the API itself refused.
func (c *Client) refused(response *http.Response, p control.Problem) error {
	f := &failure{exit: ExitUnreachable, code: p.Code, after: retryAfter(response), text: p.Detail}
	if f.text == "" {
		f.text = response.Status
	}
	switch response.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		f.exit = ExitNotAllowed
		if c.Token == "" {
			f.text += fmt.Sprintf(" (want a token file, or the token in %s)", TokenEnv)
		}
	case http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		f.exit = ExitUsage
	case http.StatusServiceUnavailable:
		f.retry = true
	}
	return f
}

// retryAfter is RFC 9110, 10.2.3: seconds, or a date.
func retryAfter(response *http.Response) time.Duration {
	field := strings.TrimSpace(response.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(field, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(field); err == nil {
		return max(0, time.Until(date))
	}
	return 0
}

// retrying tries until success, a failure that will not pass, or until is past.
func retrying(ctx context.Context, until time.Time, try func() error, say func(error, time.Duration)) error {
	pause := firstPause
	for {
		err := try()
		var f *failure
		if err == nil || !errors.As(err, &f) || !f.retry {
			return err
		}
		wait := max(f.after, pause/2+rand.N(pause))
		if time.Now().Add(wait).After(until) {
			return err
		}
		say(err, wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// exitOf gives a call's error its exit code.
func exitOf(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.exit
	}
	return ExitInterrupted
}
