package httpcache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lines of Cache-Groups, by what RFC 9651 makes of them as a List of Strings.
var groupLists = map[string]struct {
	lines []string
	want  []string
	ok    bool
}{
	"one":                           {[]string{`"a"`}, []string{"a"}, true},
	"several":                       {[]string{`"a", "b" ,	"c d"`}, []string{"a", "b", "c d"}, true},
	"over several lines":            {[]string{`"a"`, `"b"`}, []string{"a", "b"}, true},
	"none":                          {nil, nil, true},
	"an empty field":                {[]string{""}, nil, true},
	"an empty string":               {[]string{`""`}, []string{""}, true},
	"a blank before a parameter":    {[]string{`"a";x=1;y, "b" ; z="\""`}, nil, false},
	"parameters are ignored":        {[]string{`"a";x=1; y, "b";z="\""`}, []string{"a", "b"}, true},
	"escapes":                       {[]string{`"a\"b\\c"`}, []string{`a"b\c`}, true},
	"commas within":                 {[]string{`"a,b"`}, []string{"a,b"}, true},
	"a token":                       {[]string{`a`}, nil, false},
	"a token among strings":         {[]string{`"a", b`}, nil, false},
	"a number":                      {[]string{`1`}, nil, false},
	"an inner list":                 {[]string{`("a" "b")`}, nil, false},
	"a trailing comma":              {[]string{`"a",`}, nil, false},
	"two commas":                    {[]string{`"a",,"b"`}, nil, false},
	"no comma":                      {[]string{`"a" "b"`}, nil, false},
	"no end":                        {[]string{`"a`}, nil, false},
	"an escape that does not exist": {[]string{`"a\b"`}, nil, false},
	"beyond ASCII":                  {[]string{`"ä"`}, nil, false},
	"a broken second line":          {[]string{`"a"`, `b`}, nil, false},
}

func TestListsOfStrings(t *testing.T) {
	for name, c := range groupLists {
		got, ok := parseStrings(c.lines)
		if ok != c.ok || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q %v: want %q %v", name, got, ok, c.want, c.ok)
		}
	}
}

// FuzzCacheGroups: what is read as a list of strings is written back to a field
// that says the same, and its groups are found again by an invalidation.
func FuzzCacheGroups(f *testing.F) {
	for _, c := range groupLists {
		f.Add(strings.Join(c.lines, ","))
	}
	f.Fuzz(func(t *testing.T, field string) {
		found, ok := parseStrings([]string{field})
		if !ok {
			if len(found) > 0 {
				t.Fatalf("%q: refused, and %q", field, found)
			}
			return
		}
		quoted := make([]string, len(found))
		for i, one := range found {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(one) + `"`
		}
		again, ok := parseStrings(quoted)
		if !ok || !slices.Equal(again, found) {
			t.Fatalf("%q: %q %v, once written as %q: want %q", field, again, ok, quoted, found)
		}
		g := newGroups(100, new(atomic.Int64))
		m := membershipOf("https://example.com", http.Header{groupsField: {field}}, 0)
		for i, one := range found {
			g.invalidate("https://example.com", []string{one})
			if !g.gaveUp(m) {
				t.Fatalf("%q: group %d, %q, is not found", field, i, one)
			}
			m.began = g.sequence.Load()
		}
	})
}

func TestGroupInvalidation(t *testing.T) {
	thirtyTwo := make([]string, 32)
	for i := range thirtyTwo {
		thirtyTwo[i] = fmt.Sprintf(`"%032d"`, i)
	}
	many := strings.Join(thirtyTwo, ", ")
	last := fmt.Sprintf(`"%032d"`, 31)
	for name, c := range map[string]struct {
		groups      string // of the stored answer
		method, url string
		status      int
		invalidates string
		hit         bool
	}{
		"the same group":                   {`"a"`, "POST", "http://example.com/x", 200, `"a"`, false},
		"one of the answer's groups":       {`"b", "a"`, "POST", "http://example.com/x", 200, `"a"`, false},
		"one of the groups named":          {`"a"`, "PUT", "http://example.com/x", 204, `"b", "a"`, false},
		"a redirect after POST":            {`"a"`, "POST", "http://example.com/x", 303, `"a"`, false},
		"a method that nobody knows":       {`"a"`, "FROB", "http://example.com/x", 200, `"a"`, false},
		"the default port, written out":    {`"a"`, "POST", "http://example.com:80/x", 200, `"a"`, false},
		"the host in capitals":             {`"a"`, "POST", "http://EXAMPLE.com/x", 200, `"a"`, false},
		"32 groups of 32 characters":       {many, "POST", "http://example.com/x", 200, last, false},
		"32 groups invalidated":            {last, "POST", "http://example.com/x", 200, many, false},
		"parameters":                       {`"a";p`, "POST", "http://example.com/x", 200, `"a";q=1`, false},
		"another group":                    {`"a"`, "POST", "http://example.com/x", 200, `"b"`, true},
		"the name in capitals":             {`"a"`, "POST", "http://example.com/x", 200, `"A"`, true},
		"an answer without groups":         {``, "POST", "http://example.com/x", 200, `"a"`, true},
		"another host":                     {`"a"`, "POST", "http://www.example.com/x", 200, `"a"`, true},
		"another port":                     {`"a"`, "POST", "http://example.com:81/x", 200, `"a"`, true},
		"another scheme":                   {`"a"`, "POST", "https://example.com/x", 200, `"a"`, true},
		"a POST that failed":               {`"a"`, "POST", "http://example.com/x", 500, `"a"`, true},
		"a POST that was refused":          {`"a"`, "POST", "http://example.com/x", 403, `"a"`, true},
		"GET is safe: the field says none": {`"a"`, "GET", "http://example.com/x", 200, `"a"`, true},
		"so is OPTIONS":                    {`"a"`, "OPTIONS", "http://example.com/x", 200, `"a"`, true},
		"no list of strings":               {`"a"`, "POST", "http://example.com/x", 200, `a`, true},
		"an answer with no list":           {`"a", a`, "POST", "http://example.com/x", 200, `"a"`, true},
	} {
		inBubble(t, func(t *testing.T) {
			fields := []string{"Cache-Control: max-age=60"}
			if c.groups != "" {
				fields = append(fields, "Cache-Groups: "+c.groups)
			}
			w := newWorld(t, fields...)
			w.get(site)
			before := w.h.Store.Generation()
			w.origin.answer = respond(c.status, "", "Cache-Group-Invalidation: "+c.invalidates)
			w.do(c.method, c.url)
			w.origin.answer = respond(200, "new", fields...)
			if got := w.get(site); (got.Status == StatusHit) != c.hit {
				t.Errorf("%s: then %s: want hit %v", name, got.Status, c.hit)
			}
			if got := w.get(site); got.Status != StatusHit {
				t.Errorf("%s: then again %s: want a hit", name, got.Status)
			}
			if w.h.Store.Generation() != before {
				t.Errorf("%s: the generation rose: want that left to purges", name)
			}
		})
	}
}

// Answers that are not stored yet belong to their groups too.
func TestGroupsOfAFillInFlight(t *testing.T) {
	for name, c := range map[string]struct{ headerFirst bool }{
		"before its header": {false},
		"after its header":  {true},
	} {
		inBubble(t, func(t *testing.T) {
			w, g := newWorld(t), newGate()
			w.origin.answer = g.answer(200, "old", "Cache-Control: max-age=60", `Cache-Groups: "a"`)
			reader := w.startGet(site)
			synctest.Wait()
			if c.headerFirst {
				close(g.header)
				synctest.Wait()
			}
			w.post("http://example.com/x", `"a"`)
			after := newWorld(t)
			after.h = w.h
			after.origin.answer = respond(200, "new", "Cache-Control: max-age=60", `Cache-Groups: "a"`)
			if c.headerFirst {
				after.get(site).wants(t, StatusMiss, 200, "new")
			}
			if !c.headerFirst {
				close(g.header)
			}
			close(g.body)
			got := <-reader
			got.wants(t, StatusMiss, 200, "old")
			if got.Stored || got.Reason != ReasonInvalidated || w.count(EventFenced) > 0 {
				t.Errorf("%s: stored %v (%s): want it kept out, and not by a purge", name, got.Stored, got.Reason)
			}
			after.get(site)
			after.get(site).wants(t, StatusHit, 200, "new")
		})
	}
}

// A confirmation does not bring back what was invalidated after it was asked for.
func TestGroupsOfAConfirmation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		fields := []string{"Cache-Control: max-age=10", `Cache-Groups: "a"`, `ETag: "a"`}
		w := newWorld(t, fields...)
		w.get(site)
		wait(20 * time.Second)
		g := newGate()
		w.origin.answer = g.answer(http.StatusNotModified, "", fields...)
		reader := w.startGet(site)
		synctest.Wait()
		w.post("http://example.com/x", `"a"`)
		w.origin.answer = respond(200, "new", fields...)
		close(g.header)
		close(g.body)
		(<-reader).wants(t, StatusMiss, 200, "new")
		w.get(site).wants(t, StatusHit, 200, "new")
	})
}

// A 304 may move an answer to another group.
func TestGroupsOfAFreshenedAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10", `Cache-Groups: "a"`, `ETag: "a"`)
		w.get(site)
		wait(20 * time.Second)
		w.origin.answer = respond(http.StatusNotModified, "", "Cache-Control: max-age=60", `Cache-Groups: "b"`, `ETag: "a"`)
		w.get(site).wants(t, StatusRevalidated, 200, "hello")
		w.post("http://example.com/x", `"a"`)
		w.get(site).wants(t, StatusHit, 200, "hello")
		x := w.h.Explain(httptest.NewRequest("GET", site, nil), nil, time.Now())
		if x.Entry == nil || !slices.Equal(x.Entry.Groups, []string{"b"}) {
			t.Errorf("entry %+v: want group b", x.Entry)
		}
		w.post("http://example.com/x", `"b"`)
		if x := w.h.Explain(httptest.NewRequest("GET", site, nil), nil, time.Now()); x.Entry != nil || x.Decision != "fetch" {
			t.Errorf("%s, entry %+v: want it gone", x.Decision, x.Entry)
		}
	})
}

// post answers a POST with a group invalidation.
func (w *world) post(url, found string) {
	o := &testOrigin{answer: respond(http.StatusNoContent, "", "Cache-Group-Invalidation: "+found), source: w.origin.source}
	if _, err := w.h.Serve(httptest.NewRecorder(), httptest.NewRequest("POST", url, nil), nil, o); err != nil {
		w.t.Error(err)
	}
}

// Marks that fall out take what is older with them, of their own origin, and
// nothing that is younger.
func TestTooManyGroupsInvalidateTooMuch(t *testing.T) {
	const here, elsewhere = "https://a.example", "https://b.example"
	g := newGroups(3, new(atomic.Int64))
	if floorOf(here) == floorOf(elsewhere) {
		t.Fatal("they share a floor: take other names")
	}
	one := func(origin, field string) *membership {
		return membershipOf(origin, http.Header{groupsField: {field}}, g.sequence.Load())
	}
	oldHere, oldElsewhere := one(here, `"never named"`), one(elsewhere, `"never named"`)
	g.invalidate(here, []string{"a"})
	young := one(here, `"never named"`)
	if g.gaveUp(oldHere) {
		t.Error("invalidated before the marks were too many")
	}
	g.invalidate(here, []string{"b", "c", "d"})
	if !g.gaveUp(oldHere) {
		t.Error("older than a mark that fell out: want it invalidated")
	}
	if g.gaveUp(oldElsewhere) || g.gaveUp(young) {
		t.Error("another origin's answer, or a younger one, is invalidated: want them kept")
	}
}
