package caddymodule

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// handlers finds the JSON of all handlers of a name, at any depth.
func handlers(in any, name string) (found []map[string]any) {
	switch value := in.(type) {
	case map[string]any:
		if value["handler"] == name {
			found = append(found, value)
		}
		for _, inner := range value {
			found = append(found, handlers(inner, name)...)
		}
	case []any:
		for _, inner := range value {
			found = append(found, handlers(inner, name)...)
		}
	}
	return found
}

// inside walks down objects, and makes those that are not there.
func inside(object map[string]any, path ...string) map[string]any {
	for _, key := range path {
		inner, ok := object[key].(map[string]any)
		if !ok {
			inner = make(map[string]any)
			object[key] = inner
		}
		object = inner
	}
	return object
}

// JSON that a person or a program wrote is read as strictly as a Caddyfile.
func TestUnknownJSONFieldsAreRefused(t *testing.T) {
	handler := func(name string) func(config map[string]any) map[string]any {
		return func(config map[string]any) map[string]any { return handlers(config, name)[0] }
	}
	within := func(path ...string) func(config map[string]any) map[string]any {
		return func(config map[string]any) map[string]any {
			return inside(config, append([]string{"apps", "edge"}, path...)...)
		}
	}
	for name, place := range map[string]func(config map[string]any) map[string]any{
		"the app":        within(),
		"its cache":      within("cache"),
		"its control":    within("control"),
		"its purges":     within("purge"),
		"its cloudflare": within("cloudflare"),
		"a pool":         within("pools", "app"),
		"its health":     within("pools", "app", "health"),
		"its policy":     within("pools", "app", "policy"),
		"its breaker":    within("pools", "app", "breaker"),
		"its transport":  within("pools", "app", "transport"),
		"edge_rules":     handler("edge_rules"),
		"one of its rules": func(config map[string]any) map[string]any {
			return handlers(config, "edge_rules")[0]["rules"].([]any)[0].(map[string]any)
		},
		"edge_cache":   handler("edge_cache"),
		"edge_proxy":   handler("edge_proxy"),
		"edge_control": handler("edge_control"),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t)
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(e.caddyfile(staticPool("127.0.0.1:1"), pagesSite)), nil)
			if err != nil {
				t.Fatal(err)
			}
			var config map[string]any
			if err := json.Unmarshal(adapted, &config); err != nil {
				t.Fatal(err)
			}
			place(config)["misspelt_word"] = "5s"
			text, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := caddy.Load(text, true); err == nil || !strings.Contains(err.Error(), "misspelt_word") {
				t.Errorf("%v: want an error that names misspelt_word", err)
			}
		})
	}
}
