package cacherules

import "net/http"

const (
	browserField = "Cache-Control"
	// cdnField is for any CDN (RFC 9213); cloudflareField outranks it, and
	// Cloudflare removes it before visitors see it.
	cdnField        = "Cdn-Cache-Control"
	cloudflareField = "Cloudflare-Cdn-Cache-Control"
	surrogateField  = "Surrogate-Control"
)

// Response is an answer on its way out.
type Response struct {
	Status int
	// Header is the origin's; Respond edits it.
	Header http.Header
	// Bypassed says that Verdict.Bypasses the request because of a cookie.
	Bypassed bool
	// Version is the application's version that produced the answer, or "".
	Version string
	// Request is what is being answered. Nil stands for a GET without
	// credentials.
	Request *http.Request
	// Path is the decoded path by which the visitor asked, where Request has
	// been rewritten; empty where it has not.
	Path string
}

// Respond writes into the header what browsers and the CDN shall do with the
// answer. It changes nothing else. The first line that fits decides:
//
//	answer                                  browsers (Cache-Control)     CDN
//	rule private                            private, no-store [1]        no-store
//	bypassed because of a cookie            private, no-cache [2]        no-store
//	method other than GET and HEAD          as the origin sent           as the origin sent
//	fingerprinted: no success, or HTML      no-store                     no-store
//	origin forbids: no-store, private       as the origin sent           no-store [3]
//	Set-Cookie or Authorization [4]         lifetime, private for public no-store
//	error or temporary redirect             as the origin sent           as sent; if nothing, no-store [3]
//	lifetimes unsaid, or override           lifetime                     lifetime [5]
//	lifetimes said                          as the origin sent           as the origin sent
//
// Lifetimes are, for browsers, "public, max-age=N", "no-cache" when none, with
// "immutable" when fingerprinted; "private" replaces "public" when the rule
// has no edge lifetime. For the CDN they are "max-age=N,
// stale-while-revalidate=S, stale-if-error=S", never s-maxage, which would turn
// stale-while-revalidate off there. A lifetime that the rule does not have is
// not written. Expires goes when Cache-Control is written.
//
//	[1] A no-store of the origin stays as it was sent: nothing is stricter.
//	[2] A no-store or private of the origin stays as it was sent.
//	[3] In rules with an edge lifetime only, and not if the origin speaks to
//	    CDNs itself, unless the rule overrides that.
//	[4] Unless unsafe_store_set_cookie or unsafe_store_authorized allows it, or
//	    the origin permits shared caches to store in spite of Authorization
//	    (RFC 9111, 3.5: public, s-maxage, must-revalidate). Also an answer with
//	    too many tags to be purged by all of them, and one under an asset's
//	    name that is something else; see Verdict.Mismatched.
//	[5] Unless the origin speaks to CDNs itself and the rule has no override.
//
// An answer that is not forbidden to the CDN gets its tags; see Verdict.Tags
// and VersionTag.
func (v *Verdict) Respond(in Response) {
	h := in.Header
	said := ParseDirectives(h[browserField])
	forbids := said.NoStore || said.Private || len(said.PrivateFields) > 0
	switch {
	case v.Mode == Private:
		if !said.NoStore {
			tellBrowsers(h, "private, no-store")
		}
		ForbidCDN(h)
	case in.Bypassed:
		if !forbids {
			tellBrowsers(h, "private, no-cache")
		}
		ForbidCDN(h)
	case in.Request != nil && in.Request.Method != "" && in.Request.Method != http.MethodGet && in.Request.Method != http.MethodHead:
	case v.Fingerprinted && (!succeeded(in.Status) || isHTML(h)):
		tellBrowsers(h, "no-store")
		ForbidCDN(h)
	case forbids:
		v.respondForbidden(in)
	default:
		v.respondStorable(in, said)
	}
}

// respondForbidden obeys an origin that forbids shared caches to store. Where
// it speaks to CDNs itself, that is its word on them (RFC 9213, 2.1).
func (v *Verdict) respondForbidden(in Response) {
	switch spoken := targeted(in.Header); {
	case v.hasSetCookie(in.Header), v.Mode == Cacheable && (v.Override || !spoken):
		ForbidCDN(in.Header)
	case spoken:
		v.tag(in)
	}
}

func (v *Verdict) respondStorable(in Response, said Directives) {
	h := in.Header
	fills, unsaid, spoken := v.fills(in.Status, h), Unsaid(h), targeted(h)
	personal := v.hasSetCookie(h) || v.isAuthorized(in.Request, said) || v.tooManyTags(h) ||
		v.Mismatched(in.path(), in.Status, h)
	if fills && v.Browser.Set {
		tellBrowsers(h, v.forBrowsers(v.Edge.Set && !personal))
	}
	switch {
	case personal, v.Mode == Cacheable && !lasting(in.Status) && unsaid && !spoken:
		ForbidCDN(h)
		return
	case fills && v.Edge.Set && (v.Override || !spoken):
		tellCDN(h, v.forCDN())
	}
	v.tag(in)
}

// path is the one by which the visitor asked.
func (in *Response) path() string {
	if in.Path == "" && in.Request != nil && in.Request.URL != nil {
		return in.Request.URL.Path
	}
	return in.Path
}

// hasSetCookie reports cookies that the rule does not permit to store.
func (v *Verdict) hasSetCookie(h http.Header) bool {
	return len(h["Set-Cookie"]) > 0 && !v.StoreSetCookie
}

// isAuthorized reports an answer to credentials that nobody permits to store.
func (v *Verdict) isAuthorized(r *http.Request, said Directives) bool {
	if r == nil || len(r.Header["Authorization"]) == 0 || v.StoreAuthorized {
		return false
	}
	return !said.Public && !said.SMaxAge.Set && !said.MustRevalidate
}

func (v *Verdict) forBrowsers(public bool) string {
	audience := "private, "
	if public {
		audience = "public, "
	}
	switch {
	case v.Browser.D == 0 && public:
		return "no-cache"
	case v.Browser.D == 0:
		return audience + "no-cache"
	case v.Fingerprinted:
		return audience + "max-age=" + deltaSecondsOf(v.Browser.D) + ", immutable"
	}
	return audience + "max-age=" + deltaSecondsOf(v.Browser.D)
}

func (v *Verdict) forCDN() string {
	switch stale := deltaSecondsOf(v.Stale); {
	case v.Stale > 0:
		return "max-age=" + deltaSecondsOf(v.Edge.D) + ", stale-while-revalidate=" + stale + ", stale-if-error=" + stale
	case v.Edge.D == 0:
		return "no-cache"
	}
	return "max-age=" + deltaSecondsOf(v.Edge.D)
}

// tellBrowsers drops Expires, which would contradict what is written now.
func tellBrowsers(h http.Header, value string) {
	h[browserField] = []string{value}
	delete(h, "Expires")
}

// tellCDN writes for Cloudflare, and for other CDNs where the origin did.
func tellCDN(h http.Header, value string) {
	h[cloudflareField] = []string{value}
	for _, name := range []string{cdnField, surrogateField} {
		if _, sent := h[name]; sent {
			h[name] = []string{value}
		}
	}
}

// ForbidCDN tells Cloudflare, and any CDN to which the origin speaks, not to
// store the answer. It replaces header values and changes none in place.
func ForbidCDN(h http.Header) { tellCDN(h, "no-store") }
