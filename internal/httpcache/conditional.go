package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// notModified evaluates the request's If-None-Match or If-Modified-Since
// against a stored answer (RFC 9111, 4.3.2; RFC 9110, 13.2.2): the first
// outranks the second.
func notModified(request http.Header, e *entry) bool {
	if e.status < 200 || e.status > 299 {
		return false
	}
	if lines := request["If-None-Match"]; len(lines) > 0 {
		return slices.ContainsFunc(lines, func(line string) bool { return matchesAny(line, e.etag()) })
	}
	if len(request["If-Modified-Since"]) == 0 {
		return false
	}
	since, ok := fieldDate(request, "If-Modified-Since")
	if !ok {
		return false
	}
	if e.fields().first("Last-Modified") == request["If-Modified-Since"][0] {
		return true // as most say what they were told
	}
	modified := e.modified()
	if modified.IsZero() {
		modified = e.date() // RFC 9111, 4.3.2: Date where there is no Last-Modified
	}
	return !modified.Truncate(time.Second).After(since)
}

// matchesAny compares weakly with each tag of a list (RFC 9110, 8.8.3.2). A tag
// without quotes matches one written alike.
func matchesAny(list, etag string) bool {
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		var one string
		one, list = cutTag(list)
		if one == "*" || etag != "" && strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
}

// cutTag cuts the first entity tag off a list that begins with one.
func cutTag(list string) (one, rest string) {
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	if start < len(list) && list[start] == '"' {
		if end := strings.IndexByte(list[start+1:], '"'); end >= 0 {
			end += start + 2
			return list[:end], list[end:]
		}
	}
	one, rest, _ = strings.Cut(list, ",")
	return strings.TrimRight(one, " \t"), rest
}

// isStrong reports an entity tag that names bytes (RFC 9110, 8.8.1).
func isStrong(etag string) bool { return len(etag) > 1 && etag[0] == '"' }

// conditionals are the fields by which clients ask for less than everything.
var conditionals = []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since", "If-Range", "Range"}

// askWhole makes a request ask for the whole answer, or, given a stale one, for
// the news since (RFC 9111, 4.3.1).
func askWhole(request http.Header, stale *entry) {
	for _, name := range conditionals {
		delete(request, name)
	}
	if stale == nil {
		return
	}
	if stale.etag() != "" {
		request["If-None-Match"] = []string{stale.etag()}
	}
	if lines := stale.fields().values("Last-Modified"); len(lines) == 1 {
		request["If-Modified-Since"] = []string{lines[0]}
	}
}

// confirms reports that a 304 is about the stored answer (RFC 9111, 4.3.4): it
// carries the same validator, or none.
func confirms(header http.Header, stale *entry) bool {
	if tags := header["Etag"]; len(tags) > 0 {
		if isStrong(tags[0]) && isStrong(stale.etag()) {
			return tags[0] == stale.etag()
		}
		return strings.TrimPrefix(tags[0], "W/") == strings.TrimPrefix(stale.etag(), "W/")
	}
	return true
}

// keptOn304 are fields that describe the stored body, so that a 304 does not
// replace them (RFC 9111, 3.2).
var keptOn304 = map[string]bool{
	"Content-Encoding": true, "Content-Type": true, "Content-Range": true, "Content-Length": true,
}

// update304 is the stored header freshened by that of a 304 (RFC 9111, 3.2).
// Both may be kept; neither is changed. Age goes unless the 304 brings one: the
// answer is as old as its confirmation. So does Set-Cookie, which is for one
// visitor and comes with each answer anew.
func update304(stored, news http.Header) http.Header {
	merged := make(http.Header, len(stored)+len(news))
	for name, values := range stored {
		if name != "Age" && name != "Date" && name != "Set-Cookie" {
			merged[name] = values
		}
	}
	for name, values := range withoutHopByHop(news) {
		if !keptOn304[name] && name != "Set-Cookie" {
			merged[name] = values
		}
	}
	return merged
}

// hopByHop fields end at each connection (RFC 9110, 7.6.1), those of proxy
// authentication too (RFC 9111, 3.1).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true,
	"Proxy-Authentication-Info": true, "Proxy-Authorization": true,
}

// withoutHopByHop is a deep copy without the fields that end here: the known
// ones and those that Connection names.
func withoutHopByHop(h http.Header) http.Header {
	named := make(map[string]bool)
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			named[http.CanonicalHeaderKey(strings.Trim(name, " \t"))] = true
		}
	}
	out := make(http.Header, len(h))
	for name, values := range h {
		if hopByHop[name] || named[name] || strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		out[name] = slices.Clone(values)
	}
	return out
}
