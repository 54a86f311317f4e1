package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// mostMistakes is how many directives edge check leaves out before it gives up.
const mostMistakes = 100

// everyMistake reads a Caddyfile that cannot be adapted to its end: the directive
// with a mistake is left out, and the rest is read again. first is what the adapter
// said.
func everyMistake(k checkConfig, first error) error {
	body, adapter, err := k.read()
	if err != nil || adapter != caddyfileAdapter {
		return first
	}
	blocks, err := caddyfile.Parse(k.config, body)
	if err != nil {
		return first
	}
	var errs []error
	for range mostMistakes {
		_, _, err := httpcaddyfile.ServerType{}.Setup(copied(blocks), map[string]any{"filename": k.config})
		if err == nil {
			break
		}
		errs = append(errs, err)
		if !leaveOut(blocks, err.Error()) {
			break
		}
	}
	if len(errs) == 0 {
		return first
	}
	return errors.Join(errs...)
}

// copied is for Setup, which writes into what it is given.
func copied(blocks []caddyfile.ServerBlock) []caddyfile.ServerBlock {
	all := slices.Clone(blocks)
	for i, b := range all {
		all[i].Keys = slices.Clone(b.Keys)
		all[i].Segments = make([]caddyfile.Segment, len(b.Segments))
		for j, s := range b.Segments {
			all[i].Segments[j] = slices.Clone(s)
		}
	}
	return all
}

// leaveOut removes the directive that an error is about, by the file and line that
// it names, and reports whether there was one.
func leaveOut(blocks []caddyfile.ServerBlock, mistake string) bool {
	for i := range blocks {
		for j, segment := range blocks[i].Segments {
			if slices.ContainsFunc(segment, func(t caddyfile.Token) bool { return names(mistake, t) }) {
				blocks[i].Segments = slices.Delete(blocks[i].Segments, j, j+1)
				return true
			}
		}
	}
	return false
}

// names reports whether an error names the line of a token.
func names(mistake string, t caddyfile.Token) bool {
	place := fmt.Sprintf("%s:%d", t.File, t.Line)
	for rest := mistake; ; {
		_, after, found := strings.Cut(rest, place)
		if !found {
			return false
		}
		if after == "" || after[0] < '0' || after[0] > '9' {
			return true
		}
		rest = after
	}
}

// hiddenMistakes are those of sites that the edge app's own hide: a handler that
// finds no app says nothing of its own. The app is replaced by one that has the same
// pools and no mistakes.
func hiddenMistakes(text []byte, said []string) []string {
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &config); err != nil {
		return nil
	}
	var app struct {
		Pools map[string]json.RawMessage `json:"pools"`
	}
	if config.AppsRaw["edge"] == nil || json.Unmarshal(config.AppsRaw["edge"], &app) != nil {
		return nil
	}
	plain := make(map[string]any)
	for name := range app.Pools {
		plain[name] = json.RawMessage(`{"discover":[{"name":"static","args":["127.0.0.1:1"]}]}`)
	}
	stub, err := json.Marshal(map[string]any{"pools": plain, "control": map[string]any{"tokens": []string{"v7Qd2mXk9LrTz4WbPf"}}})
	if err != nil {
		return nil
	}
	all := unknownPools(text, app.Pools, said)
	config.AppsRaw["edge"] = stub
	quieten(&config)
	onlyLooked(&config)
	if _, err := caddy.ProvisionContext(&config); err != nil {
		for _, one := range flatten(withoutTrail(err)) {
			if !strings.Contains(one, "unknown pool") && !slices.Contains(said, one) {
				all = append(all, one)
			}
		}
	}
	return all
}

// unknownPools are the pools that sites use and nobody has defined, but for those of
// which that was said.
func unknownPools(text []byte, known map[string]json.RawMessage, said []string) []string {
	var root any
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&root); err != nil {
		return nil
	}
	missing := make(map[string]bool)
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			name, isName := v["pool"].(string)
			if _, there := known[name]; v["handler"] == "edge_proxy" && isName && !there {
				missing[name] = true
			}
			for _, one := range v {
				walk(one)
			}
		}
	}
	walk(root)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		what := fmt.Sprintf("unknown pool %q", name)
		if slices.ContainsFunc(said, func(one string) bool { return strings.Contains(one, what) }) {
			continue
		}
		all = append(all, fmt.Sprintf("%s: want one of %s", what, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
	}
	return all
}

// about reports whether a mistake is about a placeholder of which that was said.
func about(mistake string, unsettled []finding) bool {
	return slices.ContainsFunc(unsettled, func(f finding) bool {
		text, _, _ := strings.Cut(f.Problem, ", at ")
		return strings.Contains(mistake, text)
	})
}
