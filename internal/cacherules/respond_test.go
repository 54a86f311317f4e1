package cacherules

import (
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fields makes a header of "Name: value" lines.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// wants of a header: the fields that tell caches something, and nothing else.
func cacheFields(h http.Header) http.Header {
	found := maps.Clone(h)
	maps.DeleteFunc(found, func(name string, _ []string) bool {
		switch name {
		case browserField, cdnField, cloudflareField, surrogateField, tagField, "Expires":
			return false
		}
		return true
	})
	return found
}

type respondCase struct {
	rule       Rule // "/*" is added
	status     int  // 200 when zero
	origin     []string
	bypassed   bool
	method     string
	authorized bool
	want       []string
}

func (c respondCase) run(t *testing.T) {
	v := &Unruled
	if c.rule.Kind != "" {
		c.rule.Paths = []string{"/*"}
		v = mustCompile(t, c.rule).Rules()[0]
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	r := &http.Request{Method: c.method, URL: &url.URL{Path: "/"}, Header: http.Header{}}
	if c.authorized {
		r.Header.Set("Authorization", "Bearer x")
	}
	h := fields(append(c.origin, "X-Other: kept")...)
	v.Respond(Response{Status: c.status, Header: h, Bypassed: c.bypassed, Request: r})
	if got, want := cacheFields(h), fields(c.want...); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if h.Get("X-Other") != "kept" {
		t.Error("another field is gone")
	}
}

const (
	year   = "Cache-Control: public, max-age=31536000, immutable"
	noCDN  = "Cloudflare-CDN-Cache-Control: no-store"
	minute = "Cloudflare-CDN-Cache-Control: max-age=60, stale-while-revalidate=600, stale-if-error=600"
)

var (
	page          = Rule{Kind: "page"}
	pageOverride  = Rule{Kind: "page", Override: true}
	static        = Rule{Kind: "static"}
	fingerprinted = Rule{Kind: "fingerprinted"}
	private       = Rule{Kind: "private"}
)

func TestRespondFillsInLifetimes(t *testing.T) {
	for name, c := range map[string]respondCase{
		"page":   {rule: page, want: []string{"Cache-Control: no-cache", minute}},
		"static": {rule: static, want: []string{"Cache-Control: public, max-age=3600", "Cloudflare-CDN-Cache-Control: max-age=86400, stale-while-revalidate=604800, stale-if-error=604800"}},
		"fingerprinted": {rule: fingerprinted, origin: []string{"Content-Type: text/javascript"},
			want: []string{year, "Cloudflare-CDN-Cache-Control: max-age=31536000"}},
		"no edge, no stale":                        {rule: Rule{Kind: "page", Edge: For(0), Stale: For(0)}, want: []string{"Cache-Control: no-cache", "Cloudflare-CDN-Cache-Control: no-cache"}},
		"no edge, but stale":                       {rule: Rule{Kind: "page", Edge: For(0)}, want: []string{"Cache-Control: no-cache", "Cloudflare-CDN-Cache-Control: max-age=0, stale-while-revalidate=600, stale-if-error=600"}},
		"68 years is as long as it gets, 1.2.2":    {rule: Rule{Kind: "rule", Edge: For(100 * 365 * 24 * time.Hour)}, want: []string{"Cloudflare-CDN-Cache-Control: max-age=2147483648"}},
		"edge alone says nothing to browsers":      {rule: Rule{Kind: "rule", Edge: For(time.Hour)}, want: []string{"Cloudflare-CDN-Cache-Control: max-age=3600"}},
		"browser alone is no licence for CDNs":     {rule: Rule{Kind: "rule", Browser: For(time.Hour)}, want: []string{"Cache-Control: private, max-age=3600"}},
		"browser none alone, likewise":             {rule: Rule{Kind: "rule", Browser: For(0)}, want: []string{"Cache-Control: private, no-cache"}},
		"a free rule without lifetimes":            {rule: Rule{Kind: "rule"}},
		"no rule at all":                           {},
		"an empty Cache-Control is silence":        {rule: page, origin: []string{"Cache-Control: "}, want: []string{"Cache-Control: no-cache", minute}},
		"304 is about a lasting answer":            {rule: fingerprinted, status: 304, want: []string{year, "Cloudflare-CDN-Cache-Control: max-age=31536000"}},
		"a permanent redirect":                     {rule: page, status: 301, want: []string{"Cache-Control: no-cache", minute}},
		"HEAD":                                     {rule: page, method: "HEAD", want: []string{"Cache-Control: no-cache", minute}},
		"POST is left alone":                       {rule: page, method: "POST"},
		"lifetimes said: the origin's":             {rule: page, origin: []string{"Cache-Control: max-age=5"}, want: []string{"Cache-Control: max-age=5"}},
		"Expires is a lifetime":                    {rule: page, origin: []string{"Expires: 0"}, want: []string{"Expires: 0"}},
		"override wins":                            {rule: pageOverride, origin: []string{"Cache-Control: public, max-age=5", "Expires: 0"}, want: []string{"Cache-Control: no-cache", minute}},
		"override wins over no-cache":              {rule: pageOverride, origin: []string{"Cache-Control: no-cache"}, want: []string{"Cache-Control: no-cache", minute}},
		"CDN-Cache-Control of the origin stays":    {rule: page, origin: []string{"CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: no-cache", "CDN-Cache-Control: max-age=9"}},
		"Cloudflare's own of the origin stays":     {rule: page, origin: []string{"Cloudflare-CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: no-cache", "Cloudflare-CDN-Cache-Control: max-age=9"}},
		"Surrogate-Control of the origin stays":    {rule: page, origin: []string{"Surrogate-Control: max-age=9"}, want: []string{"Cache-Control: no-cache", "Surrogate-Control: max-age=9"}},
		"override reaches CDN-Cache-Control, too":  {rule: Rule{Kind: "rule", Edge: For(time.Minute), Override: true}, origin: []string{"CDN-Cache-Control: max-age=9"}, want: []string{"CDN-Cache-Control: max-age=60", "Cloudflare-CDN-Cache-Control: max-age=60"}},
		"fingerprinted assets obey without it":     {rule: fingerprinted, origin: []string{"Cache-Control: max-age=5"}, want: []string{"Cache-Control: max-age=5"}},
		"a qualified no-cache is no silence":       {rule: page, origin: []string{`Cache-Control: no-cache="x"`}, want: []string{`Cache-Control: no-cache="x"`}},
		"override does not reach a temporary one":  {rule: pageOverride, status: 302, origin: []string{"Cache-Control: max-age=5"}, want: []string{"Cache-Control: max-age=5"}},
		"override does not reach errors":           {rule: pageOverride, status: 500, origin: []string{"Cache-Control: max-age=5"}, want: []string{"Cache-Control: max-age=5"}},
		"a fingerprinted name for a shorter while": {rule: Rule{Kind: "fingerprinted", Browser: For(time.Hour)}, want: []string{"Cache-Control: public, max-age=3600, immutable", "Cloudflare-CDN-Cache-Control: max-age=31536000"}},
	} {
		t.Run(name, c.run)
	}
}

func TestRespondForbids(t *testing.T) {
	for name, c := range map[string]respondCase{
		"private, origin silent":                    {rule: private, want: []string{"Cache-Control: private, no-store", noCDN}},
		"private, origin public":                    {rule: private, origin: []string{"Cache-Control: public, max-age=60", "Expires: 0", "CDN-Cache-Control: max-age=9", "Surrogate-Control: max-age=9"}, want: []string{"Cache-Control: private, no-store", noCDN, "CDN-Cache-Control: no-store", "Surrogate-Control: no-store"}},
		"private, origin lets browsers store":       {rule: private, origin: []string{"Cache-Control: private, max-age=60"}, want: []string{"Cache-Control: private, no-store", noCDN}},
		"private, origin no-store":                  {rule: private, origin: []string{"Cache-Control: no-store, no-transform"}, want: []string{"Cache-Control: no-store, no-transform", noCDN}},
		"private, POST and an error":                {rule: private, method: "POST", status: 500, want: []string{"Cache-Control: private, no-store", noCDN}},
		"a cookie, origin silent":                   {rule: static, bypassed: true, want: []string{"Cache-Control: private, no-cache", noCDN}},
		"a cookie, origin public":                   {rule: page, bypassed: true, origin: []string{"Cache-Control: public, max-age=60"}, want: []string{"Cache-Control: private, no-cache", noCDN}},
		"a cookie, origin private":                  {rule: page, bypassed: true, origin: []string{"Cache-Control: private, max-age=60"}, want: []string{"Cache-Control: private, max-age=60", noCDN}},
		"fingerprinted, not found":                  {rule: fingerprinted, status: 404, origin: []string{"Cache-Control: max-age=99", "Expires: 0"}, want: []string{"Cache-Control: no-store", noCDN}},
		"fingerprinted, a redirect":                 {rule: fingerprinted, status: 301, want: []string{"Cache-Control: no-store", noCDN}},
		"fingerprinted, HTML":                       {rule: fingerprinted, origin: []string{"Content-Type: Text/HTML;charset=utf-8", "CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: no-store", noCDN, "CDN-Cache-Control: no-store"}},
		"origin no-store":                           {rule: pageOverride, origin: []string{"Cache-Control: no-store"}, want: []string{"Cache-Control: no-store", noCDN}},
		"origin private":                            {rule: page, origin: []string{"Cache-Control: private"}, want: []string{"Cache-Control: private", noCDN}},
		"origin private for a field":                {rule: pageOverride, origin: []string{`Cache-Control: private="x"`}, want: []string{`Cache-Control: private="x"`, noCDN}},
		"origin private, but not to CDNs":           {rule: page, origin: []string{"Cache-Control: private", "CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: private", "CDN-Cache-Control: max-age=9"}},
		"origin private, but not to CDNs, override": {rule: pageOverride, origin: []string{"Cache-Control: private", "CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: private", noCDN, "CDN-Cache-Control: no-store"}},
		"origin private, no rule":                   {origin: []string{"Cache-Control: private"}, want: []string{"Cache-Control: private"}},
		"a cookie is set":                           {rule: static, origin: []string{"Set-Cookie: a=1"}, want: []string{"Cache-Control: private, max-age=3600", noCDN}},
		"a cookie is set, page":                     {rule: page, origin: []string{"Set-Cookie: a=1"}, want: []string{"Cache-Control: private, no-cache", noCDN}},
		"a cookie is set, override":                 {rule: pageOverride, origin: []string{"Set-Cookie: a=1", "CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: private, no-cache", noCDN, "CDN-Cache-Control: no-store"}},
		"a cookie is set, no rule":                  {origin: []string{"Set-Cookie: a=1", "Cache-Control: max-age=9"}, want: []string{"Cache-Control: max-age=9", noCDN}},
		"a cookie is set, origin private":           {origin: []string{"Set-Cookie: a=1", "Cache-Control: private", "CDN-Cache-Control: max-age=9"}, want: []string{"Cache-Control: private", noCDN, "CDN-Cache-Control: no-store"}},
		"a cookie is set, unsafe":                   {rule: Rule{Kind: "page", UnsafeStoreSetCookie: true}, origin: []string{"Set-Cookie: a=1"}, want: []string{"Cache-Control: no-cache", minute}},
		"credentials":                               {rule: page, authorized: true, want: []string{"Cache-Control: private, no-cache", noCDN}},
		"credentials, origin public, 9111 3.5":      {rule: pageOverride, authorized: true, origin: []string{"Cache-Control: public"}, want: []string{"Cache-Control: no-cache", minute}},
		"credentials, origin max-age, override":     {rule: pageOverride, authorized: true, origin: []string{"Cache-Control: max-age=9"}, want: []string{"Cache-Control: private, no-cache", noCDN}},
		"credentials, unsafe":                       {rule: Rule{Kind: "page", UnsafeStoreAuthorized: true}, authorized: true, want: []string{"Cache-Control: no-cache", minute}},
		"an error, origin silent":                   {rule: page, status: 404, want: []string{noCDN}},
		"an error, origin speaks":                   {rule: page, status: 404, origin: []string{"Cache-Control: max-age=9"}, want: []string{"Cache-Control: max-age=9"}},
		"an error, origin speaks to CDNs":           {rule: page, status: 404, origin: []string{"CDN-Cache-Control: max-age=9"}, want: []string{"CDN-Cache-Control: max-age=9"}},
		"an error, no rule":                         {status: 404},
		"a temporary redirect, origin silent":       {rule: page, status: 302, want: []string{noCDN}},
	} {
		t.Run(name, c.run)
	}
}

// A verdict written as a literal, without a request, is answered as a GET.
func TestRespondWithoutARequest(t *testing.T) {
	h := http.Header{}
	(&Verdict{Mode: Cacheable, Browser: For(0), Edge: For(time.Minute)}).Respond(Response{Status: 200, Header: h})
	if want := fields("Cache-Control: no-cache", "Cloudflare-CDN-Cache-Control: max-age=60"); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v: want %v", h, want)
	}
}

// The engine shares the value slices of stored headers between answers.
func TestForbidCDNChangesNoValueInPlace(t *testing.T) {
	stored := fields("CDN-Cache-Control: max-age=9", minute)
	answer := maps.Clone(stored)
	ForbidCDN(answer)
	if want := fields("CDN-Cache-Control: no-store", noCDN); !reflect.DeepEqual(answer, want) {
		t.Errorf("got %v: want %v", answer, want)
	}
	if want := fields("CDN-Cache-Control: max-age=9", minute); !reflect.DeepEqual(stored, want) {
		t.Errorf("the stored header became %v", stored)
	}
}
