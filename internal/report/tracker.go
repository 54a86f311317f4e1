package report

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/getsentry/sentry-go"
)

const attempt = 10 * time.Second // for one report, from dialling to the answer

// tracker makes events of troubles and has Sentry's own client send them, one at
// a time. Only the reporter's goroutine uses it.
type tracker struct {
	client *sentry.Client
	wire   *wire
}

func newTracker(c Config) (*tracker, error) {
	if c.Environment == "" {
		c.Environment = "production"
	}
	w := &wire{base: http.DefaultTransport.(*http.Transport).Clone()}
	client, err := sentry.NewClient(sentry.ClientOptions{
		Dsn: c.DSN, Environment: c.Environment, Release: c.Release,
		Transport: sentry.NewHTTPSyncTransport(),
		HTTPClient: &http.Client{
			Transport:     w,
			Timeout:       attempt,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// Nothing about this machine, its modules and its environment.
		Integrations:           func([]sentry.Integration) []sentry.Integration { return nil },
		DisableClientReports:   true,
		DisableTelemetryBuffer: true,
	})
	if err != nil {
		return nil, fmt.Errorf("sentry: %w", err)
	}
	return &tracker{client, w}, nil
}

// send makes one attempt. The client asks nobody while the tracker has asked for
// a pause, and tells no outcome, so the wire does.
func (t *tracker) send(ctx context.Context, trouble *Trouble, at time.Time, suppressed int) (Outcome, error) {
	t.wire.ctx, t.wire.outcome, t.wire.err = ctx, Limited, errPaused
	t.client.CaptureEvent(eventOf(trouble, at, suppressed), nil, nil)
	return t.wire.outcome, t.wire.err
}

func (t *tracker) close() {
	t.client.Close()
	t.wire.base.CloseIdleConnections()
}

func eventOf(t *Trouble, at time.Time, suppressed int) *sentry.Event {
	e := sentry.NewEvent()
	e.Timestamp, e.Level, e.Logger = at, sentry.LevelError, "edge"
	if t.Kind == Panic {
		e.Level = sentry.LevelFatal
	}
	e.Fingerprint = append([]string{string(t.Kind), t.Title}, t.Like...)
	e.Exception = []sentry.Exception{{Type: t.Title, Value: t.Text, Stacktrace: t.Stack}}
	e.Tags["kind"] = string(t.Kind)
	for name, value := range t.Facts {
		e.Tags[name] = value
	}
	if suppressed > 0 {
		e.Tags["suppressed"] = strconv.Itoa(suppressed)
	}
	if t.Host != "" || t.Path != "" {
		e.Request = &sentry.Request{Method: t.Method, URL: t.Host + t.Path}
	}
	return e
}

const errPaused = pause("the tracker has asked for a pause")

type pause string

func (p pause) Error() string { return string(p) }

// wire notes what the tracker says to an attempt.
type wire struct {
	base    *http.Transport
	ctx     context.Context
	outcome Outcome
	err     error
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// RoundTrip carries one attempt, and returns the answer read.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	resp, err := w.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		w.outcome, w.err = Unreachable, err
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close() // what is beyond is not wanted
	if err != nil {
		w.outcome, w.err = Unreachable, err
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	w.outcome, w.err = outcomeOf(resp.StatusCode)
	return resp, nil
}

// outcomeOf is what a status of the tracker means.
func outcomeOf(status int) (Outcome, error) {
	err := fmt.Errorf("the tracker answered %d", status)
	switch {
	case status == http.StatusOK:
		return Captured, nil
	case status == http.StatusTooManyRequests:
		return Limited, err
	case status >= 500:
		return Unreachable, err
	}
	return Refused, err
}
