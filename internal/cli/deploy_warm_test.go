package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

// TestADeployThatIsBeingPurgedIsWarmedAllTheSame: what is to be warmed comes too late
// for the purge under way, so the call is made again when that is done.
func TestADeployThatIsBeingPurgedIsWarmedAllTheSame(t *testing.T) {
	const page = "https://crm.example.com/contacts"
	var calls atomic.Int64
	answer := func(w http.ResponseWriter, what any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(what) // the command tells if it is not whole
	}
	record := deploy.Record{ID: "d1", Pool: "app", Version: "v2", Stage: deploy.Purging, Purge: "p1"}
	done := record
	done.Stage = deploy.Done
	late := done
	late.Purge = "p2"
	purged := func(id string) purge.Record {
		return purge.Record{Order: purge.Order{ID: id, Selectors: purge.Selectors{Versions: []string{"v1"}}}, State: purge.Done}
	}
	warm := purged("p2")
	warm.Warm, warm.Follows, warm.Warmed = []string{page}, "p1", []purge.Warmed{{Via: "node", Miss: 1}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /deploy", func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			answer(w, record)
			return
		}
		answer(w, late)
	})
	mux.HandleFunc("GET /deploys/d1", func(w http.ResponseWriter, r *http.Request) { answer(w, done) })
	mux.HandleFunc("GET /purge/p1", func(w http.ResponseWriter, r *http.Request) { answer(w, purged("p1")) })
	mux.HandleFunc("GET /purge/p2", func(w http.ResponseWriter, r *http.Request) { answer(w, warm) })
	server := httptest.NewServer(mux)
	defer server.Close()
	for warmed, want := range map[string]int64{page: 2, "": 1} {
		calls.Store(0)
		c := DeployConfig{Connection: Connection{Server: server.URL}, Version: "v2"}
		if warmed != "" {
			c.Warm = []string{warmed}
		}
		out := runDeploy(t.Context(), c)
		if out.code != ExitDone || calls.Load() != want || strings.Contains(out.stdout, "0 hit, 1 miss") != (warmed != "") {
			t.Errorf("warm %q: exit %d, %d calls: want 0 and %d\n%s%s", warmed, out.code, calls.Load(), want, out.stdout, out.stderr)
		}
	}
}
