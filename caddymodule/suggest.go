package caddymodule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

const (
	wrappers        = "caddy.listeners"
	handlersOf      = "http.handlers"
	inWrappers      = " in listener_wrappers"
	inSites         = " in a site"
	inGlobalOptions = " in the global block"
)

// unknownNames are Caddy's words for a name that it does not know, which end with it.
var unknownNames = regexp.MustCompile(`(unrecognized directive|unrecognized global option|module not registered|unknown module): (?:([\w.]+)\.)?(\w+)`)

// suggestion is what was meant where a mistake is about a name that nobody knows: one
// that is spelled almost like it, or the same in another place. Empty: nobody can tell.
func suggestion(mistake string) string {
	found := unknownNames.FindStringSubmatch(mistake)
	if found == nil {
		return ""
	}
	kind, namespace, name := found[1], found[2], found[3]
	here := ""
	known := map[string][]string{inSites: ofEdge(modulesOf(handlersOf)), inGlobalOptions: {"edge"}, inWrappers: modulesOf(wrappers)}
	switch {
	case kind == "unrecognized directive":
		here = inSites
	case kind == "unrecognized global option":
		here = inGlobalOptions
	case namespace == wrappers:
		here = inWrappers
	default:
		known = map[string][]string{"": modulesOf(namespace)}
	}
	for _, place := range slices.Compact([]string{here, inSites, inWrappers, inGlobalOptions}) {
		if meant := closest(name, known[place]); meant != "" {
			if place == here {
				place = ""
			}
			return fmt.Sprintf("did you mean %s%s?", meant, place)
		}
	}
	return ""
}

// modulesOf are the names in a namespace.
func modulesOf(namespace string) (names []string) {
	for _, m := range caddy.GetModules(namespace) {
		names = append(names, m.ID.Name())
	}
	return names
}

// ofEdge are edge's: its handlers are called as its directives are.
func ofEdge(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "edge_") })
}

// closest is the name that is spelled most like another: two letters may differ, or one
// in three.
func closest(name string, known []string) string {
	best, least := "", min(2, len(name)/3)+1
	for _, one := range slices.Sorted(slices.Values(known)) {
		if d := distance(name, one); d < least {
			best, least = one, d
		}
	}
	return best
}

// distance is how many letters have to be put in, left out or replaced, or swapped with
// the next, to make one word of another.
func distance(a, b string) int {
	two, one := []int(nil), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}

// suggested is a mistake with what was meant behind it.
func suggested(mistake string) string {
	if meant := suggestion(mistake); meant != "" {
		return mistake + "; " + meant
	}
	return mistake
}
