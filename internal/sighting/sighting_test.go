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
