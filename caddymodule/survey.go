package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// survey goes through the routes of a server, before they are provisioned, and
// finds out whether its answers depend on the bytes of a request alone.
type survey struct {
	headers []string // request fields that a matcher looks at
	why     string   // the first reason why not
}

// surveyServer returns the request fields that matchers look at, or why an
// answer may depend on something else, or somebody wants to know of each.
func surveyServer(server *caddyhttp.Server) (headers []string, why string) {
	switch {
	case server.Logs != nil && server.Logs.Trace:
		return nil, "the server logs each handler"
	case server.Metrics != nil:
		return nil, "Caddy's own metrics count every request"
	case server.MaxHeaderBytes > 0 && server.MaxHeaderBytes < 16<<10:
		return nil, fmt.Sprintf("max_header_size is %d: want 16384 or more", server.MaxHeaderBytes)
	}
	routes, err := json.Marshal(server.Routes)
	if err != nil {
		return nil, err.Error()
	}
	s := new(survey)
	s.routes(routes)
	slices.Sort(s.headers)
	return slices.Compact(s.headers), s.why
}

func (s *survey) refuse(format string, args ...any) {
	if s.why == "" {
		s.why = fmt.Sprintf(format, args...)
	}
}

// decode reads a part of the configuration. What cannot be read here will be an
// error elsewhere.
func (s *survey) decode(raw json.RawMessage, into any) bool {
	if len(raw) == 0 {
		return false
	}
	if err := json.Unmarshal(raw, into); err != nil {
		s.refuse("its configuration cannot be read: %v", err)
		return false
	}
	return true
}

func (s *survey) routes(raw json.RawMessage) {
	var routes []struct {
		Match  json.RawMessage   `json:"match"`
		Handle []json.RawMessage `json:"handle"`
	}
	if !s.decode(raw, &routes) {
		return
	}
	for _, route := range routes {
		s.matcherSets(route.Match)
		for _, handler := range route.Handle {
			s.handler(handler)
		}
	}
}

// handler looks at one handler. Those that answer by themselves are no matter:
// what they answer was no hit.
func (s *survey) handler(raw json.RawMessage) {
	var h struct {
		Handler        string          `json:"handler"`
		Routes         json.RawMessage `json:"routes"`
		PassThru       bool            `json:"pass_thru"`
		HandleResponse json.RawMessage `json:"handle_response"`
		Set            string          `json:"set"` // of request_body
		Rules          []struct {
			Match json.RawMessage `json:"match"`
		} `json:"rules"`
	}
	if !s.decode(raw, &h) {
		return
	}
	switch h.Handler {
	case "subroute":
		s.routes(h.Routes)
	case "edge_rules":
		for _, rule := range h.Rules {
			s.matcherSets(rule.Match)
		}
	case "reverse_proxy", "edge_proxy":
		// With handle_response, as in forward_auth, it may let a request pass.
		if len(h.HandleResponse) > 0 {
			s.refuse("%s has a handle_response", h.Handler)
		}
	case "file_server":
		if h.PassThru {
			s.refuse("file_server passes on what it does not find")
		}
	case "vars":
		// The variables of log_skip, log_level and log_name, and what may be one.
		if dependsOnPlaceholder(raw) || bytes.Contains(raw, []byte("log")) {
			s.refuse("vars has a placeholder, or is about logs")
		}
	case "headers", "rewrite":
		if dependsOnPlaceholder(raw) {
			s.refuse("%s has a placeholder", h.Handler)
		}
	case "request_body":
		// A limit is no matter to requests without a body; another body is.
		if h.Set != "" {
			s.refuse("request_body sets a body")
		}
	case "edge_cache", "edge_control", "encode", "error", "static_response":
	default:
		s.refuse("handler %s may depend on more than the request", h.Handler)
	}
}

func (s *survey) matcherSets(raw json.RawMessage) {
	var sets []map[string]json.RawMessage
	if !s.decode(raw, &sets) {
		return
	}
	for _, set := range sets {
		for name, matcher := range set {
			s.matcher(name, matcher)
		}
	}
}

func (s *survey) matcher(name string, raw json.RawMessage) {
	if dependsOnPlaceholder(raw) && name != "path_regexp" && name != "header_regexp" {
		s.refuse("matcher %s has a placeholder", name)
	}
	switch name {
	case "host", "path", "path_regexp", "method", "query", "protocol":
	case "header", "header_regexp":
		var fields map[string]json.RawMessage
		if s.decode(raw, &fields) {
			for field := range fields {
				s.headers = append(s.headers, field)
			}
		}
	case "not":
		s.matcherSets(raw)
	default:
		s.refuse("matcher %s may depend on more than the request", name)
	}
}

// dependsOnPlaceholder reports anything that might be one.
func dependsOnPlaceholder(raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return true
	}
	return anyPlaceholder(value)
}

func anyPlaceholder(value any) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, "{")
	case []any:
		return slices.ContainsFunc(v, anyPlaceholder)
	case map[string]any:
		for name, one := range v {
			if strings.Contains(name, "{") || anyPlaceholder(one) {
				return true
			}
		}
	}
	return false
}
