package httpcache

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// withHeader is an entry of which only that matters.
func withHeader(status int, fields ...string) *entry {
	h := make(http.Header)
	setFields(h, fields)
	e := &entry{common: &common{commonFacts: commonFacts{status: status}}}
	e.describe(h)
	e.pack(nil, "", linesOf(appendFields(nil, h, nil, firstTag(h))), "", place{})
	return e
}

func TestNotModified(t *testing.T) {
	modified := epoch.Add(-time.Hour)
	date := "Date: " + httpDate(epoch)
	plain := withHeader(200, `Etag: "a"`, "Last-Modified: "+httpDate(modified), date)
	unmarked := withHeader(200, date)
	since := func(at time.Time) string { return "If-Modified-Since: " + httpDate(at) }
	for name, c := range map[string]struct {
		e      *entry
		fields []string
		want   bool
	}{
		"no condition":                      {plain, nil, false},
		"the same tag":                      {plain, []string{`If-None-Match: "a"`}, true},
		"another tag":                       {plain, []string{`If-None-Match: "b"`}, false},
		"tags compare weakly":               {plain, []string{`If-None-Match: W/"a"`}, true},
		"the last of several":               {plain, []string{`If-None-Match: "x, y", W/"z" ,"a"`}, true},
		"on the second line":                {plain, []string{`If-None-Match: "x"`, `If-None-Match: "a"`}, true},
		"a star":                            {unmarked, []string{"If-None-Match: *"}, true},
		"a tag inside another":              {plain, []string{`If-None-Match: "b\"a"`}, false},
		"an answer without a tag":           {unmarked, []string{`If-None-Match: "a"`}, false},
		"not modified since":                {plain, []string{since(modified)}, true},
		"modified since":                    {plain, []string{since(modified.Add(-time.Second))}, false},
		"the tag outranks the date":         {plain, []string{`If-None-Match: "b"`, since(epoch)}, false},
		"a broken date is no condition":     {plain, []string{"If-Modified-Since: now"}, false},
		"without Last-Modified Date counts": {unmarked, []string{since(epoch)}, true},
		"and may be later":                  {unmarked, []string{since(epoch.Add(-time.Second))}, false},
		"conditions are about successes":    {withHeader(404, `Etag: "a"`), []string{`If-None-Match: "a"`}, false},
	} {
		h := make(http.Header)
		setFields(h, c.fields)
		if got := notModified(h, c.e); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}

func TestUpdate304(t *testing.T) {
	stored := http.Header{
		"Etag": {`"a"`}, "Content-Type": {"text/html"}, "Content-Encoding": {"br"}, "Age": {"9"},
		"Content-Length": {"5"}, "X-Test": {"old"}, "Date": {"then"}, "Set-Cookie": {"a=b"},
	}
	news := http.Header{
		"Content-Type": {"x/y"}, "Content-Encoding": {"gzip"}, "Content-Length": {"0"}, "X-Test": {"new", "newer"},
		"Cache-Control": {"max-age=9"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "Set-Cookie": {"c=d"},
	}
	got := update304(stored, news)
	for name, want := range map[string][]string{
		"Content-Type":     {"text/html"}, // RFC 9111, 3.2: describes the stored body
		"Content-Encoding": {"br"},
		"Content-Length":   {"5"},
		"X-Test":           {"new", "newer"},
		"Cache-Control":    {"max-age=9"},
		"Etag":             {`"a"`},
		"Age":              nil,
		"Date":             nil, // the caller writes when it was confirmed
		"X-Hop":            nil,
		"Set-Cookie":       nil,
	} {
		if !slices.Equal(got[name], want) {
			t.Errorf("%s %q: want %q", name, got[name], want)
		}
	}
	if stored["X-Test"][0] != "old" {
		t.Error("the stored header was changed")
	}
}

func TestConfirms(t *testing.T) {
	for name, c := range map[string]struct {
		stored, answer string
		want           bool
	}{
		"no tag":                   {`"a"`, "", true},
		"the same tag":             {`"a"`, `"a"`, true},
		"another strong tag":       {`"a"`, `"b"`, false},
		"a weak one for a strong":  {`"a"`, `W/"a"`, true},
		"weak ones that differ":    {`W/"a"`, `W/"b"`, false},
		"a tag where none was":     {"", `"a"`, false},
		"a strong one for no less": {`W/"a"`, `"a"`, true},
	} {
		h := make(http.Header)
		if c.answer != "" {
			h.Set("Etag", c.answer)
		}
		if got := confirms(h, withHeader(200, "Etag: "+c.stored)); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}

func TestAskWhole(t *testing.T) {
	h := http.Header{}
	setFields(h, []string{`If-None-Match: "client"`, "If-Modified-Since: x", "Range: bytes=0-1", `If-Range: "x"`, "Accept: a"})
	stale := withHeader(200, `Etag: "a"`, "Last-Modified: "+httpDate(epoch))
	askWhole(h, stale)
	want := http.Header{"If-None-Match": {`"a"`}, "If-Modified-Since": {httpDate(epoch)}, "Accept": {"a"}}
	if len(h) != len(want) {
		t.Fatalf("%v: want %v", h, want)
	}
	for name := range want {
		if h.Get(name) != want.Get(name) {
			t.Errorf("%s %q: want %q", name, h.Get(name), want.Get(name))
		}
	}
}
