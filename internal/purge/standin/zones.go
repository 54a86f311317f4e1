package standin

import (
	"net/http"
	"strings"
)

// Setup is how a zone is set up at Cloudflare, as far as it concerns caching.
// The zero value caches no pages, as a new zone.
type Setup struct {
	// DevelopmentMode is how many seconds it lasts still, AlwaysOnline on or off.
	DevelopmentMode int
	AlwaysOnline    bool
	// BrowserCacheTTL in seconds; 0 respects what the gateway says.
	BrowserCacheTTL int
	// CacheRules in their order. None: there is no ruleset.
	CacheRules []CacheRule
}

// CacheRule is one rule about which requests are cached, and for how long.
type CacheRule struct {
	Description string `json:"description"`
	Expression  string `json:"expression"`
	Enabled     bool   `json:"enabled"`
	Action      string `json:"action"` // set_cache_settings
	Parameters  struct {
		Cache   *bool `json:"cache,omitempty"`
		EdgeTTL *TTL  `json:"edge_ttl,omitempty"`
	} `json:"action_parameters"`
}

// TTL is what a rule says about a lifetime.
type TTL struct {
	Mode    string `json:"mode"` // respect_origin, override_origin, bypass_by_default
	Default int    `json:"default,omitempty"`
}

// Eligible is a rule that has everything cached for as long as the gateway says.
func Eligible() CacheRule {
	yes := true
	rule := CacheRule{Description: "pages", Expression: "true", Enabled: true, Action: "set_cache_settings"}
	rule.Parameters.Cache, rule.Parameters.EdgeTTL = &yes, &TTL{Mode: "respect_origin"}
	return rule
}

func (s *Server) setup() Setup {
	if s.options.Setup == nil {
		return Setup{CacheRules: []CacheRule{Eligible()}}
	}
	return *s.options.Setup
}

func notPermitted() reply {
	return refuse(http.StatusForbidden, 9109, "Unauthorized to access requested resource")
}

// zones answers GET /zones, by exact name if one is given.
func (s *Server) zones(r *http.Request, _ []byte) reply {
	name := strings.TrimPrefix(r.URL.Query().Get("name"), "equal:")
	found := []described{}
	for _, z := range s.options.Zones {
		if !s.options.PurgeOnly && (name == "" || name == z.Name) {
			found = append(found, s.describe(z))
		}
	}
	info := map[string]int{"page": 1, "per_page": 20, "count": len(found), "total_count": len(found), "total_pages": 1}
	return reply{status: http.StatusOK, result: found, info: info}
}

// described is a zone as the API describes it.
type described struct {
	Zone

	Status          string `json:"status"`
	Paused          bool   `json:"paused"`
	DevelopmentMode int    `json:"development_mode"`
	Plan            struct {
		LegacyID string `json:"legacy_id"`
	} `json:"plan"`
}

func (s *Server) describe(z Zone) described {
	d := described{Zone: z, Status: "active", DevelopmentMode: s.setup().DevelopmentMode}
	d.Plan.LegacyID = s.options.Plan
	return d
}

// zone answers GET /zones/ID.
func (s *Server) zone(r *http.Request, _ []byte) reply {
	if s.options.PurgeOnly {
		return notPermitted()
	}
	for _, z := range s.options.Zones {
		if z.ID == r.PathValue("zone") {
			return reply{status: http.StatusOK, result: s.describe(z)}
		}
	}
	return noRoute()
}

// setting answers GET /zones/ID/settings/NAME for the settings that it has.
func (s *Server) setting(r *http.Request, _ []byte) reply {
	if s.options.PurgeOnly || s.options.ZoneOnly {
		return notPermitted()
	}
	name, setup := r.PathValue("setting"), s.setup()
	online := "off"
	if setup.AlwaysOnline {
		online = "on"
	}
	value, known := map[string]any{"always_online": online, "browser_cache_ttl": setup.BrowserCacheTTL}[name]
	if !known || !s.knows(r.PathValue("zone")) {
		return noRoute()
	}
	return reply{status: http.StatusOK, result: map[string]any{"id": name, "value": value, "editable": true, "modified_on": nil}}
}

// ruleset answers for the phase of cache rules, if there are any.
func (s *Server) ruleset(r *http.Request, _ []byte) reply {
	const phase = "http_request_cache_settings"
	rules := s.setup().CacheRules
	switch {
	case s.options.PurgeOnly || s.options.ZoneOnly:
		return notPermitted()
	case !s.knows(r.PathValue("zone")):
		return noRoute()
	case r.PathValue("phase") != phase || len(rules) == 0:
		return refuse(http.StatusNotFound, 10003, "could not find entrypoint ruleset in the %s phase", r.PathValue("phase"))
	}
	return reply{status: http.StatusOK, result: map[string]any{"id": strings.Repeat("1", 32), "kind": "zone", "phase": phase, "rules": rules}}
}
