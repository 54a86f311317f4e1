package httpcache

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// keptTrailer are the trailing fields that are stored with a whole answer, apart
// from its header (RFC 9111, 3.1), and given with it again. What has no business
// there goes (RFC 9110, 6.5.1): fields that are needed before the body, and what
// is for one visitor. Those of a part are about the part, and go with it.
func keptTrailer(came http.Header) fieldLines {
	kept := make(http.Header)
	for name, values := range came {
		name = http.CanonicalHeaderKey(strings.TrimPrefix(name, http.TrailerPrefix))
		if httpguts.ValidTrailerHeader(name) && !neverTrails[name] && len(values) > 0 {
			kept[name] = append(kept[name], values...)
		}
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(kept)) {
		b = appendLines(b, goesOut, name, kept[name])
	}
	return linesOf(b)
}

// neverTrails lists what the guards of net/http let pass.
var neverTrails = map[string]bool{
	"Age": true, "Date": true, "Expires": true, "Last-Modified": true, "Location": true, "Retry-After": true,
	"Vary": true, "Warning": true, "Set-Cookie": true, "Set-Cookie2": true, "Proxy-Authentication-Info": true,
	"Authentication-Info": true, "Upgrade": true, "Content-Location": true, "Accept-Ranges": true,
	"Cache-Status": true, "Cdn-Cache-Control": true, "Cloudflare-Cdn-Cache-Control": true, "Cache-Tag": true,
	groupsField: true, groupInvalidationField: true,
}

// names is what Trailer announces (RFC 9110, 6.6.2).
func (l fieldLines) names() string {
	var all []string
	for one, ok := l.next(); ok; one, ok = l.next() {
		all = append(all, one.name)
	}
	return strings.Join(slices.Compact(all), ", ")
}

// trail writes the trailing fields of a stored answer, whose body is out. They
// were announced, so there is room for them.
func (e *entry) trail(h http.Header) {
	rest := e.trailer()
	for one, ok := rest.next(); ok; one, ok = rest.next() {
		h[one.name] = append(h[one.name], one.value)
	}
}

// keepTrailer gives the entry its trailer, before its body.
func (e *entry) keepTrailer(lines fieldLines) {
	if !lines.isEmpty() {
		e.afterwards().trailer = lines
	}
}

// sealAs gives the entry the body of another, and what follows it.
func (e *entry) sealAs(other *entry) {
	e.keepTrailer(other.trailer())
	e.seal(other.body())
}
