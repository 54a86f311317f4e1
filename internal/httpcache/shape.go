package httpcache

import (
	"net/http"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/cacherules"
)

// shaping are request fields by which frameworks give another form of a page
// under the page's URL: a part of it, its data, or what its middleware would
// have kept back; and credentials by other names than Authorization. Vary
// should name them. Where a framework forgot (CVE-2025-49005, CVE-2026-44572
// and CVE-2026-44576 of Next.js), anybody could have the other form stored as
// the page. So an answer to a request that has one is for requests that have
// the same. Each name leads to its family: an origin whose Vary names one
// member knows the others.
var shaping = map[string]string{
	"Rsc": "Next-", "Turbo-Frame": "Turbo-Frame", "X-Pjax": "X-Pjax", "X-Inertia": "X-Inertia", "X-Livewire": "X-Livewire",
	"X-Matched-Path": "X-Matched-Path", "X-Now-Route-Matches": "X-Now-Route-Matches", "X-Prerender-Revalidate": "X-Prerender-Revalidate",
	"X-Forwarded-Path": "X-Forwarded-Path", "X-Forwarded-Uri": "X-Forwarded-Uri", "X-Forwarded-Server": "X-Forwarded-Server",
	"X-Original-Uri": "X-Original-Uri", "X-Script-Name": "X-Script-Name", "X-Envoy-Original-Path": "X-Envoy-Original-Path",
	"Api-Key": "Api-Key", "Apikey": "Apikey", "X-Api-Key": "X-Api-Key", "X-Api-Token": "X-Api-Token",
	"X-Auth-Token": "X-Auth-Token", "X-Access-Token": "X-Access-Token", "X-Session-Token": "X-Session-Token",
}

// shapingFamilies are the beginnings of the names of more of them: Next.js
// (four), htmx, Inertia, PJAX and Unpoly.
var shapingFamilies = []string{"Next-", "X-Nextjs-", "X-Middleware-", "X-Invoke-", "Hx-", "X-Inertia", "X-Pjax", "X-Up-"}

// familyOf is the family of a shaping field, or "" for any other field.
func familyOf(name string) string {
	if family := shaping[name]; family != "" {
		return family
	}
	for _, family := range shapingFamilies {
		if strings.HasPrefix(name, family) {
			return family
		}
	}
	return ""
}

const requestedWith = "X-Requested-With"

// isScripted reports what frameworks test for. WebViews of Android send the
// field with each request, and the name of their app.
func isScripted(request http.Header) bool {
	return strings.EqualFold(strings.Trim(strings.Join(request[requestedWith], ","), " \t"), "XMLHttpRequest")
}

// shaped reports a request that asks for another form of a page. CDNs that go
// by the URL must not store the answer, whatever Vary says: most of them do not
// read it.
func shaped(request http.Header, v *cacherules.Verdict) bool {
	if v.TrustVary {
		return false
	}
	for name := range request {
		if familyOf(name) != "" {
			return true
		}
	}
	return isScripted(request)
}

// implied are the fields that an answer evidently varies by though it does not
// say so. It costs nothing at hits: an answer to a request without any such
// field varies by none.
func implied(request, answer http.Header, said []string, v *cacherules.Verdict) []string {
	if v.TrustVary {
		return nil
	}
	var names []string
	for name := range request {
		family := familyOf(name)
		isKnown := func(named string) bool { return familyOf(named) == family }
		if family != "" && !slices.ContainsFunc(said, isKnown) {
			names = append(names, name)
		}
	}
	if isScripted(request) {
		names = append(names, requestedWith)
	}
	if echoesOrigin(request, answer) {
		names = append(names, "Origin")
	}
	if wasNegotiated(request, answer) {
		names = append(names, "Accept")
	}
	return names
}

// echoesOrigin reports an answer that admits the very origin that asked (CORS).
// To another one it would be of no use, and a stored "null" would admit nobody.
func echoesOrigin(request, answer http.Header) bool {
	asked, admitted := request["Origin"], answer["Access-Control-Allow-Origin"]
	return len(asked) > 0 && len(admitted) > 0 && strings.Trim(admitted[0], " \t") == strings.Trim(asked[0], " \t")
}

// wasNegotiated reports a body of a type that the request asks for by name and
// no browser does when it loads a page, its styles or its pictures: others
// should not get, say, JSON for the page (RFC 9110, 12.5.1).
func wasNegotiated(request, answer http.Header) bool {
	kind, _, _ := strings.Cut(answer.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.Trim(kind, " \t"))
	if kind == "" || usual(kind) {
		return false
	}
	major, minor, _ := strings.Cut(kind, "/")
	_, suffix, structured := strings.Cut(minor, "+")
	for _, line := range request["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			accepted, _, _ := strings.Cut(part, ";")
			accepted = strings.ToLower(strings.Trim(accepted, " \t"))
			if accepted == kind || accepted == major+"/*" || structured && accepted == major+"/"+suffix {
				return true
			}
		}
	}
	return false
}

// usual lists what browsers ask for by name: the default Accept values of
// Chrome, Firefox and Safari for pages, images and styles.
func usual(kind string) bool {
	switch kind {
	case "text/html", "application/xhtml+xml", "application/xml", "text/css", "application/signed-exchange":
		return true
	}
	return strings.HasPrefix(kind, "image/") || strings.HasPrefix(kind, "video/") || strings.HasPrefix(kind, "audio/")
}
