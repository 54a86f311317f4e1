package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// refusal is a pool's own 503 as an error, so that the handle_errors of a site
// can answer instead. Without handle_errors the pool's answer goes out as it
// is: errors are logged one by one, and under overload there are many.
type refusal struct {
	why        string
	retryAfter []string
}

func (r *refusal) Error() string { return "no replica may take the request: " + r.why }

// refusalOf is the refusal in a pool's answer to r, or nil if a replica
// answered, or the site has no handle_errors.
func refusalOf(r *http.Request, resp *http.Response, why string) *refusal {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if why == "" || !ok || server.Errors == nil || len(server.Errors.Routes) == 0 {
		return nil
	}
	_ = resp.Body.Close() // it is the pool's, in memory
	return &refusal{why: why, retryAfter: resp.Header["Retry-After"]}
}

// refused gives a refusal the status and header that it has without
// handle_errors. Other errors stay as they are.
func refused(w http.ResponseWriter, err error) error {
	if err == nil { // quickly: r escapes
		return nil
	}
	var r *refusal
	if !errors.As(err, &r) {
		return err
	}
	w.Header()["Retry-After"] = r.retryAfter
	w.Header()["Cache-Control"] = []string{"no-store"}
	return caddyhttp.Error(http.StatusServiceUnavailable, r)
}
