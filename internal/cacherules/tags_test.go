package cacherules

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestTags(t *testing.T) {
	tagged := Rule{Kind: "page", Tags: []string{"pages", "Shop 1,2"}}
	for name, c := range map[string]struct {
		rule    Rule
		version string
		origin  []string
		want    string
	}{
		"version first, then the rule's, then the origin's": {tagged, "1a2B", []string{"Cache-Tag: x, y", "Cache-Tag: z"}, "v-1a2b,pages,Shop%201%2C2,x,y,z"},
		"each once, whatever the case":                      {tagged, "1", []string{"Cache-Tag: PAGES,V-1,x,X"}, "v-1,pages,Shop%201%2C2,x"},
		"Surrogate-Key reaches Cloudflare too":              {Rule{Kind: "page"}, "", []string{"Surrogate-Key: a b", "Cache-Tag: c"}, "c,a,b"},
		"no version":                                        {tagged, "", nil, "pages,Shop%201%2C2"},
		"nothing to say":                                    {Rule{Kind: "page"}, "", nil, ""},
		"fingerprinted assets outlive their version":        {Rule{Kind: "fingerprinted", Tags: []string{"asset"}}, "1", nil, "asset"},
		"no rule: the version all the same":                 {Rule{}, "1", []string{"Cache-Control: max-age=9"}, "v-1"},
		"lifetimes of the origin's":                         {tagged, "1", []string{"Cache-Control: max-age=9"}, "v-1,pages,Shop%201%2C2"},
		"what CDNs may store gets tags":                     {tagged, "1", []string{"Cache-Control: private", "CDN-Cache-Control: max-age=9"}, "v-1,pages,Shop%201%2C2"},
		"what is forbidden gets none":                       {tagged, "1", []string{"Cache-Control: no-store"}, ""},
		"what sets cookies gets none":                       {tagged, "1", []string{"Set-Cookie: a=1"}, ""},
		"what is private gets none":                         {Rule{Kind: "private"}, "1", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			v := &Unruled
			if c.rule.Kind != "" {
				c.rule.Paths = []string{"/*"}
				v = mustCompile(t, c.rule).Rules()[0]
			}
			h := fields(c.origin...)
			v.Respond(Response{Status: 200, Header: h, Version: c.version})
			if got := strings.Join(h[tagField], "\n"); got != c.want {
				t.Errorf("got %q: want %q", got, c.want)
			}
		})
	}
}

func TestResponseTags(t *testing.T) {
	h := fields("Cache-Tag: A, b c,,é", "Cache-Tag: a", "Surrogate-Key: B  d", "Surrogate-Key: a")
	want := []string{"a", "b%20c", "%c3%a9", "b", "d"}
	if got := ResponseTags(h); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q: want %q", got, want)
	}
	if got := ResponseTags(http.Header{}); got != nil {
		t.Errorf("no tags: got %q", got)
	}
}

func TestVersionTag(t *testing.T) {
	for version, want := range map[string]string{
		"": "", "abc": "v-abc", "ABC": "v-abc", "1.0, beta": "v-1.0%2c%20beta", strings.Repeat("x", 2000): "v-" + strings.Repeat("x", 1022),
	} {
		if got := VersionTag(version); got != want {
			t.Errorf("%q: got %q: want %q", version, got, want)
		}
	}
}

// An answer that no purge could remove by one of its tags is stored nowhere.
func TestTooManyTags(t *testing.T) {
	v := mustCompile(t, Rule{Kind: "page", Paths: []string{"/*"}}).Rules()[0]
	many := func(n, length int) string {
		tags := make([]string, n)
		for i := range tags {
			tags[i] = fmt.Sprintf("%0*d", length, i)
		}
		return "Cache-Tag: " + strings.Join(tags, ",")
	}
	for name, c := range map[string]struct {
		tags string
		fits bool
	}{
		"999 and the version make 1000":                   {many(999, 3), true},
		"1000 leave no place for the version":             {many(1000, 3), false},
		"15 times 1023 and commas leave 1024 of 16384":    {many(15, 1023), true},
		"one of them longer by 1 does not fit":            {many(15, 1023) + "x", false},
		"one more of any length leaves too little for it": {many(15, 1023) + ",x", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := fields(c.tags)
			veto := v.Veto(200, h)
			v.Respond(Response{Status: 200, Header: h, Version: strings.Repeat("v", 1022)})
			stored := h.Get(cloudflareField) != "no-store"
			if stored != c.fits || (veto == "") != c.fits {
				t.Errorf("stored by CDNs: %t, veto %q: want them to fit: %t", stored, veto, c.fits)
			}
			if c.fits && (len(h.Get(tagField)) > 16384 || !strings.HasPrefix(h.Get(tagField), "v-vvv")) {
				t.Errorf("%d bytes of tags begin with %.9q", len(h.Get(tagField)), h.Get(tagField))
			}
			if !c.fits && veto != VetoTags {
				t.Errorf("veto %q: want %q", veto, VetoTags)
			}
			if len(ResponseTags(h)) > 1000 {
				t.Errorf("%d tags", len(ResponseTags(h)))
			}
		})
	}
}

func FuzzTags(f *testing.F) {
	f.Add("a, b", "c d", "1.0")
	f.Add("é\x00,,", "%2c", " ")
	f.Fuzz(func(t *testing.T, tags, keys, version string) {
		h := http.Header{tagField: {tags}, surrogateKeys: {keys}}
		before := ResponseTags(h)
		(&Verdict{}).tag(Response{Header: h, Version: version})
		if len(h.Get(tagField)) > 16<<10 {
			t.Fatalf("%d bytes", len(h.Get(tagField)))
		}
		if strings.ContainsFunc(h.Get(tagField), func(c rune) bool { return c <= ' ' || c > '~' }) && len(before) > 0 {
			t.Fatalf("%q", h.Get(tagField))
		}
		delete(h, surrogateKeys)
		after := map[string]bool{}
		for _, tag := range ResponseTags(h) {
			if tag != CanonicalTag(tag) {
				t.Fatalf("%q is not canonical", tag)
			}
			after[tag] = true
		}
		for _, tag := range before {
			if !after[tag] && !(&Verdict{}).tooManyTags(http.Header{tagField: {tags}, surrogateKeys: {keys}}) {
				t.Fatalf("%q is gone", tag)
			}
		}
		if mark := VersionTag(version); mark != "" && !after[mark] {
			t.Fatalf("the version's tag %q is not among %v", mark, after)
		}
	})
}
