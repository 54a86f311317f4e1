package httpcache

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

func TestStorable(t *testing.T) {
	current := Source{Current: true}
	authorized := []string{"Authorization: Bearer x"}
	fingerprinted := &cacherules.Verdict{Mode: cacherules.Cacheable, Fingerprinted: true, Edge: cacherules.For(time.Hour)}
	for name, c := range map[string]struct {
		request []string
		facts   answerFacts
		source  Source
		want    Reason
	}{
		"fresh by max-age":                           {nil, facts(200, nil, nil, "Cache-Control: max-age=9"), current, ""},
		"any status with a lifetime of its own":      {nil, facts(599, nil, nil, "Cache-Control: max-age=9"), current, ""},
		"a status nobody knows, too":                 {nil, facts(299, nil, nil, "Expires: "+httpDate(epoch.Add(time.Hour))), current, ""},
		"no lifetime at all":                         {nil, facts(200, nil, nil), current, ReasonNoFreshness},
		"a validator alone does not permit it":       {nil, facts(200, nil, nil, `ETag: "a"`), current, ReasonNoFreshness},
		"no-cache with a validator":                  {nil, facts(200, nil, nil, "Cache-Control: no-cache", `ETag: "a"`), current, ""},
		"no-cache without one is of no use":          {nil, facts(200, nil, nil, "Cache-Control: no-cache"), current, ReasonExpired},
		"stale at once, without a validator":         {nil, facts(200, nil, nil, "Cache-Control: max-age=0"), current, ReasonExpired},
		"stale at once, but with a window":           {nil, facts(200, nil, nil, "Cache-Control: max-age=0, stale-if-error=9"), current, ""},
		"no-store":                                   {nil, facts(200, nil, nil, "Cache-Control: max-age=9, no-store"), current, ReasonNoStore},
		"no-store in another case":                   {nil, facts(200, nil, nil, "Cache-Control: No-Store, max-age=9"), current, ReasonNoStore},
		"must-understand lifts no-store":             {nil, facts(200, nil, nil, "Cache-Control: max-age=9, no-store, must-understand"), current, ""},
		"must-understand, and a status nobody knows": {nil, facts(599, nil, nil, "Cache-Control: max-age=9, must-understand"), current, ReasonStatus},
		"private":                                      {nil, facts(200, nil, nil, "Cache-Control: max-age=9, private"), current, ReasonPrivate},
		"private for one field is private":             {nil, facts(200, nil, nil, `Cache-Control: max-age=9, private="x"`), current, ReasonPrivate},
		"CDN-Cache-Control lifts no-store":             {nil, facts(200, nil, nil, "Cache-Control: no-store", "CDN-Cache-Control: max-age=9"), current, ""},
		"CDN-Cache-Control forbids":                    {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "CDN-Cache-Control: no-store"), current, ReasonNoStore},
		"a partial answer":                             {nil, facts(206, nil, nil, "Cache-Control: max-age=9"), current, ReasonPartial},
		"Content-Range on another status says nothing": {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Content-Range: bytes 0-4/9"), current, ""},
		"a 304 that we did not ask for":                {nil, facts(304, nil, nil, "Cache-Control: max-age=9"), current, ReasonStatus},
		"Set-Cookie":                                   {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Set-Cookie: a=b"), current, ReasonSetCookie},
		"Set-Cookie, and the policy allows it":         {nil, facts(200, nil, &Policy{StoreSetCookie: true}, "Cache-Control: max-age=9", "Set-Cookie: a=b"), current, ""},
		"Set-Cookie, and the rule allows it":           {nil, facts(200, &cacherules.Verdict{StoreSetCookie: true}, nil, "Cache-Control: max-age=9", "Set-Cookie: a=b"), current, ""},
		"Authorization":                                {authorized, facts(200, nil, nil, "Cache-Control: max-age=9"), current, ReasonAuthorization},
		"Authorization, but public":                    {authorized, facts(200, nil, nil, "Cache-Control: max-age=9, public"), current, ""},
		"Authorization, and a broken s-maxage":         {authorized, facts(200, nil, nil, "Cache-Control: s-maxage=9x", `ETag: "a"`), current, ReasonAuthorization},
		"Authorization, but s-maxage":                  {authorized, facts(200, nil, nil, "Cache-Control: s-maxage=9"), current, ""},
		"Authorization, but must-revalidate":           {authorized, facts(200, nil, nil, "Cache-Control: max-age=9, must-revalidate"), current, ""},
		"Authorization, and the rule allows it":        {authorized, facts(200, &cacherules.Verdict{StoreAuthorized: true}, nil, "Cache-Control: max-age=9"), current, ""},
		"the request says no-store":                    {[]string{"Cache-Control: no-store"}, facts(200, nil, nil, "Cache-Control: max-age=9"), current, ReasonRequestNoStore},
		"Vary: *":                                      {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Vary: *"), current, ReasonVary},
		"a star among others":                          {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Vary: Accept,, *"), current, ReasonVary},
		"a star on a line of its own":                  {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Vary: ", "Vary: *"), current, ReasonVary},
		"a field that a proxy writes behind us":        {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Vary: X-Forwarded-For"), current, ReasonVary},
		"an event stream":                              {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Content-Type: text/event-stream; charset=utf-8"), current, ReasonStream},
		"announced trailers":                           {nil, facts(200, nil, nil, "Cache-Control: max-age=9", "Trailer: X"), current, ""},
		"a version that is not current":                {nil, facts(200, nil, nil, "Cache-Control: max-age=9"), Source{Version: "2"}, ReasonRollout},
		"a fingerprinted asset of any version":         {nil, facts(200, fingerprinted, nil), Source{Version: "2"}, ""},
		"HTML under a style sheet's name":              {nil, under("/account/x.css", facts(200, page(time.Minute, 0), nil, "Content-Type: text/html")), current, ReasonMismatchedType},
		"HTML under one, with a lifetime of its own":   {nil, under("/account/x.css", facts(200, nil, nil, "Content-Type: text/html", "Cache-Control: max-age=9")), current, ReasonMismatchedType},
		"HTML under one, public":                       {nil, under("/x.css", facts(200, nil, nil, "Content-Type: text/html", "Cache-Control: max-age=9, public")), current, ""},
		"HTML under one, and the rule allows it":       {nil, under("/x.css", facts(200, &cacherules.Verdict{StoreMismatchedType: true}, nil, "Content-Type: text/html", "Cache-Control: max-age=9")), current, ""},
		"HTML under a fingerprinted name":              {nil, facts(200, fingerprinted, nil, "Content-Type: text/html"), current, cacherules.VetoFingerprintedHTML},
		"a 404 under a fingerprinted name":             {nil, facts(404, fingerprinted, nil, "Cache-Control: max-age=9"), current, cacherules.VetoFingerprintedError},
		"a rule gives lifetimes to no error":           {nil, facts(404, page(time.Minute, 0), nil), current, cacherules.VetoUnsaid},
		"a rule gives lifetimes to no login redirect":  {nil, facts(302, page(time.Minute, 0), nil), current, cacherules.VetoUnsaid},
		"an overriding rule obeys private":             {nil, facts(200, &cacherules.Verdict{Mode: cacherules.Cacheable, Override: true, Edge: cacherules.For(time.Hour)}, nil, "Cache-Control: private"), current, ReasonPrivate},
		"heuristically fresh":                          {nil, facts(200, nil, &Policy{Heuristic: true}, "Last-Modified: "+httpDate(epoch.Add(-time.Hour))), current, ""},
		"the same without the option is not permitted": {nil, facts(200, nil, nil, "Last-Modified: "+httpDate(epoch.Add(-time.Hour))), current, ReasonNoFreshness},
	} {
		request := make(http.Header)
		setFields(request, c.request)
		if got := storable(request, c.facts, c.source).reason; got != c.want {
			t.Errorf("%s: %q: want %q", name, got, c.want)
		}
	}
}

func TestVaryNames(t *testing.T) {
	h := http.Header{"Vary": {"accept-language, Accept-Encoding", "Accept-Encoding,"}}
	if names, ok := varyNames(h); !ok || !slices.Equal(names, []string{"Accept-Encoding", "Accept-Language"}) {
		t.Errorf("names %q, %v: want both, sorted, once", names, ok)
	}
	if _, ok := varyNames(http.Header{"Vary": {"not a name"}}); ok {
		t.Error("a member that is no field name is no reason to match everything")
	}
}

func TestVariantsMatch(t *testing.T) {
	stored := variedBy([]string{"Accept"}, nil, http.Header{"Accept": {" a ", "b"}})
	for name, c := range map[string]struct {
		request http.Header
		want    bool
	}{
		"the same":                  {http.Header{"Accept": {" a ", "b"}}, true},
		"joined lines":              {http.Header{"Accept": {"a, b"}}, true},
		"another order":             {http.Header{"Accept": {"b, a"}}, false},
		"another value":             {http.Header{"Accept": {"a"}}, false},
		"another case of the value": {http.Header{"Accept": {"A, b"}}, false},
		"none":                      {http.Header{}, false},
	} {
		if got := matches(stored, c.request); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
	absent := variedBy([]string{"Accept"}, nil, http.Header{})
	if matches(absent, http.Header{"Accept": {""}}) || !matches(absent, http.Header{}) {
		t.Error("an empty field is not an absent one")
	}
}

// under is an answer to a request for a path.
func under(path string, f answerFacts) answerFacts {
	f.path = path
	return f
}
