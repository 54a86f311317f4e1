package purge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/edgegw/edge/internal/named"
)

// cloudflareAPI is Cloudflare's own address.
const cloudflareAPI = "https://api.cloudflare.com/client/v4"

// CloudflareConfig says how to purge at Cloudflare.
type CloudflareConfig struct {
	// ZoneIDs are the zones to purge: each ID, or DOMAIN=ID, and either with
	// /ENVIRONMENT for one environment of the zone (Version Management). With more
	// than one zone each needs its domain, and takes the URLs, hosts and prefixes
	// of that domain; tags and everything go to all.
	ZoneIDs []string `json:"zone_ids,omitempty"`
	// APIToken is a token with the permission Cache Purge on these zones.
	APIToken string `json:"api_token,omitempty"`
	// Plan is free, pro, business or enterprise; it decides rate limits and
	// batch sizes. Default free.
	Plan string `json:"plan,omitempty"`
	// APIURL replaces Cloudflare's address, for a stand-in. Default
	// https://api.cloudflare.com/client/v4.
	APIURL string `json:"api_url,omitempty"`
	// Account names the Cloudflare account, when several tokens belong to one
	// and so share its limits. Default: each token is an account.
	Account string `json:"account,omitempty"`
}

func (c CloudflareConfig) withDefaults() CloudflareConfig {
	if c.Plan == "" {
		c.Plan = "free"
	}
	if c.APIURL == "" {
		c.APIURL = cloudflareAPI
	}
	c.APIURL = strings.TrimSuffix(c.APIURL, "/")
	return c
}

// String never shows the token.
func (c CloudflareConfig) String() string {
	return fmt.Sprintf("cloudflare zones %v plan %s at %s", c.ZoneIDs, c.Plan, c.APIURL)
}

// GoString is String: %#v must not show the token either.
func (c CloudflareConfig) GoString() string { return c.String() }

// Validate gives every mistake at once. None of them shows the token.
func (c CloudflareConfig) Validate() error {
	c = c.withDefaults()
	var errs []error
	if len(c.ZoneIDs) == 0 {
		errs = append(errs, errors.New("cloudflare zone_id: want the ID of a zone, 32 hexadecimal digits"))
	}
	seen := make(map[string]bool)
	for _, text := range c.ZoneIDs {
		z := parseZone(text)
		switch {
		case !isZoneID(z.id):
			errs = append(errs, fmt.Errorf("cloudflare zone_id %q: want 32 hexadecimal digits, or DOMAIN=ID", text))
		case strings.Contains(text, "/") && !isZoneID(z.environment):
			errs = append(errs, fmt.Errorf("cloudflare zone_id %q: want 32 hexadecimal digits after the slash, an environment of the zone", text))
		case seen[z.id+z.environment]:
			errs = append(errs, fmt.Errorf("cloudflare zone_id %q: want each zone once", text))
		case z.domain == "" && len(c.ZoneIDs) > 1:
			errs = append(errs, fmt.Errorf("cloudflare zone_id %q: want DOMAIN=ID, since there is more than one", text))
		}
		seen[z.id+z.environment] = true
	}
	if want := tokenMistake(c.APIToken); want != "" {
		errs = append(errs, fmt.Errorf("cloudflare api_token: want %s", want))
	}
	if _, known := plans[c.Plan]; !known {
		errs = append(errs, fmt.Errorf("cloudflare plan %q: want one of %s", c.Plan, planNames()))
	}
	if want := apiURLMistake(c.APIURL); want != "" {
		errs = append(errs, fmt.Errorf("cloudflare api_url %q: want %s", c.APIURL, want))
	}
	return errors.Join(errs...)
}

func tokenMistake(token string) string {
	if token == "" {
		return "a token with the permission Cache Purge; is its environment variable set?"
	}
	if !tagText(token) {
		return "a token without spaces and control characters"
	}
	return ""
}

func apiURLMistake(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return "an http or https URL such as " + cloudflareAPI
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return "a URL without user, query and fragment"
	case u.Scheme == "http" && strings.HasSuffix(u.Hostname(), "cloudflare.com"):
		return "https: the token must not travel in the clear"
	}
	return ""
}

func isZoneID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

func parseZone(text string) zone {
	domain, id, named := strings.Cut(text, "=")
	if !named {
		domain, id = "", text
	}
	id, environment, _ := strings.Cut(id, "/")
	if !named {
		return zone{id: id, environment: environment}
	}
	clean, want := cleanHost(domain)
	if want != "" {
		return zone{} // no ID: Validate says what would be right
	}
	return zone{id: id, environment: environment, domain: clean}
}

func init() {
	Purgers.Register("cloudflare", cloudflareFromSpec, named.Spec{Options: map[string][]string{
		"zone_id":   {"023e105f4ecef8ad9ca31a8372d0c353"},
		"api_token": {"example-token"},
		"plan":      {"free"},
	}})
}

func cloudflareFromSpec(s named.Spec) (Target, error) {
	errs := s.Want(0, 0, "a block", "zone_id", "api_token", "plan", "api_url", "account")
	one := func(word string) string {
		values := s.Options[word]
		if len(values) > 1 {
			errs = append(errs, fmt.Errorf("%s %s: got %d values: want one", s, word, len(values)))
		}
		if len(values) == 0 {
			return ""
		}
		return values[0]
	}
	c := CloudflareConfig{
		ZoneIDs: s.Options["zone_id"], APIToken: one("api_token"),
		Plan: one("plan"), APIURL: one("api_url"), Account: one("account"),
	}
	if err := errors.Join(append(errs, c.Validate())...); err != nil {
		return nil, err
	}
	return NewCloudflare(c)
}

// cloudflare is the Target of that name.
type cloudflare struct {
	zones   []zone
	plan    string
	account *account
	caller  *caller
}

// NewCloudflare makes the target. Targets with one token and address share
// their rate limits, across reloads too.
func NewCloudflare(c CloudflareConfig) (Target, error) {
	return newCloudflare(c, transport)
}

func newCloudflare(c CloudflareConfig, over http.RoundTripper) (*cloudflare, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	t := &cloudflare{plan: c.Plan, account: accountFor(c), caller: newCaller(c.APIURL, c.APIToken, over)}
	for _, text := range c.ZoneIDs {
		t.zones = append(t.zones, parseZone(text))
	}
	return t, nil
}

// Name is "cloudflare".
func (t *cloudflare) Name() string { return "cloudflare" }

// Plan counts calls, and the time that they take on the account's limits.
func (t *cloudflare) Plan(o Order, passes int) Result {
	idle := newAccount(t.account.limits)
	r := Result{Cost: &Cost{Plan: t.plan, Bucket: idle.flex.limiter.Burst()}}
	now := time.Now()
	for range passes {
		for _, b := range batches(o.Selectors, t.zones, t.account.limits.fileItems) {
			r.Batches++
			r.Items += b.count()
			if b.kind == batchFiles {
				r.Cost.URLs += b.count()
			} else {
				r.Cost.Tokens++
			}
			wait, _ := idle.reserve(now, b, now.Add(365*24*time.Hour))
			r.RateLimited = max(r.RateLimited, wait)
		}
	}
	return r
}

// Purge sends the order batch by batch. A batch that is refused does not keep
// the others from being sent; its error is returned at the end.
func (t *cloudflare) Purge(ctx context.Context, o Order, may func(context.Context) error, progress func(Result)) (Result, error) {
	p := &pass{target: t, soft: o.Soft, deadline: o.Deadline, may: may, progress: progress}
	if until, ok := ctx.Deadline(); ok && (p.deadline.IsZero() || until.Before(p.deadline)) {
		p.deadline = until
	}
	if p.deadline.IsZero() {
		p.deadline = time.Now().Add(maxDeadline)
	}
	ctx, cancel := context.WithDeadlineCause(ctx, p.deadline, errExpired)
	defer cancel()
	queue := batches(o.Selectors, t.zones, t.account.limits.fileItems)
	if len(queue) == 0 {
		p.result.Note = "nothing of this order is in the configured zones"
	}
	var refused error
	for len(queue) > 0 {
		b := queue[0]
		queue = queue[1:]
		failed, err := p.send(ctx, b)
		switch {
		case errors.Is(err, errExpired) && p.result.Last != nil:
			return p.result, p.result.Last // what kept it from succeeding earlier
		case errors.Is(err, errExpired):
			return p.result, &TargetError{Kind: Expired, Message: err.Error()}
		case err != nil:
			return p.result, err
		case failed == nil:
			continue
		case failed.Kind != Refused, failed.Code == codeNoRoute, failed.HTTP == http.StatusNotFound:
			return p.result, failed
		}
		if parts := b.smaller(); parts != nil && failed.Code != codeNoURLs {
			queue = append(parts, queue...)
		} else if refused == nil {
			refused = failed
		}
	}
	return p.result, refused
}

// pass is one pass over an order's batches.
type pass struct {
	target   *cloudflare
	soft     bool
	deadline time.Time
	may      func(context.Context) error // nil: always
	progress func(Result)
	result   Result
}

// send makes attempts until the batch is accepted, refused, or out of time. The
// error is ctx's.
func (p *pass) send(ctx context.Context, b batch) (*TargetError, error) {
	for attempt := 0; ; attempt++ {
		if failed, err := p.turn(ctx, b); failed != nil || err != nil {
			return failed, err
		}
		ans, failed, err := p.attempt(ctx, b)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		p.target.account.heed(now, b, ans, failed)
		if failed == nil {
			p.result.Batches++
			p.result.Items += b.count()
			p.show(nil, 0)
			return nil, nil
		}
		if p.soft && unknownPath(failed) {
			p.soft = false
			p.result.Note = "invalidate_cache is unknown there: purged instead"
			continue
		}
		wait := max(retryAfter(ans.header, now), backoff(attempt))
		if !retryable(failed) || now.Add(wait).After(p.deadline) {
			return failed, nil
		}
		p.show(failed, wait)
		spent, err := pause(ctx, wait)
		if failed.Kind == RateLimited {
			p.result.RateLimited += spent
		}
		if err != nil {
			return nil, err
		}
	}
}

// unknownPath: the API, or a stand-in, has no invalidate_cache.
func unknownPath(e *TargetError) bool {
	return e.HTTP == http.StatusNotFound || e.HTTP == http.StatusMethodNotAllowed || e.Code == codeNoRoute
}

// turn waits until the limits of the account let the batch go.
func (p *pass) turn(ctx context.Context, b batch) (*TargetError, error) {
	wait, ok := p.target.account.reserve(time.Now(), b, p.deadline)
	limited := &TargetError{Kind: RateLimited, Message: fmt.Sprintf("%s to wait for the plan's rate limit", wait.Round(time.Second))}
	if !ok {
		return limited, nil
	}
	if wait > time.Second {
		p.show(limited, wait)
	}
	spent, err := pause(ctx, wait)
	p.result.RateLimited += spent
	return nil, err
}

// attempt makes one call, once the breaker lets it.
func (p *pass) attempt(ctx context.Context, b batch) (answer, *TargetError, error) {
	for {
		if p.may != nil {
			if err := p.may(ctx); err != nil {
				return answer{}, nil, err
			}
		}
		ans, err := p.target.account.breaker.Execute(func() (answer, error) {
			p.result.Attempts++
			ans, err := p.target.caller.send(ctx, b, p.soft)
			if err != nil {
				return ans, err
			}
			if failed := p.target.caller.judge(ans); failed != nil {
				return ans, failed
			}
			return ans, nil
		})
		var failed *TargetError
		switch {
		case err == nil:
			return ans, nil, nil
		case errors.As(err, &failed):
			return ans, failed, nil
		case !errors.Is(err, gobreaker.ErrOpenState) && !errors.Is(err, gobreaker.ErrTooManyRequests):
			return ans, nil, err
		}
		open := &TargetError{Kind: Unreachable, Message: "not called: the last calls failed"}
		if !time.Now().Add(breakerPoll).Before(p.deadline) {
			return answer{}, open, nil
		}
		p.show(open, breakerPoll)
		if err := sleep(ctx, breakerPoll); err != nil {
			return answer{}, nil, err
		}
	}
}

func (p *pass) show(failed *TargetError, wait time.Duration) {
	p.result.Last, p.result.Wait = failed, wait
	if p.progress != nil {
		p.progress(p.result)
	}
}
