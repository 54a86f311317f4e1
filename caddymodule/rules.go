package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/cacherules"
)

// Rules is the handler edge_rules. It judges each request by the first rule
// that matches, tells the cache behind it, and sets the response headers that
// browsers and the CDN obey. It works with or without edge_cache behind it.
type Rules struct {
	// Rules in the order in which they are tried; the first that matches decides.
	Rules []Rule `json:"rules,omitempty"`

	compiled *cacherules.Ruleset
	matchers bool // some rule uses Caddy's matchers
	guarded  bool // some rule keeps its answers from strangers
}

// Rule is a rule of edge_rules: its kind and lifetimes, and what it matches.
type Rule struct {
	cacherules.Rule

	// MatcherSetsRaw are Caddy's matcher sets. The rule is about requests that
	// match one of its paths (if it has any) and one of these sets (if any).
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`
}

// CaddyModule returns the Caddy module information.
func (Rules) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.edge_rules", New: func() caddy.Module { return new(Rules) }}
}

// Provision compiles the rules.
func (h *Rules) Provision(ctx caddy.Context) error {
	app, err := siteApp(ctx)
	if err != nil {
		return err
	}
	rules := make([]cacherules.Rule, len(h.Rules))
	extra := make([]cacherules.Matcher, len(h.Rules))
	for i := range h.Rules {
		if rules[i], err = h.Rules[i].withTokens(); err != nil {
			return fmt.Errorf("edge_rules: rule %d: %w", i+1, err)
		}
		if len(h.Rules[i].MatcherSetsRaw) == 0 {
			continue
		}
		loaded, err := ctx.LoadModule(&h.Rules[i], "MatcherSetsRaw")
		if err != nil {
			return fmt.Errorf("edge_rules: rule %d: %w", i+1, err)
		}
		var sets caddyhttp.MatcherSets
		if err := sets.FromInterface(loaded); err != nil {
			return fmt.Errorf("edge_rules: rule %d: %w", i+1, err)
		}
		extra[i], h.matchers = matcherSets(sets), true
	}
	h.compiled, err = cacherules.Compile(rules, extra)
	if err != nil {
		return fmt.Errorf("edge_rules: %w", err)
	}
	h.guarded = h.compiled.Guarded()
	app.addRules(h.compiled)
	return nil
}

// withTokens is the rule with its tokens' placeholders replaced.
func (r *Rule) withTokens() (cacherules.Rule, error) {
	rule := r.Rule
	rule.Tokens = slices.Clone(rule.Tokens)
	for i, token := range rule.Tokens {
		value, err := caddy.NewReplacer().ReplaceOrErr(token, true, true)
		if err != nil {
			return rule, fmt.Errorf("token %q: want a placeholder that has a value here: %w", token, err)
		}
		rule.Tokens[i] = strings.TrimSpace(value)
	}
	return rule, nil
}

// matcherSets lets a rule use Caddy's matchers. One that fails might have meant
// to keep the request private, so the request becomes that.
type matcherSets caddyhttp.MatcherSets

const matcherFailedVar = "edge.matcher_failed"

func (m matcherSets) Match(r *http.Request) bool {
	ok, err := caddyhttp.MatcherSets(m).AnyMatchWithError(r)
	if err != nil {
		caddyhttp.SetVar(r.Context(), matcherFailedVar, true)
	}
	return ok && err == nil
}

// failedMatcher is the verdict on a request of which a matcher could not tell
// whether it matches.
var failedMatcher = cacherules.Verdict{Rule: "matcher failed", Kind: "private", Mode: cacherules.Private}

// ServeHTTP judges the request and sees to the response's headers.
func (h *Rules) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) (err error) {
	ex, first := begin(w, r)
	if first {
		err = errCutOff // what stands if it ends with a panic
		defer func() { ex.visited(r, err, recover()) }()
	}
	ex.verdict = ex.judge(r, h)
	if h.guarded && !h.admits(ex.verdict, r) {
		next = nothingThere
	}
	rw, wrapper := &ex.writer, &ex.wrapper
	if rw.ex != nil { // a second edge_rules for the same request
		rw, wrapper = new(rulesWriter), new(caddyhttp.ResponseWriterWrapper)
	}
	wrapper.ResponseWriter = w
	*rw = rulesWriter{ResponseWriterWrapper: wrapper, ex: ex, r: r}
	err = next.ServeHTTP(rw, r)
	if err != nil && !rw.done {
		// Whoever answers an error, Caddy or handle_errors, does not pass here
		// again, and CDNs keep a 404 of which they are told nothing.
		rw.edit(statusOf(err))
	}
	ex.recordAgain(r)
	return err
}

// admits reports whether a guard lets the request pass, if there is one. A matcher
// that failed might have said that there is.
func (h *Rules) admits(v *cacherules.Verdict, r *http.Request) bool {
	if v.Guard == nil {
		return v != &failedMatcher
	}
	if !v.Guard.Admits(r.Header) {
		return false
	}
	delete(r.Header, v.Guard.Header()) // it is no business of the application
	return true
}

// nothingThere answers strangers: they do not learn whether there is anything.
var nothingThere = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
	return caddyhttp.Error(http.StatusNotFound, errors.New("a guarded file, and no token of its rule"))
})

// judge is the verdict on a request.
func (h *Rules) judge(r *http.Request) *cacherules.Verdict {
	verdict := h.compiled.Judge(r)
	if h.matchers && caddyhttp.GetVar(r.Context(), matcherFailedVar) != nil {
		return &failedMatcher
	}
	return verdict
}

// statusOf is the status with which Caddy answers an error.
func statusOf(err error) int {
	var known caddyhttp.HandlerError
	if errors.As(err, &known) && known.StatusCode != 0 {
		return known.StatusCode
	}
	return http.StatusInternalServerError
}

// rulesWriter edits the final response header, unless a cache behind it has
// taken the verdict over and does so itself, once for each stored response.
type rulesWriter struct {
	*caddyhttp.ResponseWriterWrapper
	ex   *exchange
	r    *http.Request
	done bool
}

func (w *rulesWriter) WriteHeader(status int) {
	if !w.done && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.done = true
		w.ex.status, w.ex.headed = status, time.Now()
		w.edit(status)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *rulesWriter) edit(status int) {
	if status == http.StatusSwitchingProtocols {
		return
	}
	w.ex.verdict.Respond(cacherules.Response{
		Request:  w.r,
		Status:   status,
		Header:   w.Header(),
		Bypassed: w.ex.verdict.Bypasses(w.r),
		Version:  w.ex.trace.Version,
		Path:     askedPath(w.r),
	})
}

// askedPath is the path by which the visitor asked, before any rewrite.
func askedPath(r *http.Request) string {
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		return original.URL.Path
	}
	return r.URL.Path
}

func (w *rulesWriter) Write(body []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(body)
}

func (w *rulesWriter) FlushError() error {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriterWrapper.ResponseWriter).Flush()
}

// parseRules reads
//
//	edge_rules {
//	    <kind> [<path or @matcher>...] {
//	        match     { <Caddy's matchers> }
//	        browser   <lifetime>|none
//	        edge      <lifetime>|none
//	        stale     <duration>
//	        override
//	        tag       <tag>...
//	        without_cookie <name>...
//	        name      <name>
//	        token     <token>...
//	        token_header <field>
//	        unsafe_store_set_cookie
//	        unsafe_store_authorized
//	        unsafe_store_mismatched_type
//	        unsafe_trust_vary
//	    }
//	}
func parseRules(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("edge_rules: spare argument %q: rules stand in its block", h.Val())
	}
	rules := new(Rules)
	known := make(words)
	for _, kind := range cacherules.Kinds.Names() {
		known[kind] = func(d *caddyfile.Dispenser) error {
			rule, err := parseRule(h.WithDispenser(d))
			rules.Rules = append(rules.Rules, rule)
			return err
		}
		repeatable[kind] = true
	}
	if err := readBlock(h.Dispenser, known); err != nil {
		return nil, err
	}
	if len(rules.Rules) == 0 {
		return nil, h.Errf("edge_rules: got no rule: want at least one of %s", strings.Join(cacherules.Kinds.Names(), ", "))
	}
	return rules, nil
}

// parseRule reads one rule; the dispenser stands on its kind and ends with it.
func parseRule(h httpcaddyfile.Helper) (Rule, error) {
	rule := Rule{Rule: cacherules.Rule{Kind: h.Val()}}
	var errs []error
	for h.NextArg() {
		if !strings.HasPrefix(h.Val(), "@") {
			rule.Paths = append(rule.Paths, h.Val())
			continue
		}
		h.Prev()
		set, _, err := h.MatcherToken()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rule.MatcherSetsRaw = append(rule.MatcherSetsRaw, set)
	}
	r := &rule.Rule
	errs = append(errs, readBlock(h.Dispenser, words{
		"browser":                      parsed(&r.Browser, cacherules.ParseLifetime),
		"edge":                         parsed(&r.Edge, cacherules.ParseLifetime),
		"stale":                        parsed(&r.Stale, cacherules.ParseLifetime),
		"override":                     alone(&r.Override),
		"tag":                          texts(&r.Tags),
		"without_cookie":               texts(&r.WithoutCookie),
		"name":                         text(&r.Name),
		"token":                        texts(&r.Tokens),
		"token_header":                 text(&r.TokenHeader),
		"unsafe_store_set_cookie":      alone(&r.UnsafeStoreSetCookie),
		"unsafe_store_authorized":      alone(&r.UnsafeStoreAuthorized),
		"unsafe_store_mismatched_type": alone(&r.UnsafeStoreMismatchedType),
		"unsafe_trust_vary":            alone(&r.UnsafeTrustVary),
		"match": func(d *caddyfile.Dispenser) error {
			set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
			rule.MatcherSetsRaw = append(rule.MatcherSetsRaw, set)
			return err
		},
	}))
	return rule, errors.Join(errs...)
}

var (
	_ caddy.Provisioner           = (*Rules)(nil)
	_ caddyhttp.MiddlewareHandler = (*Rules)(nil)
)
