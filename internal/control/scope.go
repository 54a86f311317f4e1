package control

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Scope is a part of what the API does.
type Scope string

// Scopes.
const (
	ScopeRead     Scope = "read"     // status, explain, lists, records
	ScopePurge    Scope = "purge"    // purges, and how they stand
	ScopeDeploy   Scope = "deploy"   // deploys, and how they stand
	ScopeReplicas Scope = "replicas" // registering, draining
)

// Scopes are all there are.
func Scopes() []Scope { return []Scope{ScopeRead, ScopePurge, ScopeDeploy, ScopeReplicas} }

// Caller is somebody who may do some things only, by tokens of his own.
type Caller struct {
	// Name stands in records and logs.
	Name string
	// Tokens are one, or two while one replaces the other.
	Tokens []string
	// May are the scopes.
	May []Scope
}

// Validate gives every mistake at once; none shows a token.
func (c Caller) Validate() error {
	var errs []error
	if c.Name == "" || len(c.Name) > 64 || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, fmt.Errorf("caller %q: want a name of up to 64 printable characters, such as ci", c.Name))
	}
	if n := len(c.Tokens); n == 0 || n > 2 {
		errs = append(errs, fmt.Errorf("caller %s: got %d tokens: want one, or two while one replaces the other", c.Name, n))
	}
	if len(c.May) == 0 {
		errs = append(errs, fmt.Errorf("caller %s: may do nothing: want may with some of %s", c.Name, scopeNames()))
	}
	for _, scope := range c.May {
		if !slices.Contains(Scopes(), scope) {
			errs = append(errs, fmt.Errorf("caller %s: may %q: want some of %s", c.Name, scope, scopeNames()))
		}
	}
	return errors.Join(errs...)
}

func scopeNames() string {
	var names []string
	for _, scope := range Scopes() {
		names = append(names, string(scope))
	}
	return strings.Join(names, ", ")
}

// scopes say which of them opens a route, any one of several.
func (r route) scopes() []Scope {
	first, _, _ := strings.Cut(r.pattern, "/")
	var own Scope
	switch first {
	case "purge":
		own = ScopePurge
	case "deploy", "deploys":
		own = ScopeDeploy
	case "replicas", "pools":
		own = ScopeReplicas
	default:
		return []Scope{ScopeRead}
	}
	if r.method == http.MethodGet {
		return []Scope{own, ScopeRead}
	}
	return []Scope{own}
}

// principal is whoever has a token: everything but the name is fixed.
type principal struct {
	name string
	may  []Scope // nil for everything
}

func (p principal) mayUse(r route) bool {
	return p.may == nil || slices.ContainsFunc(r.scopes(), func(s Scope) bool { return slices.Contains(p.may, s) })
}

// principals are whose tokens are at the same places in the set.
func principals(tokens []string, callers []Caller) (all []string, who []principal) {
	for i, token := range tokens {
		all, who = append(all, token), append(who, principal{name: fmt.Sprintf("token %d", i+1)})
	}
	for _, c := range callers {
		for i, token := range c.Tokens {
			name := c.Name
			if len(c.Tokens) > 1 {
				name = fmt.Sprintf("%s (token %d)", c.Name, i+1)
			}
			all, who = append(all, token), append(who, principal{name: name, may: append([]Scope{}, c.May...)})
		}
	}
	return all, who
}
