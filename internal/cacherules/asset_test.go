package cacherules

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

func TestMismatched(t *testing.T) {
	for name, c := range map[string]struct {
		path, kind string
		more       []string
		want       bool
	}{
		"a page as a style sheet":                   {"/account/x.css", "text/html; charset=utf-8", nil, true},
		"in any case":                               {"/account/X.CSS", "Text/HTML", nil, true},
		"XHTML":                                     {"/account/x.png", "application/xhtml+xml", nil, true},
		"JSON as a script":                          {"/api/me/x.js", "application/json", nil, true},
		"JSON by another name":                      {"/api/me/x.js", "application/problem+json", nil, true},
		"a component payload":                       {"/account/x.js", "text/x-component", nil, true},
		"after an encoded slash":                    {"/account/x.css", "text/html", nil, true}, // the path is decoded
		"after a semicolon":                         {"/account;x.css", "text/html", nil, true},
		"before a semicolon":                        {"/account/x.css;jsessionid=1", "text/html", nil, true},
		"after a question mark that is none":        {"/account?x.css", "text/html", nil, true},
		"after a NUL":                               {"/account\x00.css", "text/html", nil, true},
		"after a hash":                              {"/account#.css", "text/html", nil, true},
		"text as an image":                          {"/account/x.gif", "text/plain", nil, true},
		"text as a script is what old servers send": {"/x.js", "text/plain", nil, false},
		"a style sheet":                             {"/x.css", "text/css", nil, false},
		"a style sheet as a script":                 {"/x.js", "text/css", nil, true},
		"a script":                                  {"/x.mjs", "text/javascript", nil, false},
		"a script by an old name":                   {"/x.js", "application/x-javascript", nil, false},
		"another image":                             {"/x.jpg", "image/webp", nil, false},
		"a moving picture":                          {"/x.gif", "video/webm", nil, false},
		"a drawing as XML":                          {"/x.svg", "text/xml", nil, false},
		"a drawing":                                 {"/x.svg", "image/svg+xml", nil, false},
		"a source map":                              {"/x.js.map", "application/json", nil, false},
		"a font by an old name":                     {"/x.woff", "application/font-woff", nil, false},
		"a font by another":                         {"/x.ttf", "application/x-font-ttf", nil, false},
		"bytes are for saving":                      {"/x.css", "application/octet-stream", nil, false},
		"an archive":                                {"/x.zip", "application/zip", nil, false},
		"a table":                                   {"/x.xls", "application/vnd.ms-excel", nil, false},
		"a page as a table":                         {"/x.xls", "text/html", nil, true},
		"no type":                                   {"/x.css", "", nil, false},
		"a page is a page":                          {"/account", "text/html", nil, false},
		"a page's own extension":                    {"/account.html", "text/html", nil, false},
		"an extension of no asset":                  {"/account.json", "application/json", nil, false},
		"a dot in a folder":                         {"/v1.css/account", "text/html", nil, false},
		"a version":                                 {"/docs/1.2", "text/html", nil, false},
		"the origin says max-age, which is no consent": {"/account/x.css", "text/html", []string{"Cache-Control: max-age=60"}, true},
		"the origin says public":                       {"/x.css", "text/html", []string{"Cache-Control: public, max-age=60"}, false},
		"the origin says s-maxage":                     {"/x.css", "text/html", []string{"Cache-Control: s-maxage=60"}, false},
		"the origin speaks to CDNs":                    {"/x.css", "text/html", []string{"CDN-Cache-Control: max-age=60"}, false},
	} {
		h := fields(c.more...)
		if c.kind != "" {
			h.Set("Content-Type", c.kind)
		}
		if got := new(Verdict).Mismatched(c.path, 200, h); got != c.want {
			t.Errorf("%s: %s as %q: got %t", name, c.path, c.kind, got)
		}
		if (&Verdict{StoreMismatchedType: true}).Mismatched(c.path, 200, h) {
			t.Errorf("%s: not with unsafe_store_mismatched_type", name)
		}
	}
	if new(Verdict).Mismatched("/x.css", http.StatusMovedPermanently, fields("Content-Type: text/html")) {
		t.Error("a redirect's body is a note, whatever its type")
	}
}

// What looks like an asset and is a page must not be stored further out either:
// CDNs go by the extension.
func TestTheCDNMustNotKeepAMismatch(t *testing.T) {
	v := mustCompile(t, Rule{Kind: "static", Paths: []string{"/*"}}).Rules()[0]
	for seen, want := range map[string]string{"": "no-store", "/page": v.forCDN()} {
		h := fields("Content-Type: text/html")
		r := &http.Request{Method: "GET", URL: &url.URL{Path: "/account/x.css"}}
		v.Respond(Response{Status: 200, Header: h, Request: r, Path: seen})
		if got := h.Get(cloudflareField); got != want {
			t.Errorf("seen as %q: the CDN is told %q: want %q", seen, got, want)
		}
	}
	if v.Edge.D.D() != 24*time.Hour {
		t.Fatal("a static rule without an edge lifetime proves nothing")
	}
}

func FuzzMismatched(f *testing.F) {
	f.Add("/account;x.css", "text/html")
	f.Add("/.css", "/")
	f.Fuzz(func(t *testing.T, path, kind string) {
		h := http.Header{"Content-Type": {kind}}
		if new(Verdict).Mismatched(path, 200, h) && assets[extensionOf(path)] == unknownClass {
			t.Errorf("%q as %q: a mismatch of what is no asset", path, kind)
		}
		if assets[lastExtension(path)] != unknownClass && !new(Verdict).Mismatched(path, 200, http.Header{"Content-Type": {"text/html"}}) {
			t.Errorf("%q: HTML under an asset's name is none", path)
		}
	})
}
