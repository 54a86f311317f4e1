// Package sighting looks at what replicas answer for set-ups that deploys and
// CDNs suffer from: validators that differ between replicas, caches in between,
// lifetimes that a CDN takes in another sense, versions that are not told.
package sighting

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/cacherules"
)

// Answer is what a replica said to a GET.
type Answer struct {
	Replica string
	// Target is what was asked for: a path with its query.
	Target string
	Status int
	Header http.Header
	// Err is why there was no answer, nil if there was one.
	Err error
}

// Regrets lists what will be regretted, each once. An answer that is asked for
// twice of each replica tells a page that is made anew for each request from
// one whose validators differ between replicas. versionHeader may be empty.
func Regrets(answers []Answer, versionHeader string) []string {
	var all []string
	say := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	for _, a := range answers {
		switch {
		case a.Err != nil:
			say("replica %s: GET %s: %v", a.Replica, a.Target, a.Err)
			continue
		case a.Status >= 500:
			say("replica %s: GET %s: status %d", a.Replica, a.Target, a.Status)
			continue
		}
		if field, value := cachedBy(a.Header); field != "" {
			say("replica %s: GET %s came through another cache (%s: %s), which edge cannot purge: ask the application itself, or turn that cache off", a.Replica, a.Target, field, value)
		}
		if shared := cacherules.ParseDirectives(a.Header.Values("Cache-Control")).SMaxAge; shared.Set {
			say("GET %s says Cache-Control: s-maxage=%d, with which Cloudflare serves nothing stale while it revalidates: leave it to a rule's edge and stale, or send Cloudflare-CDN-Cache-Control", a.Target, shared.N)
		}
		if strings.TrimSpace(a.Header.Get("Surrogate-Control")) != "" {
			say("GET %s says Surrogate-Control, with which Cloudflare ignores Cache-Control: leave it out", a.Target)
		}
		if slices.ContainsFunc(a.Header.Values("Vary"), func(line string) bool { return strings.Contains(line, "*") }) {
			say("GET %s says Vary: *, so that neither edge nor Cloudflare stores it", a.Target)
		}
		if versionHeader != "" && a.Header.Get(versionHeader) == "" && a.Status < 400 {
			say("GET %s has no %s: its version is what the health check said last, which is late in a deploy", a.Target, versionHeader)
		}
	}
	return append(all, disagreements(answers, versionHeader)...)
}

// Visits lists what will be regretted of answers as visitors get them, each
// once. Targets are URLs, each asked for several times in a row. cloudflare says
// that they should come through it.
func Visits(answers []Answer, cloudflare bool) []string {
	var all []string
	say := func(format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	asked := make(map[string]bool)
	for _, a := range answers {
		again := asked[a.Target]
		asked[a.Target] = true
		switch {
		case a.Err != nil:
			say("visit %s: %v", a.Target, a.Err)
			continue
		case a.Status >= 500:
			say("visit %s: status %d", a.Target, a.Status)
			continue
		}
		if cloudflare && a.Header.Get("Cf-Ray") == "" {
			say("visit %s did not come through Cloudflare: is its DNS record proxied?", a.Target)
		}
		said := a.Header.Get("Cache-Status")
		if !throughEdge(said) {
			say("visit %s did not come through edge_cache: its answer has no Cache-Status of edge", a.Target)
		}
		if field, value := platformCache(a.Header); field != "" {
			say("visit %s came through another cache in front of edge (%s: %s), which no purge of edge reaches: turn that cache off%s", a.Target, field, value, howToTurnOff(a.Header))
		}
		// The first request of all may be the one that fills.
		if at := a.Header.Get("Cf-Cache-Status"); again && (at == "DYNAMIC" || at == "NONE") && strings.Contains(said, "; hit") {
			say("visit %s is a hit at edge, and not cached at Cloudflare (cf-cache-status: %s): a cache rule has to make it eligible", a.Target, at)
		}
	}
	return all
}

// throughEdge reports whether a Cache-Status (RFC 9211, 2) has a member of edge.
func throughEdge(status string) bool {
	for member := range strings.SplitSeq(status, ",") {
		if name, _, _ := strings.Cut(member, ";"); strings.TrimSpace(name) == "edge" {
			return true
		}
	}
	return false
}

// platformCache is the field of a cache that is neither edge's nor Cloudflare's.
// Both of these say Age.
func platformCache(h http.Header) (field, value string) {
	rest := h.Clone()
	rest.Del("Cf-Cache-Status")
	rest.Del("Age")
	return cachedBy(rest)
}

// howToTurnOff names the command of a platform that gives itself away.
func howToTurnOff(h http.Header) string {
	for name := range h {
		if strings.HasPrefix(name, "X-Railway-") {
			return " (railway cdn disable)"
		}
	}
	return ""
}

// hidden are fields by which caches give themselves away.
var hidden = []string{"Cf-Cache-Status", "X-Cache", "X-Cache-Hits", "X-Varnish", "X-Vercel-Cache", "X-Nf-Cache-Status", "X-Proxy-Cache", "X-Served-By", "Age"}

// cachedBy is the field that shows that another cache has answered.
func cachedBy(h http.Header) (field, value string) {
	for _, name := range hidden {
		if value := h.Get(name); value != "" {
			return name, value
		}
	}
	return "", ""
}

// disagreements finds targets of one version whose validators are steady at
// each replica, and differ between them: a revalidation would alternate between
// 200 and 304 (RFC 9110, 8.8.3: equal representations want equal tags).
func disagreements(answers []Answer, versionHeader string) []string {
	type place struct{ target, version string }
	steady := make(map[place]map[string]string) // replica to validator
	for _, a := range answers {
		if a.Err != nil || a.Status != http.StatusOK {
			continue
		}
		at := place{a.Target, a.Header.Get(cmp.Or(versionHeader, "-"))}
		if steady[at] == nil {
			steady[at] = make(map[string]string)
		}
		now := validator(a.Header)
		if before, asked := steady[at][a.Replica]; asked && before != now {
			now = "" // it changes from one request to the next
		}
		steady[at][a.Replica] = now
	}
	var all []string
	for at, byReplica := range steady {
		first, tag := "", ""
		for _, replica := range slices.Sorted(maps.Keys(byReplica)) {
			switch mine := byReplica[replica]; {
			case mine == "":
			case tag == "":
				first, tag = replica, mine
			case mine != tag:
				all = append(all, fmt.Sprintf("GET %s: replicas of one version differ in their validators (%s at %s, %s at %s): revalidations will alternate between 200 and 304: derive ETag from the content, not from a file's time or inode", at.target, tag, first, mine, replica))
				first, tag = replica, mine
			}
		}
	}
	slices.Sort(all)
	return all
}

// validator is what a revalidation would go by.
func validator(h http.Header) string {
	if tag := h.Get("Etag"); tag != "" {
		return "ETag " + tag
	}
	if modified := h.Get("Last-Modified"); modified != "" {
		return "Last-Modified " + modified
	}
	return ""
}
