package caddymodule

import "testing"

// RFC 9213: a CDN obeys CDN-Cache-Control in place of Cache-Control and Expires,
// if it is a structured field that holds together, and not at all otherwise.
func TestTargetedCacheControl(t *testing.T) {
	const (
		fresh, never = "Cache-Control: max-age=3600\n", "Cache-Control: no-store\n"
		then         = "Cache-Control: no-store\n"
	)
	only := func(targeted string) string { return "CDN-Cache-Control: " + targeted + "\n" }
	playTwice(t, map[string]twice{
		"it alone gives a lifetime": {only("max-age=60"), then, "first"},
		"it lifts no-store":         {never + only("max-age=60"), then, "first"},
		"it lifts private":          {"Cache-Control: private\n" + only("max-age=60"), then, "first"},
		"it outranks s-maxage":      {"Cache-Control: s-maxage=3600\n" + only("max-age=0"), then, "second"},
		"it outranks Expires":       {"Expires: " + fromNow(3600e9) + "\n" + only("max-age=0"), then, "second"},
		"no-store":                  {fresh + only("no-store"), then, "second"},
		"private":                   {fresh + only("private"), then, "second"},
		"no-cache":                  {fresh + only("no-cache"), then, "second"},
		"Age counts against it":     {only("max-age=60") + "Age: 60\n", then, "second"},
		"without a lifetime, Cache-Control gives none":  {fresh + only("must-revalidate"), then, "second"},
		"unknown directives are ignored (2.1)":          {never + only("max-age=60, frob=?0, x=(1 2);y, z=:YQ==:"), then, "first"},
		"parameters are ignored":                        {never + only("max-age=60;why=because"), then, "first"},
		"on two lines":                                  {never + only("foo") + only("max-age=60"), then, "first"},
		"the last of two counts (RFC 9651, 3.2)":        {never + only("max-age=0, max-age=60"), then, "first"},
		"blanks around commas":                          {never + only("a  ,\t max-age=60"), then, "first"},
		"a directive that is false is not there":        {fresh + only("no-store=?0, max-age=60"), then, "first"},
		"its name in any case":                          {never + "cdn-cache-control: max-age=60\n", then, "first"},
		"empty: Cache-Control holds":                    {fresh + only(""), then, "first"},
		"a string for a number: Cache-Control holds":    {never + only(`max-age="60"`), then, "second"},
		"a decimal for a number":                        {never + only("max-age=60.0"), then, "second"},
		"a token for a number":                          {never + only("max-age=a60"), then, "second"},
		"below zero":                                    {never + only("max-age=-60"), then, "second"},
		"no value at all":                               {never + only("max-age"), then, "second"},
		"sixteen digits (RFC 9651, 3.3.1)":              {never + only("max-age=1000000000000000"), then, "second"},
		"fifteen digits":                                {never + only("max-age=100000000000000"), then, "first"},
		"garbage behind it":                             {never + only("max-age=60, &&&&"), then, "second"},
		"a comma at the end (RFC 9651, 4.2.2)":          {never + only("max-age=60,"), then, "second"},
		"a comma at the beginning":                      {never + only(", max-age=60"), then, "second"},
		"a blank before the equals sign":                {never + only("max-age =60"), then, "second"},
		"a blank behind the equals sign":                {never + only("max-age= 60"), then, "second"},
		"capitals in a name (RFC 9651, 3.1.2)":          {never + only("Max-Age=60"), then, "second"},
		"a string that does not end":                    {never + only(`max-age=60, a="b`), then, "second"},
		"garbage does not forbid what the others allow": {fresh + only("no-store, &&&&"), then, "first"},
		"Cloudflare's own is for Cloudflare":            {never + "Cloudflare-CDN-Cache-Control: max-age=60\n", then, "second"},
	}, nil)
}

// The next CDN out reads the field too, so it goes on as it came.
func TestTheTargetedFieldGoesOn(t *testing.T) {
	playTwice(t, map[string]twice{
		"a valid one":    {"CDN-Cache-Control: max-age=60\n", "", "first"},
		"an invalid one": {"Cache-Control: max-age=60\nCDN-Cache-Control: &&&&\n", "", "first"},
	}, func(t *testing.T, name string, second response) {
		want := map[string]string{"a valid one": "max-age=60", "an invalid one": "&&&&"}[name]
		if got := second.Header.Get("CDN-Cache-Control"); got != want {
			t.Errorf("CDN-Cache-Control %q: want %q", got, want)
		}
	})
}
