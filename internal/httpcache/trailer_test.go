package httpcache

import (
	"net/http"
	"testing"
)

// Answers with trailing fields are passed on and never stored, whether the
// fields were announced or not; the next requests do not queue for another.
func TestTrailersAreNotStored(t *testing.T) {
	for name, announced := range map[string]bool{"announced": true, "not announced": false} {
		for part, ask := range map[string][]string{"the whole": nil, "a part": {"Range: bytes=0-4"}} {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
					trailer := http.TrailerPrefix + "X-Sum"
					if announced {
						rw.Header().Set("Trailer", "X-Sum")
						trailer = "X-Sum"
					}
					err := file(alphabet, `"a"`, minute)(rw, r)
					rw.Header().Set(trailer, "5")
					return err
				}
				first := w.get(site, ask...)
				if first.Stored || len(ask) == 0 && first.Reason != ReasonTrailer {
					t.Errorf("%s, of %s: stored %v (%s): want it passed on", name, part, first.Stored, first.Reason)
				}
				second := w.get(site, ask...)
				if second.Status != StatusMiss || len(ask) == 0 && second.Reason != ReasonRefused {
					t.Errorf("%s, of %s: then %s (%s): want the origin asked at once", name, part, second.Status, second.Reason)
				}
				if n := w.h.Store.Stats().Bytes; n != 0 {
					t.Errorf("%s, of %s: %d bytes are kept", name, part, n)
				}
			})
		}
	}
}
