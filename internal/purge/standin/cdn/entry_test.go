package cdn

import (
	"net/http"
	"testing"
	"time"
)

func TestLifetimesAreCloudflares(t *testing.T) {
	header := func(pairs ...string) http.Header {
		h := http.Header{"Date": {"Mon, 02 Nov 2026 10:00:00 GMT"}}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	const own = "Cloudflare-CDN-Cache-Control"
	for name, c := range map[string]struct {
		status     int
		header     http.Header
		authorized bool
		want       lifetime
	}{
		"nothing said":                     {200, header(), false, lifetime{stored: true, fresh: 2 * time.Hour}},
		"404, nothing said":                {404, header(), false, lifetime{stored: true, fresh: 3 * time.Minute}},
		"500, nothing said":                {500, header(), false, lifetime{}},
		"no-store":                         {200, header("Cache-Control", "no-store"), false, lifetime{}},
		"private":                          {200, header("Cache-Control", "private, max-age=60"), false, lifetime{}},
		"no-cache":                         {200, header("Cache-Control", "no-cache"), false, lifetime{}},
		"max-age=0":                        {200, header("Cache-Control", "max-age=0"), false, lifetime{}},
		"max-age":                          {200, header("Cache-Control", "max-age=60"), false, lifetime{stored: true, fresh: time.Minute}},
		"s-maxage forbids stale":           {200, header("Cache-Control", "max-age=5, s-maxage=60, stale-while-revalidate=9"), false, lifetime{stored: true, fresh: time.Minute}},
		"must-revalidate forbids stale":    {200, header("Cache-Control", "max-age=60, must-revalidate, stale-if-error=9"), false, lifetime{stored: true, fresh: time.Minute}},
		"CDN-Cache-Control first":          {200, header("Cache-Control", "no-store", "CDN-Cache-Control", "max-age=60"), false, lifetime{stored: true, fresh: time.Minute}},
		"Cloudflare's own before that":     {200, header(own, "no-store", "CDN-Cache-Control", "max-age=60"), false, lifetime{}},
		"stale windows":                    {200, header(own, "max-age=60, stale-while-revalidate=10, stale-if-error=20"), false, lifetime{true, time.Minute, 10 * time.Second, 20 * time.Second}},
		"Set-Cookie":                       {200, header(own, "max-age=60", "Set-Cookie", "a=b"), false, lifetime{}},
		"Vary: *":                          {200, header(own, "max-age=60", "Vary", "*"), false, lifetime{}},
		"a part":                           {206, header(own, "max-age=60"), false, lifetime{}},
		"authorized":                       {200, header("Cache-Control", "max-age=60"), true, lifetime{}},
		"authorized and public":            {200, header("Cache-Control", "public, max-age=60"), true, lifetime{stored: true, fresh: time.Minute}},
		"Expires":                          {200, header("Expires", "Mon, 02 Nov 2026 10:01:00 GMT"), false, lifetime{stored: true, fresh: time.Minute}},
		"Expires is no date":               {200, header("Expires", "0"), false, lifetime{}},
		"Cache-Control outranks Expires":   {200, header("Cache-Control", "max-age=5", "Expires", "0"), false, lifetime{stored: true, fresh: 5 * time.Second}},
		"an error with a lifetime is kept": {404, header(own, "max-age=60"), false, lifetime{stored: true, fresh: time.Minute}},
	} {
		ask := request{header: http.Header{}}
		if c.authorized {
			ask.header.Set("Authorization", "Bearer x")
		}
		if got := lifetimeOf(ask, &answer{status: c.status, header: c.header}); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
