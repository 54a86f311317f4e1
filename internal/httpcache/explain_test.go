package httpcache

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/coding"
)

func TestExplain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Vary: Accept-Language", `ETag: "a"`, "Cache-Tag: Home")
		w.verdict = page(time.Minute, 10*time.Minute)
		w.verdict.Rule = "page /*"
		w.origin.source = Source{Version: "v1", Replica: "r1", Current: true}
		explain := func(fields ...string) Explanation {
			r := httptest.NewRequest("GET", site, nil)
			setFields(r.Header, fields)
			return w.h.Explain(r, w.verdict, time.Now())
		}
		if x := explain(); x.Decision != "fetch" || x.Entry != nil || x.Rule != "page /*" || x.Key.Target != "/page" {
			t.Errorf("nothing stored: %+v", x)
		}
		w.get(site, "Accept-Language: de")
		wait(20 * time.Second)
		x := explain("Accept-Language: de")
		e := x.Entry
		if x.Decision != "serve" || x.Variants != 1 || e == nil {
			t.Fatalf("stored: %+v", x)
		}
		if e.LifetimeFrom != FromRule || e.Age != "20s" || e.TTL != "40s" || e.Version != "v1" || e.Replica != "r1" ||
			e.Vary["Accept-Language"] != "de" || strings.Join(e.Tags, " ") != "home v-v1" {
			t.Errorf("entry %+v", e)
		}
		if x := explain("Accept-Language: tr"); x.Decision != "fetch" || x.Variants != 1 || x.Entry != nil {
			t.Errorf("another variant: %+v", x)
		}
		w.h.Store.Purge(Purge{Soft: true, Tags: []string{"home"}})
		if x := explain("Accept-Language: de"); x.Decision != "fetch" || x.Reason != ReasonSoftPurged || x.Entry.SoftBarrier != 1 {
			t.Errorf("softly purged: %+v", x)
		}
		w.h.Store.Purge(Purge{Everything: true})
		if x := explain("Accept-Language: de"); x.Decision != "fetch" || x.Entry != nil || x.Generation != 2 {
			t.Errorf("purged: %+v", x)
		}
		private := cacherules.Verdict{Mode: cacherules.Private}
		if x := w.h.Explain(httptest.NewRequest("GET", site, nil), &private, time.Now()); x.Decision != "pass" || x.Reason != ReasonRule {
			t.Errorf("private: %+v", x)
		}
		if text, err := json.Marshal(x); err != nil || !strings.Contains(string(text), `"lifetime":"1m"`) {
			t.Errorf("%s %v: want JSON that people can read", text, err)
		}
	})
}

func TestExplainAnUncacheableKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: no-store")
		w.get(site)
		wait(12 * time.Second)
		x := w.h.Explain(httptest.NewRequest("GET", site, nil), nil, time.Now())
		if x.Decision != "pass" || x.Reason != ReasonRefused || !x.Uncacheable || x.LastNotStored == nil || *x.LastNotStored != (NotStored{ReasonNoStore, "12s"}) {
			t.Errorf("%+v: want that it is known to be uncacheable", x)
		}
		synctest.Wait()
	})
}

func TestExplainSaysWhatIsEncoded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		w.warm()
		w.h.attach(w.storedEntry(), coding.Identity, nil) // noted as useless
		x := w.h.Explain(httptest.NewRequest("GET", site, nil), w.verdict, time.Now()).Entry
		own := w.h.Store.Stats().Bytes - w.storedEntry().common.size
		if !x.Encodable || len(x.Encodings) != 4 || x.Encodings["identity"] != 0 || x.Memory != own {
			t.Fatalf("%+v: want three encodings, in %d bytes", x, own)
		}
		for _, name := range []string{"br", "zstd", "gzip"} {
			if n := w.get(site, "Accept-Encoding: "+name).Body.Len(); x.Encodings[name] != int64(n) {
				t.Errorf("%s: %d bytes: want %d", name, x.Encodings[name], n)
			}
		}
	})
}
