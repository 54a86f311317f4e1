package httpcache

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// faults has a line for each reason that takes a fault of this engine, or time
// that no test of the whole gateway has. The gateway's TestEveryReasonIsReached
// reads the keys. What a line gives is the answer that shows the reason.
var faults = map[Reason]func(w *world) answer{
	ReasonFault: func(w *world) answer {
		r := httptest.NewRequest("GET", site, nil)
		rec := httptest.NewRecorder()
		res, err := w.h.Serve(rec, r, w.verdict, faulty{w.origin})
		return answer{ResponseRecorder: rec, Result: res, err: err}
	},
	ReasonFleetBehind: func(w *world) answer {
		w.get(site)
		w.h.Store.Trust(func() bool { return false })
		return w.get(site)
	},
	ReasonShared: func(w *world) answer {
		other := newPair(w.t, "Cache-Control: max-age=60")
		other.nodes[0].get(site)
		other.settled()
		w.h.Store.Share(other.users[1])
		return w.get(site)
	},
	ReasonAbandoned: func(w *world) answer {
		w.origin.answer = newGate().answer(200, "hello", "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(context.Background())
		waiting := w.start(httptest.NewRequest("GET", site, nil).WithContext(ctx))
		w.settled()
		leave()
		<-waiting
		wait(2 * defaultAbandon)
		return answer{}
	},
}

// faulty is an origin of which the engine learns something that it stumbles
// over: the fault is as good as one of its own.
type faulty struct{ *testOrigin }

func (faulty) Source(*http.Request) Source { panic("a fault") }

func TestReasonsOfFaults(t *testing.T) {
	page, err := os.ReadFile(reasonsPage)
	if err != nil {
		t.Fatal(err)
	}
	for reason, reach := range faults {
		t.Run(string(reason), func(t *testing.T) {
			row := regexp.MustCompile("(?m)^\\| `" + string(reason) + "` \\| ([SLX ]+) \\|").FindStringSubmatch(string(page))
			if row == nil {
				t.Fatalf("%s does not say where it shows", reasonsPage)
			}
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, "Cache-Control: max-age=60")
				got := reach(w)
				w.settled()
				if strings.Contains(row[1], "S") && !strings.HasSuffix(got.Header().Get("Cache-Status"), "; detail="+string(reason)) {
					t.Errorf("Cache-Status %q", got.Header().Get("Cache-Status"))
				}
				if strings.Contains(row[1], "L") && got.Reason != reason {
					t.Errorf("reason %q for the log", got.Reason)
				}
				x := w.h.Explain(httptest.NewRequest("GET", site, nil), w.verdict, time.Now())
				if strings.Contains(row[1], "X") && x.Reason != reason && (x.LastNotStored == nil || x.LastNotStored.Reason != reason) {
					t.Errorf("explain: %+v", x)
				}
			})
		})
	}
}
