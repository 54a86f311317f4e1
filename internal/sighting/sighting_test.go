package sighting

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// said is an answer with the fields given as name, value, name, value.
func said(replica string, status int, fields ...string) Answer {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Add(fields[i], fields[i+1])
	}
	return Answer{Replica: replica, Target: "/", Status: status, Header: h}
}

func TestRegrets(t *testing.T) {
	for name, c := range map[string]struct {
		answers []Answer
		version string
		want    []string // each in a line of its own
	}{
		"nothing to regret":  {[]Answer{said("a", 200, "Etag", `"1"`), said("b", 200, "Etag", `"1"`)}, "", nil},
		"no answer":          {[]Answer{{Replica: "a", Target: "/", Err: errors.New("refused")}}, "", []string{"replica a: GET /: refused"}},
		"a failing page":     {[]Answer{said("a", 503)}, "", []string{"replica a: GET /: status 503"}},
		"a CDN in between":   {[]Answer{said("a", 200, "X-Cache", "HIT")}, "", []string{"another cache (X-Cache: HIT)"}},
		"an age":             {[]Answer{said("a", 200, "Age", "12")}, "", []string{"another cache (Age: 12)"}},
		"s-maxage":           {[]Answer{said("a", 200, "Cache-Control", "public", "Cache-Control", "max-age=1, S-MaxAge=60"), said("b", 200, "Cache-Control", "s-maxage=60")}, "", []string{"s-maxage=60"}},
		"surrogates":         {[]Answer{said("a", 200, "Surrogate-Control", "max-age=9")}, "", []string{"Surrogate-Control"}},
		"varies by anything": {[]Answer{said("a", 200, "Vary", "Accept, *")}, "", []string{"Vary: *"}},
		"no version":         {[]Answer{said("a", 200), said("b", 404)}, "V", []string{"has no V"}},
		"tags by replica": {[]Answer{said("a", 200, "Etag", `"1"`), said("a", 200, "Etag", `"1"`), said("b", 200, "Etag", `"2"`), said("b", 200, "Etag", `"2"`)}, "",
			[]string{`(ETag "1" at a, ETag "2" at b)`}},
		"times by replica":         {[]Answer{said("a", 200, "Last-Modified", "Mon"), said("b", 200, "Last-Modified", "Tue")}, "", []string{"Last-Modified Mon at a"}},
		"tags by version":          {[]Answer{said("a", 200, "Etag", `"1"`, "V", "1"), said("b", 200, "Etag", `"2"`, "V", "2")}, "V", nil},
		"a page made anew":         {[]Answer{said("a", 200, "Etag", `"1"`), said("a", 200, "Etag", `"2"`), said("b", 200, "Etag", `"3"`), said("b", 200, "Etag", `"4"`)}, "", nil},
		"errors' tags are no tags": {[]Answer{said("a", 404, "Etag", `"1"`), said("b", 200, "Etag", `"2"`)}, "", nil},
	} {
		got := Regrets(c.answers, c.version)
		for i, want := range c.want {
			if i >= len(got) || !strings.Contains(got[i], want) {
				t.Errorf("%s: %q: want %q", name, got, c.want)
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %q: want %d lines", name, got, len(c.want))
		}
		back := slices.Clone(c.answers)
		slices.Reverse(back)
		if again := Regrets(back, c.version); len(again) != len(got) {
			t.Errorf("%s: in another order %q: want as many as in %q", name, again, got)
		}
	}
}

func TestVisits(t *testing.T) {
	through := func(more ...string) Answer {
		a := said("", 200, append([]string{"Cf-Ray", "1-A", "Cache-Status", "edge; hit; ttl=9"}, more...)...)
		a.Target = "https://a.example/"
		return a
	}
	bare := said("", 200, "Cache-Status", "Souin; hit")
	for name, c := range map[string]struct {
		answers    []Answer
		cloudflare bool
		want       []string
	}{
		"nothing to regret":        {[]Answer{through("Cf-Cache-Status", "MISS"), through("Cf-Cache-Status", "HIT", "Age", "3")}, true, nil},
		"not through Cloudflare":   {[]Answer{said("", 200, "Cache-Status", "edge; fwd=bypass")}, true, []string{"did not come through Cloudflare"}},
		"nor is it wanted":         {[]Answer{said("", 200, "Cache-Status", "edge; fwd=bypass")}, false, nil},
		"past edge":                {[]Answer{bare, bare}, false, []string{"did not come through edge_cache"}},
		"through two caches":       {[]Answer{said("", 200, "Cache-Status", "other; hit, edge; hit")}, false, nil},
		"a platform's CDN":         {[]Answer{through("X-Cache", "HIT"), through("X-Cache", "HIT")}, true, []string{"(X-Cache: HIT)"}},
		"Railway's":                {[]Answer{through("X-Cache", "MISS", "X-Railway-Edge", "a")}, true, []string{"railway cdn disable"}},
		"pages are not eligible":   {[]Answer{through("Cf-Cache-Status", "DYNAMIC"), through("Cf-Cache-Status", "DYNAMIC")}, true, []string{"(cf-cache-status: DYNAMIC)"}},
		"the first one fills":      {[]Answer{through("Cf-Cache-Status", "DYNAMIC")}, true, nil},
		"a failure, and no answer": {[]Answer{said("", 521), {Target: "x", Err: errors.New("refused")}}, true, []string{"status 521", "visit x: refused"}},
		"what edge does not store": {[]Answer{said("", 200, "Cf-Ray", "1", "Cf-Cache-Status", "DYNAMIC", "Cache-Status", "edge; fwd=bypass"), said("", 200, "Cf-Ray", "1", "Cf-Cache-Status", "DYNAMIC", "Cache-Status", "edge; fwd=bypass")}, true, nil},
	} {
		got := Visits(c.answers, c.cloudflare)
		for i, want := range c.want {
			if i >= len(got) || !strings.Contains(got[i], want) {
				t.Errorf("%s: %q: want %q", name, got, c.want)
				break
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %q: want %d lines", name, got, len(c.want))
		}
	}
}
