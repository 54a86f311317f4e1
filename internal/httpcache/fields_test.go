package httpcache

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/cacherules"
)

// outgoingOf is what writeFields would send, less what it writes for each answer.
func outgoingOf(l fieldLines) http.Header {
	h := make(http.Header)
	for line, ok := l.next(); ok; line, ok = l.next() {
		if line.flags&(goesOut|ofCaches) == 0 {
			continue
		}
		h[line.name] = append(h[line.name], line.value)
		if line.flags&noValue != 0 {
			h[line.name] = nil
		}
	}
	return h
}

func TestHeadersSurvivePacking(t *testing.T) {
	long := strings.Repeat("v", 300) // its length takes two bytes
	origin := http.Header{
		"Content-Type": {"text/html"}, "Link": {"</a>", "", long}, "Age": {"7"}, "Content-Length": {"5"},
		"Cache-Status": {"one; hit", "two; fwd=miss"}, "Server": {"app"}, "X-None": nil, strings.Repeat("N", 200): {"x"},
	}
	out := maps.Clone(origin)
	delete(out, "Server")
	out["Content-Type"] = []string{"text/plain"}
	out["Cache-Tag"] = []string{"v-1"}
	l := linesOf(appendFields(nil, origin, out, ""))
	if got := l.origin(); !reflect.DeepEqual(got, origin) {
		t.Errorf("origin %v: want %v", got, origin)
	}
	if got := l.values("Link"); !slices.Equal(got, origin["Link"]) || l.values("Nowhere") != nil || l.values("X-None") != nil {
		t.Errorf("Link %q: want %q, and nothing of what is not there", got, origin["Link"])
	}
	if l.first("Age") != "7" || l.first("Cache-Tag") != "" || l.first("Zoo") != "" {
		t.Error("want the first line of what the origin sent, and no other")
	}
	delete(out, "Age")
	delete(out, "Content-Length")
	if got := outgoingOf(l); !reflect.DeepEqual(got, out) {
		t.Errorf("outgoing %v: want %v", got, out)
	}
	if n := strings.Count(string(l.inOne()), "text/"); n != 2 || strings.Count(string(l.inOne()), long) != 1 {
		t.Error("want only what differs kept twice")
	}
}

func TestClientsSeeTheHeaderAsItCame(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60", "Link: </a>", "Link: </b>", "Cache-Status: inner; hit", "Cache-Status: outer")
		answer := w.origin.answer
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			rw.Header()["Content-Type"] = nil // a handler that wants no guess
			return answer(rw, r)
		}
		w.verdict = &cacherules.Verdict{Tags: []string{"news"}}
		w.get(site).wants(t, StatusMiss, 200, "hello")
		for range 2 {
			got := w.get(site)
			got.wants(t, StatusHit, 200, "hello")
			if links := got.Header()["Link"]; !slices.Equal(links, []string{"</a>", "</b>"}) {
				t.Errorf("Link %q: want both lines in their order", links)
			}
			if line := got.Header()["Cache-Status"]; !slices.Equal(line, []string{"inner; hit", "outer", "edge; hit; ttl=60"}) {
				t.Errorf("Cache-Status %q: want ours behind the others'", line)
			}
			if lines, there := got.Header()["Content-Type"]; !there || len(lines) != 0 {
				t.Errorf("Content-Type %q, %v: want it there without a line", lines, there)
			}
			got.Header()["Link"][1] = "</c>" // as handlers around this one may
		}
	})
}

func TestHitsShareTheirLinesByNumberAndName(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=3600")
		other := &Handler{Store: w.h.Store, Policy: Policy{Name: "other"}}
		for i := range 3 {
			w.get(fmt.Sprintf("%s/%d", site, i))
			wait(1030 * 1e9) // more than the table has places, and not a multiple
		}
		for i, age := range []string{"3090", "2060", "1030"} {
			got := w.get(fmt.Sprintf("%s/%d", site, i))
			ttl := []string{"510", "1540", "2570"}[i]
			if got.Header().Get("Age") != age || got.Header().Get("Cache-Status") != "edge; hit; ttl="+ttl {
				t.Errorf("Age %s, %s: want %s and a TTL of %s", got.Header().Get("Age"), got.Header().Get("Cache-Status"), age, ttl)
			}
			ours := w.h
			w.h = other
			if line := w.get(fmt.Sprintf("%s/%d", site, i)).Header().Get("Cache-Status"); line != "other; hit; ttl="+ttl {
				t.Errorf("%q: want the other cache's name", line)
			}
			w.h = ours
		}
	})
}

func FuzzFieldLines(f *testing.F) {
	f.Add("A: 1\nB: 2\nB: 3", "A: 1\nC: 4", "")
	f.Add("Age: 1\nCache-Status: x", "Cache-Status: y", `"a"`)
	f.Add("", "", "")
	parse := func(text string) http.Header {
		h := make(http.Header)
		for line := range strings.SplitSeq(text, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h[name] = append(h[name], value)
			}
		}
		return h
	}
	f.Fuzz(func(t *testing.T, originText, outText, etag string) {
		origin, out := parse(originText), parse(outText)
		l := linesOf(appendFields(nil, origin, out, etag))
		if got := l.origin(); !reflect.DeepEqual(got, origin) {
			t.Errorf("origin %q: want %q", got, origin)
		}
		for name, values := range origin {
			if got := l.values(name); !slices.Equal(got, values) || l.first(name) != values[0] {
				t.Errorf("%s %q, first %q: want %q", name, got, l.first(name), values)
			}
		}
		delete(out, "Age")
		delete(out, "Content-Length")
		if got := outgoingOf(l); !reflect.DeepEqual(got, out) {
			t.Errorf("outgoing %q: want %q", got, out)
		}
		n := 0
		for _, values := range out {
			n += len(values)
		}
		if l.count() != n {
			t.Errorf("%d values counted: want %d", l.count(), n)
		}
	})
}
