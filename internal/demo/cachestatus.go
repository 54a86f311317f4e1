package demo

import (
	"strconv"
	"strings"
)

// outcome is what the gateway's cache did for one request.
type outcome int

const (
	unknown  outcome = iota // it does not say
	hit                     // answered from the cache
	miss                    // the cache asked a replica
	bypassed                // a request that a cache has no part in
)

// cacheOutcome reads the gateway's own member of a Cache-Status field (RFC
// 9211, 2): hit, or fwd with its reason. Stale is a hit whose ttl is over.
func cacheOutcome(field string) (o outcome, stale bool) {
	for member := range split(field, ',') {
		name, params, _ := strings.Cut(member, ";")
		if strings.TrimSpace(name) != "edge" {
			continue
		}
		for param := range split(params, ';') {
			key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
			switch key {
			case "hit":
				o = hit
			case "fwd":
				o = miss
				if value == "bypass" || value == "method" || value == "request" {
					o = bypassed
				}
			case "ttl":
				seconds, err := strconv.Atoi(value)
				stale = err == nil && seconds < 0
			}
		}
	}
	return o, stale && o == hit
}

// split yields the parts of a structured field (RFC 9651) between separators
// that stand outside quoted strings.
func split(field string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		quoted, begin := false, 0
		for i := 0; i < len(field); i++ {
			switch {
			case quoted && field[i] == '\\':
				i++
			case field[i] == '"':
				quoted = !quoted
			case !quoted && field[i] == separator:
				if !yield(field[begin:i]) {
					return
				}
				begin = i + 1
			}
		}
		yield(field[begin:])
	}
}
