package purge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// errLacks wraps the refusal of something that the token may not read.
type errLacks struct {
	what string
	err  error
}

func (e errLacks) Error() string { return e.err.Error() }
func (e errLacks) Unwrap() error { return e.err }

// lacking says what a token was not allowed to read; "" if that is not what is
// wrong.
func lacking(err error) string {
	var failed *TargetError
	if !errors.As(err, &failed) || failed.Code != codeNoPermission && failed.Code != codeAuth {
		return ""
	}
	var lacks errLacks
	if errors.As(err, &lacks) {
		return lacks.what
	}
	return "plan, domain and set-up"
}

// setup compares what a zone does to answers with what a gateway says in them.
// Its error is why it could not be told.
func (c *caller) setup(ctx context.Context, z zone, say func(error)) error {
	var online struct {
		Value string `json:"value"`
	}
	if err := c.get(ctx, "/zones/"+z.id+"/settings/always_online", &online); err != nil {
		return errLacks{"settings and cache rules", err}
	}
	if online.Value == "on" {
		say(fmt.Errorf("cloudflare zone %s has Always Online: with it, Cloudflare heeds neither stale-while-revalidate nor stale-if-error: switch it off", z.id))
	}
	var browsers struct {
		Value float64 `json:"value"`
	}
	if err := c.get(ctx, "/zones/"+z.id+"/settings/browser_cache_ttl", &browsers); err != nil {
		return errLacks{"settings and cache rules", err}
	}
	if browsers.Value > 0 {
		say(fmt.Errorf("cloudflare zone %s has a Browser Cache TTL of %s: browsers keep pages for as long where a rule gives them less, and no purge reaches them: want Respect Existing Headers", z.id, time.Duration(browsers.Value)*time.Second))
	}
	rules, err := c.cacheRules(ctx, z)
	if err != nil {
		return errLacks{"cache rules", err}
	}
	for _, problem := range ruleProblems(z, rules) {
		say(problem)
	}
	return nil
}

// cacheRule is a rule of a zone about which requests are cached.
type cacheRule struct {
	Description string `json:"description"`
	Expression  string `json:"expression"`
	Enabled     bool   `json:"enabled"`
	Parameters  struct {
		Cache   *bool `json:"cache"`
		EdgeTTL struct {
			Mode string `json:"mode"`
		} `json:"edge_ttl"`
	} `json:"action_parameters"`
}

// cacheRules are a zone's; none where it has no ruleset.
func (c *caller) cacheRules(ctx context.Context, z zone) ([]cacheRule, error) {
	var found struct {
		Rules []cacheRule `json:"rules"`
	}
	err := c.get(ctx, "/zones/"+z.id+"/rulesets/phases/http_request_cache_settings/entrypoint", &found)
	var failed *TargetError
	if errors.As(err, &failed) && failed.HTTP == http.StatusNotFound {
		return nil, nil
	}
	for i := range found.Rules {
		found.Rules[i].Description = c.clean(cmp.Or(found.Rules[i].Description, found.Rules[i].Expression))
	}
	return found.Rules, err
}

// ruleProblems are those of a zone's cache rules. What their expressions mean
// is not looked into.
func ruleProblems(z zone, rules []cacheRule) []error {
	var problems []error
	eligible := false
	for _, rule := range rules {
		if !rule.Enabled {
			continue
		}
		eligible = eligible || rule.Parameters.Cache != nil && *rule.Parameters.Cache
		if rule.Parameters.EdgeTTL.Mode == "override_origin" {
			problems = append(problems, fmt.Errorf("cloudflare zone %s: cache rule %q overrides the Edge TTL, which wins over what edge says, no-store during a rollout too: want it to use the cache-control header if there is one", z.id, rule.Description))
		}
	}
	if !eligible {
		problems = append(problems, fmt.Errorf("cloudflare zone %s has no cache rule that makes pages eligible: Cloudflare caches files by their extensions, and no HTML", z.id))
	}
	return problems
}
