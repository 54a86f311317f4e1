package cacherules

import (
	"net/http"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

func TestBypasses(t *testing.T) {
	v := &Verdict{WithoutCookie: []string{"session", "wp_logged_in_*"}}
	for name, c := range map[string]struct {
		cookies []string
		want    bool
	}{
		"no cookie":                     {nil, false},
		"another cookie":                {[]string{"a=1; b=2"}, false},
		"the cookie":                    {[]string{"session=1"}, true},
		"the cookie among others":       {[]string{"a=1; session=1; b=2"}, true},
		"the cookie on a second line":   {[]string{"a=1", "session=1"}, true},
		"the cookie without blanks":     {[]string{"a=1;session=1"}, true},
		"an empty value":                {[]string{"session="}, true},
		"no value at all":               {[]string{"session"}, true},
		"blanks around the name":        {[]string{"a=1; \tsession =1"}, true},
		"a longer name":                 {[]string{"session2=1; xsession=1"}, false},
		"names have case, 6265 5.4":     {[]string{"Session=1"}, false},
		"the word in a value":           {[]string{"a=session; b=x=session"}, false},
		"the beginning of a name":       {[]string{"wp_logged_in_42=1"}, true},
		"the beginning, and no more":    {[]string{"wp_logged_in_"}, true},
		"less than the beginning":       {[]string{"wp_logged_in=1"}, false},
		"separators and nothing else":   {[]string{";; ;=;"}, false},
		"the cookie after broken pairs": {[]string{"=;;=x;session"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := v.Bypasses(&http.Request{Header: http.Header{"Cookie": c.cookies}}); got != c.want {
				t.Errorf("%q: got %t", c.cookies, got)
			}
		})
	}
	if !(&Verdict{Mode: Private}).Bypasses(&http.Request{}) {
		t.Error("a private rule does not bypass")
	}
	if Unruled.Bypasses(&http.Request{Header: http.Header{"Cookie": {"a=1"}}}) {
		t.Error("no rule bypasses")
	}
}

func TestVetoAndGoverns(t *testing.T) {
	day := Verdict{Mode: Cacheable, Edge: For(24 * time.Hour)}
	override := Verdict{Mode: Cacheable, Edge: For(time.Hour), Override: true}
	asset := Verdict{Mode: Cacheable, Fingerprinted: true, Edge: For(time.Hour)}
	for name, c := range map[string]struct {
		v       Verdict
		status  int
		origin  []string
		veto    string
		governs bool
	}{
		"private":                                  {Verdict{Mode: Private, Edge: For(time.Hour)}, 200, nil, VetoPrivate, false},
		"no rule":                                  {Unruled, 200, nil, "", false},
		"no rule, an error":                        {Unruled, 404, nil, "", false},
		"silence is filled":                        {day, 200, nil, "", true},
		"Cache-Control is no silence":              {day, 200, []string{"Cache-Control: max-age=1"}, "", false},
		"Expires is no silence":                    {day, 200, []string{"Expires: 0"}, "", false},
		"CDN-Cache-Control is no silence to us":    {day, 200, []string{"CDN-Cache-Control: max-age=1"}, "", false},
		"Cloudflare's field is not for us":         {day, 200, []string{"Cloudflare-CDN-Cache-Control: max-age=1"}, "", true},
		"override":                                 {override, 200, []string{"Cache-Control: max-age=1", "CDN-Cache-Control: max-age=1"}, "", true},
		"without an edge lifetime":                 {Verdict{Mode: Origin, Browser: For(time.Hour)}, 200, nil, "", false},
		"a permanent redirect":                     {day, 308, nil, "", true},
		"a temporary redirect, silent":             {day, 302, nil, VetoUnsaid, false},
		"a temporary redirect with a lifetime":     {day, 302, []string{"Cache-Control: max-age=1"}, "", false},
		"an error, silent":                         {override, 404, nil, VetoUnsaid, false},
		"an error with a lifetime":                 {override, 404, []string{"Cache-Control: max-age=1"}, "", false},
		"an error with a lifetime for CDNs":        {day, 404, []string{"CDN-Cache-Control: max-age=1"}, "", false},
		"an asset":                                 {asset, 200, []string{"Content-Type: text/css"}, "", true},
		"an asset confirmed":                       {asset, 304, nil, "", true},
		"an asset that is not found":               {asset, 404, []string{"Cache-Control: max-age=1"}, VetoFingerprintedError, false},
		"an asset that is elsewhere":               {asset, 301, nil, VetoFingerprintedError, true},
		"an asset that is a page":                  {asset, 200, []string{"Content-Type: text/html"}, VetoFingerprintedHTML, true},
		"an asset that is a page, and says so so":  {asset, 200, []string{"Content-Type:  TEXT/html ; charset=x"}, VetoFingerprintedHTML, true},
		"an asset that is a page of another kind":  {asset, 200, []string{"Content-Type: application/xhtml+xml"}, VetoFingerprintedHTML, true},
		"a page that is no asset":                  {day, 200, []string{"Content-Type: text/html"}, "", true},
		"a partial answer is for others to refuse": {asset, 206, nil, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := fields(c.origin...)
			if got := c.v.Veto(c.status, h); got != c.veto {
				t.Errorf("veto %q: want %q", got, c.veto)
			}
			if got := c.v.Governs(c.status, h); got != c.governs {
				t.Errorf("governs: %t", got)
			}
		})
	}
}

func TestLifetimeText(t *testing.T) {
	for text, want := range map[string]Lifetime{"": {}, "none": For(0), "1h30m": For(90 * time.Minute), "7d": {Set: true, D: unit.Duration(7 * 24 * time.Hour)}} {
		var got Lifetime
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
		if again, err := got.MarshalText(); err != nil || string(again) != text {
			t.Errorf("%q is written as %q, %v", text, again, err)
		}
	}
	if l, err := ParseLifetime("0s"); err != nil || l != For(0) {
		t.Errorf("0s: got %+v, %v", l, err)
	}
	for _, wrong := range []string{"", "soon", "-1s", "1.5s", "None", "60"} {
		if l, err := ParseLifetime(wrong); err == nil || l.Set {
			t.Errorf("%q: got %+v", wrong, l)
		}
	}
}

func TestModesHaveWords(t *testing.T) {
	for mode, want := range map[Mode]string{Origin: "origin", Cacheable: "cacheable", Private: "private"} {
		if mode.String() != want {
			t.Errorf("mode %d is called %q: want %q", mode, mode, want)
		}
	}
}
