package sample

import (
	"fmt"
	"net/http"
	"time"
)

// maxTrouble bounds how long a replica may be told to fail.
const maxTrouble = 5 * time.Minute

// trouble is POST /trouble?for=15s: for so long the replica answers 503 to
// everything but its health, like an application that lost its database and
// does not know. It is for people who are at the replica's own address; a
// request that came through a gateway is refused.
func (a *app) trouble(w http.ResponseWriter, r *http.Request) {
	if len(r.Header["X-Forwarded-For"]) > 0 {
		http.Error(w, "trouble is made at the replica's own address", http.StatusForbidden)
		return
	}
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil || d < 0 || d > maxTrouble {
		http.Error(w, fmt.Sprintf("for %q: want a duration such as 15s, at most %s", r.URL.Query().Get("for"), maxTrouble), http.StatusBadRequest)
		return
	}
	a.troubled.Store(time.Now().Add(d).UnixNano())
	writeJSON(w, http.StatusOK, map[string]string{"failing_for": d.String()})
}

// failing reports whether the request falls into trouble.
func (a *app) failing(r *http.Request) bool {
	until := a.troubled.Load()
	return until != 0 && time.Now().UnixNano() < until && r.URL.Path != "/healthz" && r.URL.Path != "/trouble"
}
