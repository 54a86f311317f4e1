package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/edgegw/edge/internal/reason"
)

// codeNoPermission: the token is known, and may not do this.
const codeNoPermission = 9109

// CheckCloudflare asks Cloudflare whether it knows the token, whether the zones
// are what the configuration says: there, active, of that domain and plan; and
// whether they are set up so that what the gateway says about caching holds.
// It changes nothing. All problems are given at once. A token that may do no
// more than purge cannot read zones: then that is what is given, once. Whether a
// token may purge can only be found out by purging.
func CheckCloudflare(ctx context.Context, c CloudflareConfig) []error {
	if err := c.Validate(); err != nil {
		return []error{err}
	}
	c = c.withDefaults()
	caller := newCaller(c.APIURL, c.APIToken, transport)
	if err := caller.knowsToken(ctx); err != nil {
		return []error{err}
	}
	var problems []error
	unread := make(map[string]bool)
	for _, text := range c.ZoneIDs {
		z := parseZone(text)
		found, err := caller.zone(ctx, z.id)
		if err == nil {
			problems = append(problems, found.problems(caller, z, c.Plan)...)
			err = caller.setup(ctx, z, func(problem error) { problems = append(problems, problem) })
		}
		switch missing := lacking(err); {
		case missing != "" && !unread[missing]:
			problems = append(problems, fmt.Errorf("cloudflare api_token may not read %s of zone %s: not checked: add the permissions Zone Read, Zone Settings Read and Cache Settings Read to have it checked", missing, z.id))
			unread[missing] = true
		case missing == "" && err != nil:
			problems = append(problems, fmt.Errorf("cloudflare zone_id %s: %w", z.id, err))
		}
	}
	return problems
}

// AskCloudflare asks whether Cloudflare answers and knows the token. It changes
// nothing, and costs one call.
func AskCloudflare(ctx context.Context, c CloudflareConfig) error {
	c = c.withDefaults()
	return newCaller(c.APIURL, c.APIToken, transport).knowsToken(ctx)
}

func (c *caller) knowsToken(ctx context.Context) error {
	var token struct {
		Status string `json:"status"`
	}
	if err := c.get(ctx, "/user/tokens/verify", &token); err != nil {
		return fmt.Errorf("cloudflare: %w", err)
	}
	if token.Status != "active" {
		return fmt.Errorf("cloudflare api_token is %q: want an active one", c.clean(token.Status))
	}
	return nil
}

// foundZone is what Cloudflare says of a zone.
type foundZone struct {
	Name   string `json:"name"`
	Status string `json:"status"`
	Paused bool   `json:"paused"`
	// DevelopmentMode is how many seconds it lasts still; negative, since when
	// it is over.
	DevelopmentMode float64 `json:"development_mode"`
	Plan            struct {
		LegacyID string `json:"legacy_id"`
	} `json:"plan"`
}

// problems are where the configuration says something else.
func (f foundZone) problems(c *caller, z zone, plan string) []error {
	var problems []error
	say := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if z.domain != "" && z.domain != f.Name {
		say("cloudflare zone_id %s is zone %s: want that of %s", z.id, c.clean(f.Name), z.domain)
	}
	if f.Status != "active" {
		say("cloudflare zone %s is %q: want an active one: nothing passes Cloudflare yet", z.id, c.clean(f.Status))
	}
	if f.Paused {
		say("cloudflare zone %s is paused: nothing passes Cloudflare's cache", z.id)
	}
	if f.DevelopmentMode > 0 {
		say("cloudflare zone %s is in Development Mode: nothing is cached there", z.id)
	}
	if _, known := plans[f.Plan.LegacyID]; known && f.Plan.LegacyID != plan {
		say("cloudflare plan %q: zone %s has the plan %s: write plan %s, or purges go at the wrong rate", plan, z.id, f.Plan.LegacyID, f.Plan.LegacyID)
	}
	return problems
}

func (c *caller) zone(ctx context.Context, id string) (foundZone, error) {
	var found foundZone
	err := c.get(ctx, "/zones/"+id, &found)
	return found, err
}

// get asks the API once, and reads the answer's result.
func (c *caller) get(ctx context.Context, path string, result any) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return errors.New(c.clean(reason.Of(err).Error()))
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("User-Agent", "edge")
	res, err := c.client.Do(r)
	if err != nil {
		return errors.New(c.clean(reason.Of(err).Error()))
	}
	ans, err := readAnswer(res)
	if err != nil {
		return errors.New(c.clean(reason.Of(err).Error()))
	}
	if failed := c.judge(*ans); failed != nil {
		return failed
	}
	var body struct {
		Result json.RawMessage `json:"result"`
	}
	if json.Unmarshal(ans.body, &body) != nil || json.Unmarshal(body.Result, result) != nil {
		return fmt.Errorf("%s: got an answer without a result as the API gives it", path)
	}
	return nil
}
