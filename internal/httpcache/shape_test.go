package httpcache

import (
	"net/http"
	"slices"
	"testing"

	"github.com/edgegw/edge/internal/cacherules"
)

func TestImpliedVary(t *testing.T) {
	for name, c := range map[string]struct {
		request, answer []string
		want            []string
		noCDN           bool
	}{
		"nothing unusual":                             {[]string{"Accept: text/html,*/*;q=0.8", "User-Agent: x", "Cookie: a=b"}, nil, nil, false},
		"a component payload is asked for":            {[]string{"Rsc: 1"}, nil, []string{"Rsc"}, true},
		"with more of the family":                     {[]string{"Rsc: 1", "Next-Url: /x", "Next-Router-State-Tree: y"}, nil, []string{"Next-Router-State-Tree", "Next-Url", "Rsc"}, true},
		"Vary names the family":                       {[]string{"Rsc: 1", "Next-Url: /x"}, []string{"Vary: RSC"}, []string{"Rsc"}, true},
		"Vary names another family":                   {[]string{"X-Nextjs-Data: 1"}, []string{"Vary: RSC"}, []string{"Rsc", "X-Nextjs-Data"}, true},
		"a fragment for htmx":                         {[]string{"Hx-Request: true"}, nil, []string{"Hx-Request"}, true},
		"a script asks":                               {[]string{"X-Requested-With: XmlHttpRequest"}, nil, []string{"X-Requested-With"}, true},
		"an Android app shows a page":                 {[]string{"X-Requested-With: com.example.app"}, nil, nil, false},
		"a key in a field of its own":                 {[]string{"X-Api-Key: secret"}, nil, []string{"X-Api-Key"}, true},
		"CORS, echoed":                                {[]string{"Origin: https://a.test"}, []string{"Access-Control-Allow-Origin: https://a.test"}, []string{"Origin"}, false},
		"CORS for anybody":                            {[]string{"Origin: https://a.test"}, []string{"Access-Control-Allow-Origin: *"}, nil, false},
		"CORS for somebody else":                      {[]string{"Origin: https://evil.test"}, []string{"Access-Control-Allow-Origin: https://a.test"}, nil, false},
		"CORS, no origin":                             {nil, []string{"Access-Control-Allow-Origin: https://a.test"}, nil, false},
		"JSON, asked for by name":                     {[]string{"Accept: application/json"}, []string{"Content-Type: application/json; charset=utf-8"}, []string{"Accept"}, true},
		"JSON, asked for among others":                {[]string{"Accept: text/html;q=0.1, Application/JSON ;q=1"}, []string{"Content-Type: application/json"}, []string{"Accept"}, true},
		"JSON, by its suffix":                         {[]string{"Accept: application/json"}, []string{"Content-Type: application/ld+json"}, []string{"Accept"}, true},
		"JSON, by its family":                         {[]string{"Accept: application/*"}, []string{"Content-Type: application/json"}, []string{"Accept"}, true},
		"JSON, as for anybody":                        {[]string{"Accept: */*"}, []string{"Content-Type: application/json"}, nil, false},
		"Markdown for a reader that is no browser":    {[]string{"Accept: text/markdown, text/html"}, []string{"Content-Type: text/markdown"}, []string{"Accept"}, true},
		"a page for a browser":                        {[]string{"Accept: text/html,application/xhtml+xml,*/*;q=0.8"}, []string{"Content-Type: text/html"}, nil, false},
		"a picture for a browser":                     {[]string{"Accept: image/avif,image/webp,*/*"}, []string{"Content-Type: image/webp"}, nil, false},
		"an answer of no type is not recognised":      {[]string{"Accept: application/json"}, nil, nil, false},
		"a field that is merely spelled like one":     {[]string{"Rscx: 1", "X-Next: 1"}, nil, nil, false},
		"what is implied and said is there only once": {[]string{"Hx-Request: true"}, []string{"Vary: hx-request, Accept"}, []string{"Accept", "Hx-Request"}, true},
	} {
		r, a := make(http.Header), make(http.Header)
		setFields(r, c.request)
		setFields(a, append(c.answer, "Cache-Control: max-age=9"))
		facts := answerFacts{status: 200, header: a, control: controlOf(a), verdict: &unruled, policy: new(Policy)}
		s := storable(r, facts, Source{Current: true})
		if s.reason != "" || !slices.Equal(s.names, c.want) {
			t.Errorf("%s: %q (%s): want %q", name, s.names, s.reason, c.want)
		}
		if got := shaped(r, &unruled) || wasNegotiated(r, a); got != c.noCDN {
			t.Errorf("%s: the CDN must not store it: %t", name, got)
		}
		facts.verdict = &cacherules.Verdict{TrustVary: true}
		said, _ := varyNames(a)
		if s := storable(r, facts, Source{Current: true}); !slices.Equal(s.names, said) {
			t.Errorf("%s: %q: unsafe_trust_vary trusts Vary", name, s.names)
		}
		if shaped(r, facts.verdict) {
			t.Errorf("%s: the CDN may have it, by unsafe_trust_vary", name)
		}
	}
}
