package purge

import (
	"net/http"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// One environment of a zone is purged, and nothing else of it.
func TestCloudflarePurgesAnEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		soft, old bool
		want      string
	}{
		"hard": {false, false, "purge_cache"}, "soft": {true, false, "invalidate_cache"}, "soft, where it cannot": {true, true, "purge_cache"},
	} {
		s, config := newStandIn(t, "pro", func(o *standin.Options) { o.NoInvalidate = c.old })
		config.ZoneIDs = []string{"example.com=" + zoneOne + "/" + zoneTwo}
		o := until(Selectors{Tags: []string{"a"}, Everything: true}, time.Minute)
		o.Soft = c.soft
		if _, err := newTarget(t, s, config).Purge(t.Context(), o, nil, nil); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		calls := s.Calls()
		for _, call := range calls {
			if call.Zone != zoneOne || call.Environment != zoneTwo || call.Operation != c.want {
				t.Errorf("%s: %+v", name, call)
			}
		}
		if len(calls) != 2 {
			t.Errorf("%s: %d calls", name, len(calls))
		}
	}
}

// Where URLs cannot be purged, fewer of them cannot be either.
func TestAnEnvironmentThatTakesNoURLs(t *testing.T) {
	s, config := newStandIn(t, "pro", nil)
	refusing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 400 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"success":false,"errors":[{"code":1136,"message":"Single URL purge is not available in this environment"}]}`))
			return
		}
		s.ServeHTTP(w, r)
	})
	got, err := purgeAt(t, newTarget(t, refusing, config), until(Selectors{URLs: numbered("https://example.com/%d", 90), Tags: []string{"a"}}, time.Minute))
	if !kindIs(err, Refused) || got.Attempts != 2 || got.Batches != 1 {
		t.Errorf("%+v, %v: want one refusal, and the tag purged", got, err)
	}
}
