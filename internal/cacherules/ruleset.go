package cacherules

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Matcher decides whether a rule is about a request. It must not change the
// request, and must be safe for concurrent use.
type Matcher interface {
	Match(r *http.Request) bool
}

// Ruleset is what rules compile to. It is immutable and safe for concurrent
// use; nil has no rules.
type Ruleset struct {
	rules []compiled
}

type compiled struct {
	verdict *Verdict
	paths   []pattern
	extra   Matcher // nil: the paths alone decide
}

// Unruled is the verdict on requests that no rule is about: everything is up
// to the origin. Nobody may change it.
var Unruled = Verdict{Mode: Origin}

// ambiguous is the verdict on a path with dot segments or parameters about which
// the rules say one thing as it was sent and another as it resolves. Whoever sends it
// hopes that the origin and a cache disagree in the same way, and that the
// private answer to one path is stored as the public answer to the other.
var ambiguous = Verdict{Rule: "ambiguous path", Kind: "private", Mode: Private}

// Compile checks the rules and makes them ready to judge. The matcher extra[i],
// if not nil, has to match in addition to the paths of rules[i]; extra may be
// shorter than rules. It returns every mistake of every rule at once, each
// with the number of its rule, counted from 1.
func Compile(rules []Rule, extra []Matcher) (*Ruleset, error) {
	var errs []error
	if len(extra) > len(rules) {
		errs = append(errs, fmt.Errorf("%d matchers: want at most one for each of %d rules", len(extra), len(rules)))
	}
	set := &Ruleset{rules: make([]compiled, 0, len(rules))}
	for i, rule := range rules {
		var matcher Matcher
		if i < len(extra) {
			matcher = extra[i]
		}
		one, mistakes := compileRule(rule, matcher)
		for _, err := range mistakes {
			errs = append(errs, fmt.Errorf("rule %d (%s): %w", i+1, rule.label(), err))
		}
		set.rules = append(set.rules, one)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return set, nil
}

func compileRule(r Rule, extra Matcher) (compiled, []error) {
	var errs []error
	v, err := Kinds.New(r.spec())
	errs = append(errs, each(err)...)
	r.apply(&v)
	one := compiled{verdict: &v, extra: extra}
	for _, written := range r.Paths {
		p, err := parsePattern(written)
		errs = append(errs, each(err)...)
		one.paths = append(one.paths, p)
	}
	if len(r.Paths) == 0 && extra == nil {
		errs = append(errs, errors.New("no paths: want at least one, or /* for everything"))
	}
	return one, append(errs, r.mistakes(&v)...)
}

// each takes joined errors apart, so that every line names its rule.
func each(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// apply puts what the operator wrote over the defaults of the kind.
func (r Rule) apply(v *Verdict) {
	v.Rule, v.Kind = r.label(), r.Kind
	v.Browser, v.Edge = r.Browser.or(v.Browser), r.Edge.or(v.Edge)
	v.Stale = r.Stale.or(Lifetime{D: v.Stale}).D
	v.Override = r.Override
	v.Tags = slices.Clone(r.Tags)
	v.WithoutCookie = slices.Clone(r.WithoutCookie)
	v.StoreSetCookie, v.StoreAuthorized = r.UnsafeStoreSetCookie, r.UnsafeStoreAuthorized
	v.StoreMismatchedType, v.TrustVary = r.UnsafeStoreMismatchedType, r.UnsafeTrustVary
}

// mistakes are those that concern values and their combination.
func (r Rule) mistakes(v *Verdict) []error {
	var errs []error
	for _, l := range []struct {
		word string
		d    unit.Duration
	}{{wordBrowser, r.Browser.D}, {wordEdge, r.Edge.D}, {wordStale, r.Stale.D}} {
		if l.d < 0 || l.d.D()%time.Second != 0 {
			errs = append(errs, fmt.Errorf("%s %s: want whole seconds, none below zero", l.word, l.d))
		}
	}
	if r.Stale.D > 0 && !v.Edge.Set {
		errs = append(errs, fmt.Errorf("stale %s: want edge too, the lifetime that it extends", r.Stale))
	}
	if r.Override && !v.Browser.Set && !v.Edge.Set {
		errs = append(errs, errors.New("override: want browser or edge too, the lifetimes that win"))
	}
	for _, tag := range r.Tags {
		if strings.TrimSpace(tag) == "" || len(CanonicalTag(tag)) > maxTagBytes {
			errs = append(errs, fmt.Errorf("tag %q: want 1 to %d characters", tag, maxTagBytes))
		}
	}
	for _, name := range r.WithoutCookie {
		if !isToken(strings.TrimSuffix(name, "*")) || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
			errs = append(errs, fmt.Errorf("without_cookie %q: want the name of a cookie, or its beginning and a star", name))
		}
	}
	return errs
}

// Judge returns the verdict of the first rule that is about the request, or
// Unruled. It reads the request and changes nothing; the cookies are for
// Verdict.Bypasses to judge. It allocates nothing, unless the path has letters
// outside ASCII, or can be read in more than one way.
func (s *Ruleset) Judge(r *http.Request) *Verdict {
	if s == nil {
		return &Unruled
	}
	sent := foldable(r.URL.Path)
	if sent == "" {
		sent = "/" // RFC 9110, 4.2.3
	}
	v := s.first(r, clean(sent))
	if isPlain(sent) {
		return v
	}
	decided := v
	for other := range readings(sent) {
		switch o := s.first(r, other); {
		case o.Guard != nil && v.Guard == nil:
			return o // nobody gets past a guard by another spelling
		case o != v:
			decided = &ambiguous
		}
	}
	if v.Guard != nil {
		return v
	}
	return decided
}

// Guarded reports whether a rule has a guard.
func (s *Ruleset) Guarded() bool {
	return slices.ContainsFunc(s.Rules(), func(v *Verdict) bool { return v.Guard != nil })
}

func (s *Ruleset) first(r *http.Request, path string) *Verdict {
	for i := range s.rules {
		if s.rules[i].match(r, path) {
			return s.rules[i].verdict
		}
	}
	return &Unruled
}

func (c *compiled) match(r *http.Request, path string) bool {
	found := len(c.paths) == 0
	for i := range c.paths {
		if c.paths[i].match(path) {
			found = true
			break
		}
	}
	return found && (c.extra == nil || c.extra.Match(r))
}

// Rules are the verdicts in the order of the rules. Nobody may change them.
func (s *Ruleset) Rules() []*Verdict {
	if s == nil {
		return nil
	}
	all := make([]*Verdict, len(s.rules))
	for i := range s.rules {
		all[i] = s.rules[i].verdict
	}
	return all
}

// Unreachable describes each rule that no request can reach, because earlier
// rules without a matcher of their own match every path that it does. It looks
// at patterns only: a matcher that never matches goes unnoticed.
func (s *Ruleset) Unreachable() []string {
	if s == nil {
		return nil
	}
	var found []string
	var earlier []pattern
	for i, one := range s.rules {
		paths := one.paths
		if len(paths) == 0 {
			paths = []pattern{{form: everything}}
		}
		unreached := func(p pattern) bool { return !covered(p, earlier) }
		if !slices.ContainsFunc(paths, unreached) {
			found = append(found, fmt.Sprintf("rule %d (%s): earlier rules match everything that it does: move it up or remove it", i+1, one.verdict.Rule))
		}
		if one.extra == nil {
			earlier = append(earlier, paths...)
		}
	}
	return found
}
