package caddymodule

import (
	"bytes"
	"io"
	"net/http"
)

// settleLength finds out whether a request of HTTP/3 has a body. There the end of its
// stream says so (RFC 9114, 4.1), for which the server does not wait: the length is
// unknown of any request without a Content-Length. The cache, and whoever measures a
// replica, would take that for a body. It is not waited for where the client may wait for
// the answer first: with methods whose content means something.
func settleLength(r *http.Request) {
	if r.ProtoMajor != 3 || r.ContentLength >= 0 || r.Body == nil {
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodDelete:
	default:
		return
	}
	first := make([]byte, 1)
	n, err := io.ReadFull(r.Body, first)
	if n == 0 && err == io.EOF {
		r.Body, r.ContentLength = http.NoBody, 0
		return
	}
	// An error comes again.
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
}
