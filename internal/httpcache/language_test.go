package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestTheOneSpellingOfLanguages(t *testing.T) {
	for name, c := range map[string]struct{ sent, want []string }{
		"what browsers send":              {[]string{"en-US,en;q=0.9"}, []string{"en-US,en;q=0.9"}},
		"blanks around commas":            {[]string{" en ,\t  de"}, []string{"en,de"}},
		"blanks before the weight":        {[]string{"en ; q=0.5"}, []string{"en;q=0.5"}},
		"empty members":                   {[]string{",en,, de,"}, []string{"en,de"}},
		"several lines":                   {[]string{"en", "de;q=0.5"}, []string{"en,de;q=0.5"}},
		"letters of a language":           {[]string{"eN, DE"}, []string{"en,de"}},
		"letters of a region":             {[]string{"EN-us"}, []string{"en-US"}},
		"letters of a script":             {[]string{"ZH-HANT-tw"}, []string{"zh-Hant-TW"}},
		"not behind a singleton":          {[]string{"en-CA-X-CA, az-Latn-x-LATN"}, []string{"en-CA-x-ca,az-Latn-x-latn"}},
		"a region of digits":              {[]string{"ES-419"}, []string{"es-419"}},
		"an extended language":            {[]string{"SGN-be-FR"}, []string{"sgn-BE-FR"}},
		"any language":                    {[]string{"*;Q=0.1"}, []string{"*;q=0.1"}},
		"any script":                      {[]string{"De-*-de"}, []string{"de-*-DE"}},
		"the order stays":                 {[]string{"de,en"}, []string{"de,en"}},
		"weights stay as they are":        {[]string{"en;q=0.50"}, []string{"en;q=0.50"}},
		"an underscore is no language":    {[]string{"EN_us, DE"}, []string{"EN_us, DE"}},
		"a weight that is none":           {[]string{"EN;q=high"}, []string{"EN;q=high"}},
		"another parameter":               {[]string{"EN;level=1"}, []string{"EN;level=1"}},
		"a subtag that is too long":       {[]string{"EN-abcdefghi"}, []string{"EN-abcdefghi"}},
		"an empty subtag":                 {[]string{"EN--us"}, []string{"EN--us"}},
		"nothing":                         {[]string{""}, []string{""}},
		"commas and nothing else":         {[]string{" , "}, []string{" , "}},
		"not sent":                        {nil, nil},
		"longer than what is on the side": {[]string{strings.Repeat("EN, ", 100)}, []string{strings.Repeat("en,", 99) + "en"}},
	} {
		h := http.Header{}
		if c.sent != nil {
			h[acceptLanguage] = slices.Clone(c.sent)
		}
		if spellLanguages(h); !slices.Equal(h[acceptLanguage], c.want) {
			t.Errorf("%s: %q: want %q", name, h[acceptLanguage], c.want)
		}
	}
}

func FuzzLanguages(f *testing.F) {
	for _, seed := range []string{"en-US,en;q=0.9", " eN ,  De;Q=1", "zh-hant-TW-x-AA", "EN_us", ",", "a-b-*;q=0..1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := http.Header{acceptLanguage: {text}}
		spellLanguages(h)
		once := h[acceptLanguage][0]
		spellLanguages(h)
		if twice := h[acceptLanguage][0]; twice != once {
			t.Fatalf("%q became %q, and that %q", text, once, twice)
		}
		bare := func(list string) string {
			members := strings.Split(strings.ToLower(strings.NewReplacer(" ", "", "\t", "").Replace(list)), ",")
			return strings.Join(slices.DeleteFunc(members, func(m string) bool { return m == "" }), ",")
		}
		if once != text && bare(once) != bare(text) {
			t.Fatalf("%q became %q, which is another list", text, once)
		}
	})
}

// One visitor's odd spelling must not decide what those who spell as usual get:
// the origin is asked in the usual one.
func TestAnOddSpellingPoisonsNothing(t *testing.T) {
	for name, fields := range map[string][]string{
		"a fill":           {"Accept-Language: EN-us , de"},
		"a part":           {"Accept-Language: EN-us , de", "Range: bytes=0-1"},
		"what is not kept": {"Accept-Language: EN-us , de", "Cache-Control: no-store"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				text := "usual"
				if r.Header.Get("Accept-Language") != "en-US,de" {
					text = "default" // an origin that knows "en-US" only
				}
				return respond(200, text, "Cache-Control: max-age=60", "Vary: Accept-Language")(rw, r)
			}
			w.get(site, fields...)
			if got := w.get(site, "Accept-Language: en-US,de"); got.Body.String() != "usual" {
				t.Errorf("%q: want what the usual spelling gets", got.Body.String())
			}
		})
	}
	w := newWorld(t, "Cache-Control: max-age=60", "Vary: Accept-Language")
	w.get(site, "Accept-Language: en-US,de")
	w.get(site, "Accept-Language: EN-us , de").wants(t, StatusHit, 200, "hello")
	w.get(site, "Accept-Language: de,en-US").wants(t, StatusMiss, 200, "hello") // some origins take the first
}
