package sample

import (
	"fmt"
	"net/http"
	"time"
)

// maxThink bounds how long an answer may be put off.
const maxThink = time.Minute

// think puts the answer off for as long as ?think=300ms says, like a slow
// database. False when there is no answer to give any more: the client has left,
// or was told of its mistake.
func think(w http.ResponseWriter, r *http.Request) bool {
	word := r.URL.Query().Get("think")
	if word == "" {
		return true
	}
	d, err := time.ParseDuration(word)
	if err != nil || d < 0 || d > maxThink {
		writeJSON(w, http.StatusBadRequest, map[string][]string{
			"errors": {fmt.Sprintf("think %q: want a duration such as 300ms, at most %s", word, maxThink)},
		})
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
