package control

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/edgegw/edge/internal/dashboard"
	"github.com/edgegw/edge/internal/deploy"
)

// verdict is all that a caller without a token learns.
type verdict struct {
	Status string `json:"status"` // ok or fail
}

func (c *call) healthz() error { return c.answer(http.StatusOK, verdict{"ok"}) }

// readyz tells details only to those who prove who they are; a token that is
// wrong is no better here than elsewhere.
func (c *call) readyz() error {
	if c.trusted || c.r.Header.Get("Authorization") != "" {
		if err := c.authenticate(); err != nil {
			return err
		}
	}
	readiness := c.gateway.Ready(c.r.Context())
	status, bare := http.StatusOK, verdict{"ok"}
	if !readiness.Ready {
		status, bare = http.StatusServiceUnavailable, verdict{"fail"}
	}
	if c.actor == "" {
		return c.answer(status, bare)
	}
	if readiness.Dependencies == nil {
		readiness.Dependencies = []Dependency{}
	}
	return c.answer(status, struct {
		verdict
		Readiness
	}{bare, readiness})
}

func (c *call) status() error {
	status := c.gateway.Status(c.r.Context())
	status.Schema = StatusSchema
	if status.Purges.Last == nil {
		status.Purges.Last = nothing
	}
	if status.Deploys.Last == nil {
		status.Deploys.Last = []deploy.Record{}
	}
	if status.Deploys.Pools == nil {
		status.Deploys.Pools = map[string]deploy.Status{}
	}
	if status.Dependencies == nil {
		status.Dependencies = []Dependency{}
	}
	if status.Trouble == nil {
		status.Trouble = []Trouble{}
	}
	return c.answer(http.StatusOK, status)
}

// dashboard is a page that asks for the token itself, and what it is made of: it
// holds nothing that is anybody's secret.
func (c *call) dashboard() error {
	if !dashboard.Serve(c.w, c.r, c.id) {
		return problem(http.StatusNotFound, CodeUnknown, "dashboard %q: no such part of the page", shorten(c.id))
	}
	return nil
}

// isBelowDashboard reports whether the page was asked for as if it were a folder, where
// nothing that it names would be.
func (c *call) isBelowDashboard() bool {
	isRead := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	return isRead && strings.TrimPrefix(c.r.URL.Path, "/") == "dashboard/"
}

func (c *call) toDashboard() error {
	// Relative: the prefix under which this is mounted was stripped.
	c.w.Header().Set("Location", "../dashboard")
	c.w.WriteHeader(http.StatusPermanentRedirect)
	return nil
}

func (c *call) traffic() error {
	var after time.Time
	if text := c.query.Get("after"); text != "" {
		var err error
		if after, err = time.Parse(time.RFC3339, text); err != nil {
			return invalid(http.StatusBadRequest, Mistake{"after", shorten(text), "a time such as 2026-03-01T12:00:00Z"})
		}
	}
	return c.answer(http.StatusOK, c.gateway.Traffic(after))
}

// autoscale answers one flat object for a pool, so that a scaler that reads one
// number from JSON finds it without a search.
func (c *call) autoscale() error {
	answer, err := c.gateway.Autoscale(c.id)
	if err != nil {
		return err
	}
	if c.id == "" {
		answer = map[string]any{"pools": answer}
	}
	return c.answer(http.StatusOK, answer)
}

// maxExplainFields is far more than a request to be explained needs.
const maxExplainFields = 50

func (c *call) explain() error {
	q, mistakes := ParseExplain(c.query)
	if len(mistakes) > 0 {
		return invalid(http.StatusUnprocessableEntity, mistakes...)
	}
	explanation, err := c.gateway.Explain(c.r.Context(), q)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, explanation)
}

// ParseExplain reads url, method and header as GET explain takes them.
func ParseExplain(query url.Values) (ExplainQuery, []Mistake) {
	q := ExplainQuery{URL: query.Get("url"), Method: query.Get("method"), Header: make(http.Header)}
	var mistakes []Mistake
	u, err := url.Parse(q.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		mistakes = append(mistakes, Mistake{"url", shorten(q.URL), "an absolute URL such as https://www.example.com/path"})
	}
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	// A method and a field name are both tokens: RFC 9110, 9.1 and 5.1.
	if !httpguts.ValidHeaderFieldName(q.Method) {
		mistakes = append(mistakes, Mistake{"method", shorten(q.Method), "a method such as GET"})
	}
	fields := query["header"]
	if len(fields) > maxExplainFields {
		mistakes = append(mistakes, Mistake{"header", shorten(fields[maxExplainFields]), "at most 50 of them"})
		fields = nil
	}
	for _, field := range fields {
		name, value, found := strings.Cut(field, ":")
		value = strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			mistakes = append(mistakes, Mistake{"header", shorten(field), "a field such as Accept-Encoding: gzip"})
			continue
		}
		q.Header.Add(name, value)
	}
	return q, mistakes
}
