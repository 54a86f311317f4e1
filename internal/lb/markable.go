package lb

import (
	"net/http"
	"strings"
)

// markable reports whether an answer may carry something for one visitor, and
// sees to it that no shared cache hands it to another. Set-Cookie does not keep
// an answer from being stored (RFC 9111, 7.3): an answer that says it may be
// stored for all, or comes for a cache and does not forbid it, stays as it is.
func markable(answer http.Header, shared bool) bool {
	forbidden, allowed := false, false
	for _, line := range answer.Values("Cache-Control") {
		for word := range strings.SplitSeq(strings.ToLower(line), ",") {
			switch name, value, _ := strings.Cut(strings.TrimSpace(word), "="); name {
			case "private":
				// private="field" speaks of that field only (RFC 9111, 5.2.2.7).
				forbidden = forbidden || value == ""
			case "no-store":
				forbidden = true
			case "public", "s-maxage":
				allowed = true
			case "max-age":
				allowed = allowed || strings.Trim(value, `"0`) != ""
			}
		}
	}
	if forbidden {
		return true
	}
	for _, name := range []string{"Expires", "Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control"} {
		allowed = allowed || answer.Get(name) != ""
	}
	if allowed || shared {
		return false
	}
	answer.Add("Cache-Control", "private")
	return true
}
