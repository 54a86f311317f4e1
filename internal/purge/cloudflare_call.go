package purge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/cloudflare/cloudflare-go/v7/cache"
	"github.com/cloudflare/cloudflare-go/v7/option"

	"github.com/edgegw/edge/internal/reason"
)

// Codes of Cloudflare's API that decide what to do next.
const (
	codeRateLimit = 1134  // purge limit of the account, at whatever status
	codeNoRoute   = 7003  // unknown path, or unknown zone
	codeAuth      = 10000 // token unknown, or without permission
	codeNoURLs    = 1136  // an environment that URLs cannot be purged in: tags can
)

const (
	attemptTimeout = 10 * time.Second
	maxAnswer      = 1 << 20
	maxMessage     = 300
)

// transport is shared by all configurations. It ignores proxy variables of the
// environment: the token is not for them.
var transport = &http.Transport{
	TLSHandshakeTimeout:   attemptTimeout,
	ResponseHeaderTimeout: attemptTimeout,
	IdleConnTimeout:       90 * time.Second,
	MaxIdleConns:          8,
	ForceAttemptHTTP2:     true,
	// A connection that died in silence must not fail every attempt.
	HTTP2: &http.HTTP2Config{SendPingTimeout: attemptTimeout, PingTimeout: attemptTimeout / 2},
}

// answer is what the API sent, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// caller sends batches through the official client, which builds requests and
// knows the API's types. Its retries are off, and its judgement of answers is
// not used: it takes success:false under 200 for success.
type caller struct {
	url    string
	token  string
	client *http.Client
}

func newCaller(url, token string, over http.RoundTripper) *caller {
	return &caller{url: url, token: token, client: &http.Client{
		Transport: over,
		// A redirect would carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send makes one attempt and gives the answer, whatever it says. The error is
// a *TargetError for an attempt without a whole answer, or ctx's.
func (c *caller) send(ctx context.Context, b batch, soft bool) (answer, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var got *answer
	service := cache.NewCacheService(
		option.WithBaseURL(c.url),
		option.WithAPIToken(c.token),
		option.WithHTTPClient(c.client),
		option.WithMaxRetries(0),
		option.WithHeader("User-Agent", "edge"),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			if b.environment != "" {
				r.URL.Path = strings.TrimSuffix(r.URL.Path, "purge_cache") + "environments/" + b.environment + "/purge_cache"
			}
			if soft {
				// The client does not know this path yet; its bodies are those
				// of purge_cache.
				r.URL.Path = strings.TrimSuffix(r.URL.Path, "purge_cache") + "invalidate_cache"
			}
			res, err := next(r)
			if err != nil {
				return nil, err
			}
			got, err = readAnswer(res)
			return res, err
		}))
	var params cache.CachePurgeParams
	params.ZoneID.Value, params.ZoneID.Present = b.zone, true
	params.Body = b.body()
	_, err := service.Purge(attempt, params)
	switch {
	case got != nil:
		return *got, nil
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case attempt.Err() != nil:
		return answer{}, &TargetError{Kind: Unreachable, Message: fmt.Sprintf("no answer within %s", attemptTimeout)}
	case err == nil:
		err = errors.New("no answer")
	}
	return answer{}, &TargetError{Kind: Unreachable, Message: c.clean(reason.Of(err).Error())}
}

// readAnswer takes the whole body and leaves a copy to the client.
func readAnswer(res *http.Response) (*answer, error) {
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("answer is cut off: %w", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return &answer{res.StatusCode, res.Header, body}, nil
}

// envelope is the part of an answer that decides. Errors are usually objects,
// and have been seen as strings.
type envelope struct {
	Success *bool             `json:"success"`
	Errors  []json.RawMessage `json:"errors"`
}

type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e envelope) errors() []apiError {
	var all []apiError
	for _, raw := range e.Errors {
		var one apiError
		if json.Unmarshal(raw, &one) != nil {
			one = apiError{}
			if json.Unmarshal(raw, &one.Message) != nil {
				one.Message = string(raw)
			}
		}
		all = append(all, one)
	}
	return all
}

// judge gives nil when the answer says that the batch was accepted.
func (c *caller) judge(a answer) *TargetError {
	var e envelope
	readable := json.Unmarshal(a.body, &e) == nil && e.Success != nil
	if readable && *e.Success && a.status >= 200 && a.status < 300 {
		return nil
	}
	failed := &TargetError{HTTP: a.status, Message: http.StatusText(a.status)}
	if !readable {
		failed.Message = "not an answer of the API"
	}
	errs := e.errors()
	for i, one := range errs {
		// The code that decides is not always the first.
		if i == 0 || one.Code == codeRateLimit || one.Code == codeAuth {
			failed.Code, failed.Message = one.Code, c.clean(one.Message)
		}
		if one.Code == codeRateLimit {
			break
		}
	}
	failed.Kind = kindOf(a.status, failed.Code, readable)
	return failed
}

// kindOf sorts an answer that is no success by what can be done about it.
func kindOf(status, code int, readable bool) Kind {
	switch {
	case code == codeRateLimit, status == http.StatusTooManyRequests:
		return RateLimited
	case status >= 500, status == http.StatusRequestTimeout:
		return Unreachable // it may have been applied, or not: purges may be repeated
	case code == codeAuth, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return NotAllowed
	case status >= 200 && status < 300 && (!readable || code == 0):
		return Unreachable // truncated, a page of some proxy, or a failure without a reason
	}
	return Refused
}

// retryable reports whether the same call may succeed later.
func retryable(e *TargetError) bool { return e.Kind == RateLimited || e.Kind == Unreachable }

// kindOfError is "" for an error that is no target's.
func kindOfError(err error) Kind {
	var e *TargetError
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// clean makes a message of the other side fit for a journal and a terminal, and
// keeps the token out of it.
func (c *caller) clean(message string) string {
	if c.token != "" {
		message = strings.ReplaceAll(message, c.token, "[token]")
	}
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(message, ""))
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}
