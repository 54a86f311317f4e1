package caddymodule

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/rawhit"
)

// A reason is reached by a request, after others that prepare for it. The
// origin does what the query of the target says; see directed.
type reaching struct {
	// before are asked first; "again" stands for the target itself.
	before []string
	// ask is "METHOD target", or a target to GET, with fields of the request.
	ask    string
	fields []string
	body   string
	// during is called while the origin holds the request.
	during func(w *reasonWorld)
	// silent: nothing has to be asked, since explain alone shows the reason.
	silent bool
}

const again = "again"

// reachable has a line for each reason: a new one needs no more than a line
// here, or, if only a race or a fault can bring it about, in the engine's
// TestReasonsOfFaults.
var reachable = map[string]reaching{
	// Past the cache.
	"upgrade":            {ask: "/x", fields: []string{"Connection", "Upgrade", "Upgrade", "other"}},
	"method":             {ask: "OPTIONS /x"},
	"rule":               {ask: "/private/x"},
	"request-body":       {ask: "/x", body: "fat"},
	"method-override":    {ask: "/x", fields: []string{"X-HTTP-Method-Override", "PUT"}},
	"connection":         {ask: "/x", fields: []string{"Connection", "X-Other"}},
	"precondition":       {ask: "/x", fields: []string{"If-Match", `"a"`}},
	"authorized-request": {before: []string{again}, ask: "/x?Cache-Control=max-age=60", fields: []string{"Authorization", "Bearer x"}},
	"request-no-store":   {ask: "/x?Cache-Control=max-age=60", fields: []string{"Cache-Control", "no-store"}},
	"range":              {ask: "/x?Cache-Control=max-age=60", fields: []string{"Range", "bytes=0-1"}},
	"head":               {ask: "HEAD /x?Cache-Control=max-age=60"},
	"known-uncacheable":  {before: []string{again}, ask: "/x?Cache-Control=no-store"},
	"contended": {
		before: []string{again}, ask: "/x?Age=100&Cache-Control=max-age=60,stale-if-error=600&hold=2&fail=2",
		during: (*reasonWorld).purgeAll,
	},

	// Not stored.
	"partial":             {ask: "/x?status=206&Cache-Control=max-age=60"},
	"status":              {ask: "/x?status=599&Cache-Control=max-age=60,must-understand"},
	"request-error":       {ask: "/x?status=429&Cache-Control=max-age=60"},
	"no-store":            {ask: "/x?Cache-Control=no-store"},
	"private":             {ask: "/x?Cache-Control=private"},
	"authorization":       {ask: "/x?Cache-Control=max-age=60", fields: []string{"Authorization", "Bearer x"}},
	"set-cookie":          {ask: "/x?Cache-Control=max-age=60&Set-Cookie=a=b"},
	"mismatched-type":     {ask: "/x.css?Cache-Control=max-age=60&Content-Type=text/html"},
	"vary":                {ask: "/x?Cache-Control=max-age=60&Vary=*"},
	"no-freshness":        {ask: "/x"},
	"expired":             {ask: "/x?Cache-Control=max-age=0"},
	"event-stream":        {ask: "/x?Cache-Control=max-age=60&Content-Type=text/event-stream"},
	"too-large":           {ask: "/x?Cache-Control=max-age=60&size=70000"},
	"fenced":              {ask: "/x?Cache-Control=max-age=60&hold=1", during: (*reasonWorld).purgeAll},
	"invalidated":         {ask: "/x?Cache-Control=max-age=60&hold=1", during: (*reasonWorld).postToIt},
	"outdated":            {ask: "/x?Cache-Control=public,max-age=60&hold=1", fields: []string{"Authorization", "Bearer x"}, during: (*reasonWorld).overtakeIt},
	"origin-failed":       {ask: "/x?die=1"},
	"cut-off":             {ask: "/x?Cache-Control=max-age=60&cut=1"},
	"client-left":         {ask: "/x?hold=1", during: (*reasonWorld).leave},
	"fingerprinted-error": {ask: "/assets/x.js?status=404"},
	"fingerprinted-html":  {ask: "/assets/x?Content-Type=text/html"},
	"status-unsaid":       {ask: "/pages/x?status=404"},
	"too-many-tags":       {ask: "/x?Cache-Control=max-age=60&Cache-Tag=" + strings.Repeat("a,", 1001) + "&numbered=Cache-Tag"},

	// Stored, and why it was or was not given.
	"stale-while-revalidate": {before: []string{again}, ask: "/x?Age=100&Cache-Control=max-age=60,stale-while-revalidate=600"},
	"stale-if-error":         {before: []string{again}, ask: "/x?Age=100&Cache-Control=max-age=60,stale-if-error=600&fail=2"},
	"stale-unreachable":      {before: []string{again}, ask: `/x?Age=100&Cache-Control=max-age=60&ETag="a"&die=2`},
	"soft-purged":            {before: []string{again, "soft purge"}, ask: "/x?Cache-Control=max-age=60&die=2", silent: true},
	"stale":                  {before: []string{again}, ask: `/x?Age=100&Cache-Control=max-age=60&ETag="a"`, silent: true},
	"no-cache":               {before: []string{again}, ask: `/x?Cache-Control=no-cache&ETag="a"`, silent: true},
	"only-if-cached":         {ask: "/x", fields: []string{"Cache-Control", "only-if-cached"}},
}

// Every reason can be reached, and is seen where docs/cache-status.md says.
func TestEveryReasonIsReached(t *testing.T) {
	seen := whereReasonsShow(t)
	elsewhere := reachedElsewhere(t)
	for code := range seen {
		if _, here := reachable[code]; !here && !elsewhere[code] {
			t.Errorf("%s: no test reaches it: give it a line in reachable, or, if it takes a race or a fault, in the engine's TestReasonsOfFaults", code)
		}
	}
	w := newReasonWorld(t)
	for code, c := range reachable {
		t.Run(code, func(t *testing.T) {
			shows := seen[code]
			if shows == "" {
				t.Fatalf("docs/cache-status.md does not know %s", code)
			}
			w.reach(t, code, c, shows)
		})
	}
}

// A version that is not the current one: both replicas run v1, then one v2.
func TestRolloutIsReached(t *testing.T) {
	first, second := newDirected(), newDirected()
	e := startEdge(t, staticPool(startOrigin(t, first.answer), startOrigin(t, second.answer)), reasonSite)
	w := &reasonWorld{t: t, e: e, origin: first}
	eventually(t, "both replicas run v1", func() bool {
		return e.get("/agreed?Cache-Control=max-age=60").stored() || e.get("/agreed?Cache-Control=max-age=60").hit()
	})
	second.version.Store("v2")
	var shown response
	eventually(t, "v2 answers", func() bool {
		e.get("/x?Cache-Control=max-age=60&n=" + rawhit.NewID())
		shown = e.get("/y?Cache-Control=max-age=60&n="+rawhit.NewID(), "X-Request-Id", "reach-rollout")
		return strings.Contains(shown.cacheStatus(), "rollout")
	})
	w.shows(t, "rollout", "S L X", shown, "reach-rollout", http.MethodGet, shown.Request.URL.RequestURI(), nil)
}

// Most of the memory is held by a fetch under way. The two do not fit together,
// and either fits alone, whether the cache has given up a quarter of its megabyte
// by then or not.
func TestNoRoomIsReached(t *testing.T) {
	origin := newDirected()
	address := startOrigin(t, origin.answer)
	e := startEdge(t, "cache {\n\tmemory 1MiB\n}\n"+staticPool(address), reasonSite)
	w := &reasonWorld{t: t, e: e, origin: origin}
	done := make(chan error, 1)
	go func() {
		_, err := e.try(http.MethodGet, "/large?Cache-Control=max-age=60&size=700000&pause=1", nil)
		done <- err
	}()
	<-origin.arrived
	const target = "/x?Cache-Control=max-age=60&size=600000"
	eventually(t, "no room for the other", func() bool {
		return strings.Contains(e.get(target+"&n="+rawhit.NewID()).cacheStatus(), "no-room")
	})
	w.shows(t, "no-room", "S L X", e.get(target, "X-Request-Id", "reach-no-room"), "reach-no-room", http.MethodGet, target, nil)
	origin.release <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Memory does not take it, and the disk is getting it.
func TestToDiskIsReached(t *testing.T) {
	origin := newDirected()
	e := startEdge(t, "cache {\n\tmax_object 64KiB\n\tdisk 64MiB\n}\n"+staticPool(startOrigin(t, origin.answer)), reasonSite)
	w := &reasonWorld{t: t, e: e, origin: origin}
	const target = "/x?Cache-Control=max-age=60&size=700000"
	w.shows(t, "to-disk", "S L", e.get(target, "X-Request-Id", "reach-to-disk"), "reach-to-disk", http.MethodGet, target, nil)
	eventually(t, "it is stored", func() bool { return strings.Contains(e.get(target).cacheStatus(), "hit") })
	part := e.get(target, "Range", "bytes=600000-600009")
	if part.StatusCode != http.StatusPartialContent || len(part.Text) != 10 {
		t.Errorf("%d, %d bytes: want ten of them", part.StatusCode, len(part.Text))
	}
}

// Memory has evicted it, and the disk has it.
func TestDiskIsReached(t *testing.T) {
	origin := newDirected()
	e := startEdge(t, "cache {\n\tmemory 1MiB\n\tdisk 64MiB\n}\n"+staticPool(startOrigin(t, origin.answer)), reasonSite)
	w := &reasonWorld{t: t, e: e, origin: origin}
	const page = "/x?Cache-Control=max-age=60&size=20000&n="
	evicted, pages := "", []string(nil)
	eventually(t, "a page is on disk only", func() bool {
		for range 20 {
			pages = append(pages, page+rawhit.NewID())
			e.get(pages[len(pages)-1])
		}
		for _, one := range pages {
			var x struct{ Cache struct{ Reason string } }
			e.control(http.MethodGet, "explain?"+url.Values{"url": {e.URL + one}}.Encode(), nil, &x)
			if x.Cache.Reason == "disk" {
				evicted = one
			}
		}
		return evicted != ""
	})
	w.shows(t, "disk", "X", response{}, "", http.MethodGet, evicted, nil)
	w.shows(t, "disk", "S L", e.get(evicted, "X-Request-Id", "reach-disk"), "reach-disk", http.MethodGet, evicted, nil)
}
