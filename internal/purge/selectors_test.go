package purge

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestNormalize(t *testing.T) {
	deep := "h/" + strings.Repeat("a/", 30) // 31 slashes
	cases := map[string]struct{ in, want Selectors }{
		"order and duplicates":               {Selectors{Tags: []string{"b", "a", "b"}}, Selectors{Tags: []string{"a", "b"}}},
		"tags know no case":                  {Selectors{Tags: []string{"Tag1", "tag1"}}, Selectors{Tags: []string{"tag1"}}},
		"the longest tag":                    {Selectors{Tags: []string{strings.Repeat("t", 1024)}}, Selectors{Tags: []string{strings.Repeat("t", 1024)}}},
		"hosts know no case, and no end dot": {Selectors{Hosts: []string{"WWW.Example.com."}}, Selectors{Hosts: []string{"www.example.com"}}},
		"an international host":              {Selectors{Hosts: []string{"bücher.example"}}, Selectors{Hosts: []string{"xn--bcher-kva.example"}}},
		"a URL's host, port and empty path":  {Selectors{URLs: []string{"HTTPS://Example.COM:443"}}, Selectors{URLs: []string{"https://example.com/"}}},
		"a URL without path, with query":     {Selectors{URLs: []string{"http://h:80?a=1"}}, Selectors{URLs: []string{"http://h/?a=1"}}},
		"another port stays":                 {Selectors{URLs: []string{"http://h:443/", "https://h:8443/"}}, Selectors{URLs: []string{"http://h:443/", "https://h:8443/"}}},
		"the path's case and escapes stay":   {Selectors{URLs: []string{"https://h/A%2fb//../c?X=%20&y"}}, Selectors{URLs: []string{"https://h/A%2fb//../c?X=%20&y"}}},
		"a path in UTF-8 is escaped":         {Selectors{URLs: []string{"https://h/ä?ö"}}, Selectors{URLs: []string{"https://h/%C3%A4?%C3%B6"}}},
		"an IPv6 address":                    {Selectors{URLs: []string{"http://[::0001]:8080/a"}}, Selectors{URLs: []string{"http://[::1]:8080/a"}}},
		"a bare host as prefix":              {Selectors{Prefixes: []string{"Example.com"}}, Selectors{Prefixes: []string{"example.com/"}}},
		"the deepest prefix":                 {Selectors{Prefixes: []string{deep}}, Selectors{Prefixes: []string{deep}}},
		"versions keep their case":           {Selectors{Versions: []string{"V2", " v2 "}}, Selectors{Versions: []string{"V2", "v2"}}},
		"everything":                         {Selectors{Everything: true}, Selectors{Everything: true}},
		"empty lists beside a selector":      {Selectors{Tags: []string{"a"}, Hosts: []string{}}, Selectors{Tags: []string{"a"}}},
		"ten thousand":                       {Selectors{Tags: numbered("t%05d", MaxItems)}, Selectors{Tags: numbered("t%05d", MaxItems)}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := c.in.Normalize()
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v: want %+v", got, err, c.want)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	cases := map[string]struct {
		in   Selectors
		want []string
	}{
		"ten thousand and one":            {Selectors{Tags: numbered("t%05d", MaxItems+1)}, []string{"10001", "at most 10000"}},
		"everything and a tag":            {Selectors{Everything: true, Tags: []string{"a"}}, []string{"everything alone"}},
		"a tag too long":                  {Selectors{Tags: []string{strings.Repeat("t", 1025)}}, []string{"tags", "1024"}},
		"tags with space, comma, umlaut":  {Selectors{Tags: []string{"a b", "a,b", "ä", ""}}, []string{`"a b"`, `"a,b"`, `"ä"`, `tags ""`}},
		"a URL without scheme":            {Selectors{URLs: []string{"example.com/a"}}, []string{"absolute URL"}},
		"a URL of another scheme":         {Selectors{URLs: []string{"ftp://example.com/a"}}, []string{"absolute URL"}},
		"a URL with fragment":             {Selectors{URLs: []string{"https://h/a#b"}}, []string{"without fragment"}},
		"a URL with password":             {Selectors{URLs: []string{"https://u:p@h/"}}, []string{"without user"}},
		"a URL with wildcard":             {Selectors{URLs: []string{"https://h/a/*"}}, []string{"use a prefix"}},
		"a URL with a blank":              {Selectors{URLs: []string{"https://h/a b"}}, []string{"percent-encoded"}},
		"a URL with a bad port":           {Selectors{URLs: []string{"https://h:x/"}}, []string{"absolute URL"}},
		"a URL that is too long":          {Selectors{URLs: []string{"https://h/" + strings.Repeat("a", 8192)}}, []string{"8192 bytes"}},
		"a URL without host":              {Selectors{URLs: []string{"https:///a", "https:a"}}, []string{`"https:///a"`, `"https:a"`}},
		"hosts that are none":             {Selectors{Hosts: []string{"https://h", "h:80", "h/a", "*.h", "a..b", ""}}, []string{`"https://h"`, `"h:80"`, `"h/a"`, `"*.h"`, `"a..b"`, `hosts ""`}},
		"a label too long":                {Selectors{Hosts: []string{strings.Repeat("a", 64) + ".com"}}, []string{"a host name"}},
		"prefixes that are none":          {Selectors{Prefixes: []string{"https://h/a", "h/a?b", "h/a#b", "/a", "h:80/a", "h/a*"}}, []string{`"https://h/a"`, `"h/a?b"`, `"h/a#b"`, `"/a"`, `"h:80/a"`, "without *"}},
		"a prefix too deep":               {Selectors{Prefixes: []string{"h/" + strings.Repeat("a/", 31)}}, []string{"at most 31"}},
		"a version too long for a tag":    {Selectors{Versions: []string{strings.Repeat("1", 1023), " "}}, []string{"1024 bytes", `versions " "`}},
		"mistakes of every kind":          {Selectors{URLs: []string{"x"}, Tags: []string{""}, Hosts: []string{""}, Prefixes: []string{""}, Versions: []string{""}}, []string{"urls", "tags", "hosts", "prefixes", "versions"}},
		"more mistakes than anyone reads": {Selectors{Tags: make([]string, 25)}, []string{"and 5 more mistakes"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := c.in.Normalize()
			if err == nil || !reflect.DeepEqual(got, Selectors{}) {
				t.Fatalf("%+v, %v: want an error and nothing else", got, err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q lacks %q", err, part)
				}
			}
			if mistake := new(Mistake); !errors.As(err, &mistake) {
				t.Error("holds no *Mistake")
			}
		})
	}
}

func TestNoSelectorIsNeverEverything(t *testing.T) {
	for _, s := range []Selectors{{}, {Tags: []string{}}} {
		if _, err := s.Normalize(); !errors.Is(err, ErrNoSelector) {
			t.Errorf("%+v: %v, want ErrNoSelector", s, err)
		}
	}
}

// Whatever is accepted is in normal form, and is what Cloudflare would take.
func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"https://example.com/a?b=c", "http://[::1]:80", "bücher.example", "example.com/p/q", "v1.2.3", "HTTPS://ÄÖ.example:443/%zz?", "a..b", "*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []Selectors{
			{URLs: []string{text}}, {Tags: []string{text}}, {Prefixes: []string{text}}, {Hosts: []string{text}}, {Versions: []string{text}},
		} {
			once, err := s.Normalize()
			if err != nil {
				continue
			}
			twice, err := once.Normalize()
			if err != nil || !reflect.DeepEqual(once, twice) {
				t.Fatalf("%+v becomes %+v, then %+v, %v", s, once, twice, err)
			}
			for _, b := range batches(once, []zone{{id: zoneOne}}, 100) {
				if strings.ContainsFunc(b.items[0], func(r rune) bool { return r <= ' ' || r > '~' }) {
					t.Fatalf("sends %q", b.items[0])
				}
			}
		}
	})
}
