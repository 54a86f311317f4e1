package purge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// CheckCloudflare asks Cloudflare whether it knows the token, once, and changes
// nothing. It tells neither whether the token may purge nor whether the zones
// are right: a token that may do no more than purge cannot find out.
func CheckCloudflare(ctx context.Context, c CloudflareConfig) error {
	if err := c.Validate(); err != nil {
		return err
	}
	c = c.withDefaults()
	caller := newCaller(c.APIURL, c.APIToken, transport)
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.APIURL+"/user/tokens/verify", nil)
	if err != nil {
		return fmt.Errorf("cloudflare: %s", caller.clean(reason(err)))
	}
	r.Header.Set("Authorization", "Bearer "+c.APIToken)
	r.Header.Set("User-Agent", "edge")
	res, err := caller.client.Do(r)
	if err != nil {
		return fmt.Errorf("cloudflare: %s", caller.clean(reason(err)))
	}
	ans, err := readAnswer(res)
	if err != nil {
		return fmt.Errorf("cloudflare: %s", caller.clean(reason(err)))
	}
	if failed := caller.judge(*ans); failed != nil {
		return fmt.Errorf("cloudflare: %w", failed)
	}
	var token struct {
		Result struct {
			Status string `json:"status"`
		} `json:"result"`
	}
	if err := json.Unmarshal(ans.body, &token); err != nil || token.Result.Status != "active" {
		return fmt.Errorf("cloudflare api_token is %q: want an active one", caller.clean(token.Result.Status))
	}
	return nil
}
