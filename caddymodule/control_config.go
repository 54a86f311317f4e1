package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/control"
)

// ControlConfig guards the control API on sites.
type ControlConfig struct {
	// Tokens are the bearer tokens that edge_control accepts: one, or two
	// while one is replaced by the other. At least 16 characters each;
	// placeholders such as {env.EDGE_TOKEN} and {file./run/secrets/token} are
	// replaced when the configuration is loaded.
	Tokens []string `json:"tokens,omitempty"`
	// HintToken is what the URL of a webhook has to end with that hints at a
	// rollout, as a token is. Default: none, and no hint is taken.
	HintToken string `json:"hint_token,omitempty"`
	// Callers have tokens of their own, and may do some things only.
	Callers []CallerConfig `json:"callers,omitempty"`
}

// CallerConfig is somebody who may do some things only, such as CI.
type CallerConfig struct {
	// Name stands in records and logs.
	Name string `json:"name"`
	// Tokens are as those for everything: one, or two while one replaces the other.
	Tokens []string `json:"tokens"`
	// May lists what: read, purge, deploy, replicas.
	May []control.Scope `json:"may"`
}

// parseCaller reads "caller NAME { token …; may … }".
func (c *ControlConfig) parseCaller(d *caddyfile.Dispenser) error {
	var caller CallerConfig
	if !d.AllArgs(&caller.Name) {
		return d.Errf("caller: got %d arguments: want one, a name", d.CountRemainingArgs())
	}
	err := readBlock(d, words{
		"token": texts(&caller.Tokens),
		"may":   parsedList(&caller.May, func(text string) (control.Scope, error) { return control.Scope(text), nil }),
	})
	c.Callers = append(c.Callers, caller)
	return err
}

func (a *App) replaceInControl(replace func(place string, text *string)) {
	replace("control hint_token", &a.Control.HintToken)
	a.tokens = slices.Clone(a.Control.Tokens)
	for i := range a.tokens {
		replace("control token", &a.tokens[i])
	}
	for _, c := range a.Control.Callers {
		caller := control.Caller{Name: c.Name, Tokens: slices.Clone(c.Tokens), May: c.May}
		for i := range caller.Tokens {
			replace("control caller "+c.Name+" token", &caller.Tokens[i])
		}
		a.callers = append(a.callers, caller)
	}
}

func (a *App) provisionControl() error {
	var errs []error
	if len(a.tokens) > 2 {
		errs = append(errs, fmt.Errorf("control: got %d tokens: want one, or two while one replaces the other", len(a.tokens)))
	}
	given := make(map[string]bool)
	check := func(whose string, tokens []string) {
		for i, token := range tokens {
			if strings.Contains(token, "{") {
				continue // the placeholder has no value, which has been said
			}
			errs = append(errs, each(control.CheckToken(token), func(mistake error) error {
				return fmt.Errorf("control %stoken %d: %w", whose, i+1, mistake)
			}))
			if given[token] {
				errs = append(errs, fmt.Errorf("control %stoken %d: stands there twice: want each once, or nobody knows who calls", whose, i+1))
			}
			given[token] = true
		}
	}
	check("", a.tokens)
	names := make(map[string]bool)
	for _, c := range a.callers {
		errs = append(errs, each(c.Validate(), func(mistake error) error { return fmt.Errorf("control %w", mistake) }))
		if names[c.Name] {
			errs = append(errs, fmt.Errorf("control caller %s: given twice: want each name once", c.Name))
		}
		names[c.Name] = true
		check("caller "+c.Name+" ", c.Tokens)
	}
	if hint := a.Control.HintToken; hint != "" && !strings.Contains(hint, "{") {
		errs = append(errs, each(control.CheckToken(hint), func(mistake error) error { return fmt.Errorf("control hint_token: %w", mistake) }))
		if given[hint] {
			errs = append(errs, errors.New("control hint_token: is a control token: want another one, since URLs are logged"))
		}
	}
	return errors.Join(errs...)
}

// mayCall reports whether somebody has a token for a scope.
func (a *App) mayCall(scope control.Scope) bool {
	return len(a.tokens) > 0 || slices.ContainsFunc(a.callers, func(c control.Caller) bool { return slices.Contains(c.May, scope) })
}
