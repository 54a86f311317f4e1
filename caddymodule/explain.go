package caddymodule

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
)

// Explain says what would become of a request.
func (controlled) Explain(ctx context.Context, q control.ExplainQuery) (any, error) {
	a := live.Load()
	if a == nil {
		return nil, errNotStarted
	}
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, nil)
	if err != nil {
		return nil, err
	}
	r.Header = q.Header
	return a.explain(r)
}

// explanation is what GET explain answers, in the order in which to read it.
type explanation struct {
	URL    string `json:"url"`
	Method string `json:"method"`
	// Answers names the handler that answers, or asks a replica.
	Answers string      `json:"answers"`
	Notes   []string    `json:"notes,omitempty"`
	Verdict verdictView `json:"verdict"`
	// Sends is what edge_rules writes into a plain 200 of an application that
	// says nothing about caching. Only of a configuration alone.
	Sends map[string]string     `json:"sends,omitempty"`
	Cache httpcache.Explanation `json:"cache"`
	// Pick is the replica that a request would go to, if it went to one.
	Pick  *lb.Prospect `json:"pick,omitempty"`
	Pools []lb.Status  `json:"pools"`
}

type verdictView struct {
	Rule        string   `json:"rule"`
	Mode        string   `json:"mode"`
	Bypassed    bool     `json:"bypassed"`
	Browser     string   `json:"browser,omitempty"`
	Edge        string   `json:"edge,omitempty"`
	Stale       string   `json:"stale,omitempty"`
	Override    bool     `json:"override,omitempty"`
	Tags        []string `json:"tags,omitempty"`
	Unreachable []string `json:"unreachable_rules,omitempty"`
}

// explain follows the request through the handlers of its site, none of which
// acts, and asks those of edge what they would do.
func (a *App) explain(r *http.Request) (explanation, error) {
	asked := r.URL
	r.RequestURI = asked.RequestURI()
	r.RemoteAddr = "127.0.0.1:0" // whoever asks is on this machine, as far as matchers are concerned
	if asked.Scheme == "https" {
		r.TLS = new(tls.ConnectionState)
	}
	c, err := a.course(r)
	if err != nil {
		return explanation{}, err
	}
	e := explanation{URL: asked.String(), Method: r.Method, Answers: c.answers, Notes: c.notes(), Pools: []lb.Status{}}
	verdict := &cacherules.Unruled
	if c.rules != nil {
		verdict = c.verdict
		e.Verdict.Unreachable = c.rules.compiled.Unreachable()
	}
	e.Verdict.show(verdict, c.r)
	engine := httpcache.Handler{Store: a.gateway.store}
	if c.cache != nil {
		engine.Policy = c.cache.handler.Policy
	}
	engine.Seen = func(r *http.Request) (string, string) {
		_, target := seen(r)
		return asked.Scheme, target
	}
	e.Cache = engine.Explain(c.r, verdict, time.Now())
	if c.cache == nil {
		e.Cache.Decision, e.Cache.Reason = "pass", ""
	}
	if live.Load() != a {
		e.Sends = c.sends()
	}
	if c.proxy != nil {
		pool := a.pools[c.proxy.Pool]
		pick := pool.Prospect(c.r)
		e.Pick, e.Pools = &pick, append(e.Pools, pool.Status())
	}
	return e, nil
}

// explainAlone says what a configuration would make of a request. Nothing is
// stored and no replica is known, since nothing runs.
func explainAlone(ctx context.Context, k checkConfig, q control.ExplainQuery) (any, error) {
	app, err := provisioned(k)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.config, err)
	}
	defer func() { _ = app.Cleanup() }() // of what never started
	r, err := http.NewRequestWithContext(ctx, q.Method, q.URL, nil)
	if err != nil {
		return nil, err
	}
	r.Header = q.Header
	e, err := app.explain(r)
	if err != nil {
		return nil, err
	}
	e.Pick, e.Pools = nil, []lb.Status{}
	e.Notes = append(e.Notes, "by the configuration alone: nothing runs, so nothing is stored and no replica is known")
	return e, nil
}

// sends is what rules write into an answer that says nothing itself.
func (c *course) sends() map[string]string {
	if c.rules == nil || c.answers == "edge_rules" {
		return nil
	}
	header := http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	if c.verdict.Fingerprinted {
		header.Set("Content-Type", "application/javascript")
	}
	c.verdict.Respond(cacherules.Response{
		Request: c.r, Status: http.StatusOK, Header: header, Bypassed: c.verdict.Bypasses(c.r), Path: askedPath(c.r),
	})
	delete(header, "Content-Type")
	written := make(map[string]string, len(header))
	for name, lines := range header {
		written[name] = strings.Join(lines, ", ")
	}
	return written
}

func (v *verdictView) show(verdict *cacherules.Verdict, r *http.Request) {
	v.Rule, v.Mode, v.Bypassed = verdict.Rule, verdict.Mode.String(), verdict.Bypasses(r)
	v.Browser, v.Edge = verdict.Browser.String(), verdict.Edge.String()
	v.Override, v.Tags = verdict.Override, verdict.Tags
	if verdict.Stale > 0 {
		v.Stale = verdict.Stale.String()
	}
}

// notes are what somebody who asks should know of a site without a part of edge.
func (c *course) notes() []string {
	switch {
	case c.answers == "":
		return []string{"no site of this gateway answers this URL"}
	case c.answers == "edge_rules":
		return []string{"a guarded file, and no token of its rule: 404"}
	case c.answers == "edge_control":
		return []string{"the control API answers: no rule and no cache has a say"}
	case c.cache == nil:
		return []string{fmt.Sprintf("no edge_cache on the way: %s is asked each time", c.answers)}
	}
	return nil
}
