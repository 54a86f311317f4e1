package httpcache

import (
	"net/http"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/unit"
)

// epoch is a moment that dates can be counted from.
var epoch = time.Date(2030, time.January, 2, 3, 4, 5, 0, time.UTC)

func httpDate(t time.Time) string { return t.Format(http.TimeFormat) }

// facts are those of an answer received at epoch.
func facts(status int, v *cacherules.Verdict, p *Policy, fields ...string) answerFacts {
	h := make(http.Header)
	setFields(h, fields)
	if v == nil {
		v = &unruled
	}
	if p == nil {
		p = new(Policy)
	}
	return answerFacts{status: status, header: h, control: controlOf(h), verdict: v, policy: p, date: dateOf(h, epoch)}
}

func page(edge, stale time.Duration) *cacherules.Verdict {
	return &cacherules.Verdict{Mode: cacherules.Cacheable, Edge: cacherules.For(edge), Stale: unit.Duration(stale)}
}

func TestLifetimes(t *testing.T) {
	override := page(time.Minute, time.Hour)
	override.Override = true
	heuristic := &Policy{Heuristic: true}
	in := func(d time.Duration) string { return httpDate(epoch.Add(d)) }
	for name, c := range map[string]struct {
		facts answerFacts
		want  freshness
	}{
		"nobody says anything":           {facts(200, nil, nil), freshness{}},
		"max-age":                        {facts(200, nil, nil, "Cache-Control: max-age=9"), freshness{source: FromMaxAge, lifetime: 9 * time.Second}},
		"s-maxage outranks max-age":      {facts(200, nil, nil, "Cache-Control: max-age=9, s-maxage=5"), freshness{source: FromSMaxAge, lifetime: 5 * time.Second}},
		"max-age outranks Expires":       {facts(200, nil, nil, "Cache-Control: max-age=9", "Expires: "+in(time.Hour)), freshness{source: FromMaxAge, lifetime: 9 * time.Second}},
		"an invalid max-age is zero":     {facts(200, nil, nil, "Cache-Control: max-age=1.5"), freshness{source: FromMaxAge}},
		"Expires counts from Date":       {facts(200, nil, nil, "Date: "+in(-time.Hour), "Expires: "+in(time.Hour)), freshness{source: FromExpires, lifetime: 2 * time.Hour}},
		"Expires without Date":           {facts(200, nil, nil, "Expires: "+in(time.Hour)), freshness{source: FromExpires, lifetime: time.Hour}},
		"Expires in the past":            {facts(200, nil, nil, "Expires: "+in(-time.Hour)), freshness{source: FromExpires}},
		"Expires: 0":                     {facts(200, nil, nil, "Expires: 0"), freshness{source: FromExpires}},
		"two lines of Expires":           {facts(200, nil, nil, "Expires: "+in(time.Hour), "Expires: "+in(time.Hour)), freshness{source: FromExpires}},
		"CDN-Cache-Control outranks all": {facts(200, nil, nil, "Cache-Control: max-age=9, s-maxage=9", "CDN-Cache-Control: max-age=4"), freshness{source: FromTargeted, lifetime: 4 * time.Second}},
		"a broken one is ignored":        {facts(200, nil, nil, "Cache-Control: max-age=9", `CDN-Cache-Control: max-age="4"`), freshness{source: FromMaxAge, lifetime: 9 * time.Second}},
		"a valid one says everything":    {facts(200, nil, nil, "Cache-Control: max-age=9", "CDN-Cache-Control: foo"), freshness{}},
		"Cloudflare's is not for us":     {facts(200, nil, nil, "Cache-Control: max-age=9", "Cloudflare-CDN-Cache-Control: max-age=4"), freshness{source: FromMaxAge, lifetime: 9 * time.Second}},
		"stale windows": {
			facts(200, nil, nil, "Cache-Control: max-age=9, stale-while-revalidate=5, stale-if-error=7"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second, whileRevalidate: 5 * time.Second, ifError: 7 * time.Second},
		},
		"must-revalidate closes them": {
			facts(200, nil, &Policy{StaleOnError: unit.Duration(time.Hour)}, "Cache-Control: max-age=9, must-revalidate, stale-if-error=7"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second},
		},
		"s-maxage closes them": {
			facts(200, nil, &Policy{StaleOnError: unit.Duration(time.Hour)}, "Cache-Control: s-maxage=9"),
			freshness{source: FromSMaxAge, lifetime: 9 * time.Second},
		},
		"no-cache asks each time": {
			facts(200, nil, nil, "Cache-Control: no-cache, max-age=9"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second, mustAsk: true},
		},
		"the policy's window where nobody says": {
			facts(200, nil, &Policy{StaleOnError: unit.Duration(time.Hour)}, "Cache-Control: max-age=9"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second, ifError: time.Hour},
		},
		"the rule fills in what is unsaid": {
			facts(200, page(time.Minute, time.Hour), nil),
			freshness{source: FromRule, lifetime: time.Minute, whileRevalidate: time.Hour, ifError: time.Hour},
		},
		"the rule's windows stand beside the origin's lifetime": {
			facts(200, page(time.Minute, time.Hour), nil, "Cache-Control: max-age=9"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second, whileRevalidate: time.Hour, ifError: time.Hour},
		},
		"an overriding rule wins": {
			facts(200, override, nil, "Cache-Control: max-age=9, must-revalidate"),
			freshness{source: FromRule, lifetime: time.Minute, whileRevalidate: time.Hour, ifError: time.Hour},
		},
		"but not for errors": {
			facts(404, override, nil, "Cache-Control: max-age=9"),
			freshness{source: FromMaxAge, lifetime: 9 * time.Second, whileRevalidate: time.Hour, ifError: time.Hour},
		},
		"a rule without edge lifetime asks each time": {
			facts(200, page(0, time.Hour), nil),
			freshness{source: FromRule, ifError: time.Hour, mustAsk: true},
		},
		"a tenth of the time since the change": {
			facts(200, nil, heuristic, "Last-Modified: "+in(-100*time.Minute)),
			freshness{source: FromHeuristic, lifetime: 10 * time.Minute},
		},
		"a day at most": {
			facts(200, nil, heuristic, "Last-Modified: "+in(-1000*24*time.Hour)),
			freshness{source: FromHeuristic, lifetime: 24 * time.Hour},
		},
		"not for a status that is not heuristically cacheable": {
			facts(302, nil, heuristic, "Last-Modified: "+in(-100*time.Minute)), freshness{},
		},
		"unless it is public": {
			facts(302, nil, heuristic, "Cache-Control: public", "Last-Modified: "+in(-100*time.Minute)),
			freshness{source: FromHeuristic, lifetime: 10 * time.Minute},
		},
	} {
		got := freshnessOf(c.facts)
		got.unreachable = 0 // see TestStaleWhileUnreachable
		if got != c.want {
			t.Errorf("%s: %+v: want %+v", name, got, c.want)
		}
	}
}

func TestInitialAge(t *testing.T) {
	// RFC 9111, 4.2.3: max(received−Date, Age+(received−requested)).
	date := func(before time.Duration) string { return "Date: " + httpDate(epoch.Add(-before)) }
	for name, c := range map[string]struct {
		fields []string
		took   time.Duration
		want   time.Duration
	}{
		"fresh from the origin":             {[]string{date(0)}, 0, 0},
		"a slow answer may be that old":     {[]string{date(0)}, 4 * time.Second, 4 * time.Second},
		"Age and the time it took":          {[]string{date(0), "Age: 10"}, 4 * time.Second, 14 * time.Second},
		"a Date in the past":                {[]string{date(time.Minute), "Age: 10"}, 0, time.Minute},
		"a Date in the future counts as 0":  {[]string{date(-time.Hour)}, 0, 0},
		"the first member of a list":        {[]string{date(0), "Age: 7, 0"}, 0, 7 * time.Second},
		"the first line":                    {[]string{date(0), "Age: 7", "Age: 0"}, 0, 7 * time.Second},
		"a fraction is ignored":             {[]string{date(0), "Age: 7.5"}, 0, 0},
		"a sign is ignored":                 {[]string{date(0), "Age: -7"}, 0, 0},
		"junk is ignored":                   {[]string{date(0), "Age: 7s"}, 0, 0},
		"an empty first member is ignored":  {[]string{date(0), "Age: , 7"}, 0, 0},
		"more than 2³¹ seconds are 2³¹":     {[]string{date(0), "Age: 99999999999"}, 0, (1 << 31) * time.Second},
		"without Date it is received now":   {nil, 0, 0},
		"a broken Date counts like no Date": {[]string{"Date: yesterday"}, 0, 0},
	} {
		f := facts(200, nil, nil, c.fields...)
		if got := initialAge(f.header, f.date, epoch.Add(-c.took), epoch); got != c.want {
			t.Errorf("%s: %v: want %v", name, got, c.want)
		}
	}
}
